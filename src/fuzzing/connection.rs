//! A whole connection, from accept to its thread's end, with arbitrary bytes at arbitrary times.

use super::heard::{self, Heard};
use super::stage::{Deed, Stage, World};
use crate::clock;
use crate::config::{Config, IdleThresholds, Liveness, Protocol};
use crate::handler::{Connection, Handler, Idle, IdleAction};
use crate::handshake::{self, Transport};
use crate::protocol::close::{CloseKind, CloseReason};
use crate::record::ClosedConnection;
use crate::router::{Frame, Push};
use crate::threads::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How late a deadline may be: the granularity of timeouts on a socket, and a little.
const LATE: Duration = Duration::from_millis(100);
/// The range in which promises may move the timeout, which without one is 60 s.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(90);
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(100);
const KEY: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nHost: localhost\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The first three bytes say what kind of connection it is, and each of the rest what the peer does next.
pub fn connection(input: &[u8]) {
    let Some((&[kind, flags, kernel], script)) = input.split_first_chunk() else { return };
    let play = Play::new(kind, flags, kernel);
    let witness = Arc::new(Witness { raw: play.config.protocol == Protocol::Raw, ..Witness::default() });
    let mut deeds = deeds(script, &witness);
    if !play.opening.is_empty() {
        deeds.push_front(Deed::Send(play.opening.clone()));
    }
    let stage = Stage::new(play.config.clone(), Shown(Arc::clone(&witness)));
    let begin = clock::now();
    let (accepted, world) = stage.enter("192.0.2.1:1".parse().unwrap(), play.kernel_bytes, deeds);
    handshake::run(&accepted, play.transport, &stage.shared);
    stage.clear(accepted);
    world.read_to_end();
    play.judge(begin, &witness, &world);
}

/// What kind of connection is played.
struct Play {
    config: Config,
    transport: Transport,
    kernel_bytes: usize,
    /// What the peer sends first.
    opening: Vec<u8>,
}

impl Play {
    fn new(kind: u8, flags: u8, kernel: u8) -> Self {
        let is_set = |bit: u8| flags & 1 << bit != 0;
        let promise = if is_set(4) { "&heartbeat_ms=20000" } else { "" };
        let (transport, opening) = match kind % 6 {
            0 => (Transport::WebSocket, format!("GET /ws?user_id=alice{promise} HTTP/1.1\r\n{KEY}")),
            1 => (Transport::WebSocket, format!("GET /chat?userId=7{promise} HTTP/1.1\r\n{KEY}")),
            2 => (Transport::Lines, "{\"type\":\"hello\",\"user_id\":\"alice\"}\n".to_owned()),
            3 => (Transport::Lines, String::new()),
            4 => (Transport::WebSocket, String::new()),
            _ => (Transport::WebSocket, format!("GET /ws?user_id=alice{promise} HTTP/1.1\r\n{KEY}")),
        };
        let mut config = Config::default();
        if kind % 6 == 5 {
            config.protocol = Protocol::Raw;
        }
        config.stack_bytes = 2 << 20;
        config.closed_connections = 4;
        config.broadcast = true;
        config.heartbeat.negotiable = SHORTEST_TIMEOUT..=LONGEST_TIMEOUT;
        config.heartbeat.liveness = if is_set(0) { Liveness::Heartbeat } else { Liveness::Any };
        config.max_lifetime = is_set(1).then_some(LIFETIME);
        if is_set(2) {
            let threshold = Some(Duration::from_secs(7));
            config.idle = IdleThresholds { reader: threshold, writer: threshold, all: threshold };
        }
        if is_set(3) {
            (config.queue_bytes, config.queue_messages) = (4 << 10, 8);
        }
        if is_set(5) {
            config.max_message_bytes = 256;
        }
        Self { config, transport, kernel_bytes: 16 << (kernel % 16), opening: opening.into_bytes() }
    }

    /// Whether all this was as it must be.
    fn judge(&self, begin: Instant, witness: &Witness, world: &World) {
        let outside = lock(&world.0);
        let heard = Heard::new(&outside.read, self.transport, self.config.protocol == Protocol::Native);
        let end = clock::now();
        let last = outside.sent.last().map_or(begin, |(at, _)| *at);
        let patience = LONGEST_TIMEOUT + self.config.linger + LATE;
        assert!(end <= last + patience, "it outlives its peer's last byte by {:?}", end - last);
        let seen = lock(&witness.seen);
        assert_eq!(seen.opened.is_some(), seen.closed.is_some());
        let (Some(opened), Some(closed)) = (seen.opened, &seen.closed) else {
            return assert!(end <= last.max(begin + self.config.handshake_deadline) + patience);
        };
        let ended = opened + closed.statistics.duration;
        let reason = &closed.reason;
        assert!(end <= ended + self.config.linger + LATE, "it lingers for {:?}", end - ended);
        assert!(opened <= begin + self.config.handshake_deadline + LATE || self.transport == Transport::Lines);
        assert_is_expected(reason, outside.left, seen.closed_by_program);
        heard.assert_end(reason, outside.left, outside.reluctant);
        if let Some(lifetime) = self.config.max_lifetime {
            assert!(ended <= begin + lifetime + LATE, "it lived for {:?}", ended - begin);
        }
        let before: Vec<_> = outside.sent.iter().filter(|(at, _)| *at < ended).collect();
        if reason.kind() == CloseKind::HeartbeatTimeout && self.config.heartbeat.liveness == Liveness::Any {
            let heard = before.last().map_or(begin, |(at, _)| *at);
            assert!(ended >= heard + SHORTEST_TIMEOUT, "it was not silent");
        }
        if self.opening.is_empty() {
            return;
        }
        let stream = heard::Stream::new(&outside.sent, self.opening.len());
        if self.config.heartbeat.liveness == Liveness::Heartbeat && !stream.may_beat() {
            let times = LONGEST_TIMEOUT.max(closed.heartbeat.timeout);
            assert!(ended <= opened + times + LATE, "it lived without a heartbeat for {:?}", ended - opened);
        }
        for (since, until) in stream.messages(self.transport) {
            let until = until.unwrap_or(ended).min(ended);
            let took = until.saturating_duration_since(since);
            assert!(took <= self.config.assembly_deadline + LATE, "a message took {took:?}");
        }
    }
}

/// The list of reasons is closed, and some of them have no place here.
fn assert_is_expected(reason: &CloseReason, left: bool, by_program: bool) {
    let fits = match reason.kind() {
        CloseKind::PeerGone => left,
        CloseKind::Disconnected => by_program,
        CloseKind::PeerClosed(_)
        | CloseKind::ProtocolError
        | CloseKind::InvalidUtf8
        | CloseKind::Policy
        | CloseKind::TooBig
        | CloseKind::SlowConsumer
        | CloseKind::RateLimit
        | CloseKind::TooSlow
        | CloseKind::HeartbeatTimeout
        | CloseKind::LifetimeReached => true,
        _ => false,
    };
    assert!(fits, "{reason}");
}

/// What the rest of an input means.
fn deeds(mut script: &[u8], witness: &Arc<Witness>) -> VecDeque<Deed> {
    let mut deeds = VecDeque::new();
    while let Some((&[deed, amount], rest)) = script.split_first_chunk() {
        script = rest;
        let mut take = |bytes: usize| {
            let (taken, rest) = script.split_at(bytes.min(script.len()));
            script = rest;
            taken
        };
        let amount = usize::from(amount);
        deeds.push_back(match deed {
            0..64 => Deed::Wait(Duration::from_millis([1, 50, 500, 5_000][usize::from(deed) % 4] * amount as u64)),
            64..96 => Deed::Send(take(amount).to_vec()),
            96..192 => Deed::Send(masked_frame(deed, take(amount))),
            192..200 => Deed::Read(amount),
            200..216 => server(witness, move |connection| {
                let push = Push::new("notice", &"x".repeat(64 * amount)).unwrap();
                let _ = connection.send(&push);
            }),
            216..220 => Deed::Finish,
            220..224 => Deed::Leave,
            224..228 => {
                let witness = Arc::clone(witness);
                server(&witness.clone(), move |connection| {
                    lock(&witness.seen).closed_by_program = true;
                    connection.close(CloseKind::Disconnected.into());
                })
            }
            _ => Deed::Send([take(amount), b"\n"].concat()),
        });
    }
    deeds
}

/// A frame of a client, of which only the first byte may be wrong: `deed` chooses the usual ones.
fn masked_frame(deed: u8, payload: &[u8]) -> Vec<u8> {
    let first = [0x81, 0x81, 0x82, 0x01, 0x80, 0x00, 0x89, 0x8a, 0x88, 0x09, 0xc1, 0x83][usize::from(deed) % 12];
    let length = payload.len() as u64;
    let mut frame = vec![first];
    match length {
        0..=125 => frame.push(0x80 | length.to_be_bytes()[7]),
        _ => frame.extend([&[0xfe], &length.to_be_bytes()[6..]].concat()),
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn server(witness: &Arc<Witness>, deed: impl FnOnce(&Connection) + Send + 'static) -> Deed {
    let witness = Arc::clone(witness);
    Deed::Server(Box::new(move || {
        let connection = lock(&witness.seen).connection.clone();
        if let Some(connection) = connection {
            deed(&connection);
        }
    }))
}

/// Whoever is told what becomes of the connection.
#[derive(Default)]
struct Witness {
    /// Whether messages are sent back as they are.
    raw: bool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    opened: Option<Instant>,
    connection: Option<Connection>,
    closed: Option<ClosedConnection>,
    closed_by_program: bool,
}

struct Shown(Arc<Witness>);

impl Handler for Shown {
    fn opened(&self, connection: &Connection) {
        let mut seen = lock(&self.0.seen);
        assert!(seen.opened.replace(clock::now()).is_none(), "it is opened twice");
        seen.connection = Some(connection.clone());
    }

    fn frame(&self, connection: &Connection, frame: Frame<'_>) {
        assert!(self.0.raw && lock(&self.0.seen).closed.is_none());
        let _ = connection.send_raw(frame);
    }

    fn idle(&self, _: &Connection, idle: Idle) -> IdleAction {
        assert!(idle.silent_for >= Duration::from_secs(7));
        if idle.first { IdleAction::Ping } else { IdleAction::Nothing }
    }

    fn closed(&self, _: &Connection, record: &ClosedConnection) {
        let mut seen = lock(&self.0.seen);
        seen.connection = None;
        assert!(seen.closed.replace(record.clone()).is_none(), "it is closed twice");
    }
}
