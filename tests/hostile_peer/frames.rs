//! Frames that dribble, never end, lie about their length, or come without end.

use crate::honest::Honest;
use crate::lines::LineClient;
use crate::raw::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame, header};
use crate::scene::Scene;
use crate::suite::{Figures, Row, Size};
use crate::support::{Client, Patience, eventually};
use crate::swarm::{Attacker, GLANCE, look, provoke, span, until_over};
use crate::vitals::Vitals;
use serde_json::json;
use std::io::Write;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[
    Row { name: "slow_frame", threat: "slow frame", run: slow_frame },
    Row { name: "fragments", threat: "fragments", run: fragments },
    Row { name: "lengths", threat: "lengths", run: lengths },
    Row { name: "compression", threat: "compression", run: compression },
    Row { name: "ping_flood", threat: "ping flood", run: ping_flood },
];

const SECOND: Duration = Duration::from_secs(1);
/// The largest message of a client, by default.
const LIMIT: usize = 64 << 10;

/// Registered clients announce the largest message, or begin a line, and then say a byte at a time, as slowly as they may
/// to count as living.
fn slow_frame(size: Size) -> Figures {
    let (count, deadline, pause) = size.of((50, 1, SECOND / 4), (500, 10, 2 * SECOND));
    let deadline_flag = format!("{deadline}s");
    let mut scene = Scene::serve(&["--assembly-deadline", &deadline_flag, "--tcp-listen", "127.0.0.1:0"]);
    let (address, lines_at) = (scene.address, scene.tcp_address());
    let honest = Honest::begin(address);
    let mut by_frames: Vec<_> = (0..count).map(|n| Attacker::upgraded(address, &format!("slow{n}"))).collect();
    let mut by_lines: Vec<_> = (0..count).map(|n| line_attacker(lines_at, &format!("slow line {n}"))).collect();
    let watch = scene.watch();
    let announcement = header(FIN | TEXT, LIMIT as u64);
    let text = [&announcement[..], &[b'x'; 64]].concat();
    let (mut next_byte, mut most) = (Instant::now(), announcement.len());
    by_frames.iter_mut().chain(&mut by_lines).for_each(|attacker| attacker.begun = next_byte);
    let patience = Patience::begin();
    while by_frames.iter().chain(&by_lines).any(|attacker| !attacker.is_over()) {
        patience.assert("the end of every attacker");
        let now = Instant::now();
        let most_now = if now >= next_byte { std::mem::replace(&mut most, 1) } else { 0 };
        if most_now > 0 {
            next_byte = now + pause;
        }
        look(&mut by_frames, |attacker| attacker.say(&text, most_now));
        look(&mut by_lines, |attacker| attacker.say(&text, most_now.min(1)));
        sleep(GLANCE);
    }
    let (strain, peace) = (watch.end(), honest.finish());
    let reason = (4104, format!("too slow: a message took longer than {deadline_flag}"));
    by_frames.iter().for_each(|attacker| assert_eq!(attacker.close_frame(), reason));
    by_lines.iter().for_each(|attacker| assert_eq!(attacker.close_line(), reason));
    let lasted = || by_frames.iter().chain(&by_lines).filter_map(|attacker| attacker.lasted);
    assert!(lasted().all(|lasted| lasted <= SECOND * (deadline + size.of(5, 2))), "{}", span(lasted()));
    scene.stop();
    Figures::default()
        .with(&format!("{count} frames and {count} lines closed with 4104 after {}", span(lasted())))
        .with(&strain)
        .with(&peace)
}

fn line_attacker(address: SocketAddr, account: &str) -> Attacker {
    let mut client = LineClient::open(address);
    client.say_hello(account);
    Attacker::adopt(client.stream)
}

/// A million empty continuations; then messages of bytes that come one in a fragment, where any number is permitted.
fn fragments(size: Size) -> Figures {
    let scene = Scene::serve(&[]);
    let (honest, watch) = (Honest::begin(scene.address), scene.watch());
    let endless = [frame(TEXT, b""), frame(CONTINUATION, b"").repeat(1_000_000)].concat();
    let mut attackers = [Attacker::upgraded(scene.address, "endless")];
    until_over(&mut attackers, |attacker| attacker.say(&endless, endless.len()));
    let (strain, peace) = (watch.end(), honest.finish());
    assert_eq!(attackers[0].close_frame(), (1008, "policy: a message of more than 1024 fragments".to_owned()));
    assert!(strain.cpu < SECOND, "{strain}");
    scene.stop();
    Figures::default()
        .with(&format!("1,000,001 fragments: 1008, CPU {:.2} s", strain.cpu.as_secs_f64()))
        .with(&bytes_in_fragments(size))
        .with(&peace)
}

/// The memory of messages whose bytes come one in a fragment; each is as long as may be, and is kept one byte short.
fn bytes_in_fragments(size: Size) -> String {
    let (count, limit) = size.of((100, 4 << 10), (200, LIMIT));
    let limit_flag = limit.to_string();
    let flags = ["--max-fragments", "0", "--assembly-deadline", "10m", "--max-message-bytes", &limit_flag];
    let scene = Scene::serve(&flags);
    let mut clients: Vec<_> =
        (0..count).map(|n| Client::open(scene.address, &format!("/ws?user_id=f{n}"), "")).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.json()["type"], "register"));
    let mut peers: Vec<_> = clients.into_iter().map(|client| Attacker::adopt(client.socket.into_inner())).collect();
    // Their stacks grow as deep as they will: what one recv brings takes more room where it is much.
    let beat = json!({ "type": "heartbeat" }).to_string();
    say_to_all(&mut peers, &[frame(TEXT, &[b' '; 1_000]), frame(FIN | CONTINUATION, beat.as_bytes())].concat(), 1);
    let watch = scene.watch();
    let mut message = frame(TEXT, b"{");
    message.extend(frame(CONTINUATION, b" ").repeat(limit - beat.len()));
    beat.bytes().skip(1).take(beat.len() - 2).for_each(|byte| message.extend(frame(CONTINUATION, &[byte])));
    send_to_all(&mut peers, &message);
    sleep(SECOND / 2);
    say_to_all(&mut peers, &frame(FIN | CONTINUATION, b"}"), 2);
    let strain = watch.end();
    let each = strain.memory_bytes / count;
    assert!(each < 2 * limit, "{each} bytes each for a message of {limit}: {strain}");
    scene.stop();
    format!("{count} messages of {limit} fragments of a byte: {each} bytes of memory each")
}

/// Sends to each of them, and waits for so many answers in all, each a heartbeat.
fn say_to_all(peers: &mut [Attacker], text: &[u8], answers: usize) {
    send_to_all(peers, text);
    let patience = Patience::begin();
    let has_answers = |peer: &Attacker| String::from_utf8_lossy(&peer.heard).matches("timeout_ms").count() == answers;
    while !peers.iter().all(has_answers) {
        patience.assert("an answer to each");
        look(peers, |_| {});
        sleep(GLANCE);
    }
}

fn send_to_all(peers: &mut [Attacker], text: &[u8]) {
    peers.iter_mut().for_each(|peer| peer.said = 0);
    let patience = Patience::begin();
    while peers.iter().any(|peer| peer.said < text.len()) {
        patience.assert("all of them may send");
        look(peers, |peer| peer.say(text, text.len()));
        assert!(peers.iter().all(|peer| !peer.is_over()));
    }
}

/// Frames that announce more than a message may have, up to what no memory holds.
fn lengths(size: Size) -> Figures {
    let rounds = size.of(3, 30);
    // What is remembered of closed connections is bounded, too, but not what is measured here.
    let scene = Scene::serve(&["--closed-connections", "10"]);
    let honest = Honest::begin(scene.address);
    let announced = [(1 << 16) + 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 63) - 1, 1 << 63, u64::MAX];
    let data = announced.iter().flat_map(|length| [TEXT, BINARY, TEXT | FIN].map(|first| header(first, *length)));
    // Control frames have their own limit (RFC 6455 §5.5).
    let control =
        [126, 1 << 16, u64::MAX].into_iter().flat_map(|n| [PING, PONG, CLOSE].map(|kind| header(FIN | kind, n)));
    let lies: Vec<_> = data.chain(control).collect();
    let code_after = |lie: &Vec<u8>| {
        let code = provoke(scene.address, &[lie, &[b'x'; 4 << 10][..]].concat());
        assert!([1002, 1009].contains(&code), "{code} after {lie:x?}");
        code
    };
    // Memory that the first connections of a process need in any case, these have.
    (0..=rounds / 3).for_each(|_| lies.iter().for_each(|lie| _ = code_after(lie)));
    let (watch, reserved) = (scene.watch(), Vitals::of(scene.id()).address_space_peak_bytes);
    let mut codes: Vec<u16> = (0..rounds).flat_map(|_| lies.iter().map(code_after)).collect();
    let (strain, peace) = (watch.end(), honest.finish());
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert!(strain.memory_bytes < 1 << 20, "{strain}");
    // What is reserved and never touched is no memory yet.
    let reserved = Vitals::of(scene.id()).address_space_peak_bytes - reserved;
    assert!(reserved < 1 << 30, "{reserved} bytes more of address space");
    scene.stop();
    Figures::default().with(&format!("{count} frames: {codes:?}")).with(&strain).with(&peace)
}

/// Extensions that are offered, and frames with the bits that only an extension may set.
fn compression(size: Size) -> Figures {
    let rounds = size.of(1, 100);
    let scene = Scene::serve(&[]);
    let honest = Honest::begin(scene.address);
    let offers = [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover, permessage-deflate",
        "PerMessage-Deflate; server_max_window_bits=8",
        "x-webkit-deflate-frame",
        "permessage-bzip2, permessage-brotli, bbf-usp-protocol",
    ];
    for offer in offers.iter().cycle().take(offers.len() * rounds) {
        let client = Client::open(scene.address, "/ws?user_id=a", &format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        assert!(!client.response.to_ascii_lowercase().contains("extensions"), "{}", client.response);
    }
    // A deflated heartbeat would still be one, were it inflated.
    let reserved = [0x40, 0x20, 0x10, 0x70];
    let firsts = [FIN | TEXT, TEXT, FIN | BINARY, FIN | PING, FIN | CLOSE];
    let frames: Vec<_> = reserved.iter().flat_map(|bits| firsts.map(|first| frame(first | bits, b"\xaaV*"))).collect();
    for bytes in frames.iter().cycle().take(frames.len() * rounds) {
        assert_eq!(provoke(scene.address, bytes), 1002);
    }
    let later = [frame(TEXT, b"{"), frame(0x40 | FIN | CONTINUATION, b"}")].concat();
    assert_eq!(provoke(scene.address, &later), 1002, "also in a later fragment");
    let peace = honest.finish();
    scene.stop();
    let (offered, sent) = (offers.len() * rounds, frames.len() * rounds + 1);
    Figures::default()
        .with(&format!("{offered} offers: none answered; {sent} frames with reserved bits: {sent} × 1002"))
        .with(&peace)
}

/// Connections that ping at full speed and never read; those that are closed come again. First as the server is by
/// default, then without a bound of the rate, where what is queued for them is the bound.
fn ping_flood(size: Size) -> Figures {
    [(&[][..], "bounded rate"), (&["--control-rate", "0"][..], "any rate")].into_iter().fold(
        Figures::default(),
        |figures, (flags, name)| {
            let time = size.of(3 * SECOND / 2, 10 * SECOND);
            let linger = size.of("300ms", "2s");
            let scene = Scene::serve(&[&["--linger", linger], flags].concat());
            let before = Vitals::of(scene.id());
            let honest = Honest::begin(scene.address);
            let watch = scene.watch();
            let (closed, written): (Vec<Duration>, Vec<u64>) = flood(scene.address, time).into_iter().unzip();
            let (strain, peace) = (watch.end(), honest.finish());
            assert!(closed.iter().all(|lasted| *lasted <= 11 * SECOND), "{}", span(closed));
            assert!(strain.memory_bytes < 64 << 20, "{strain}");
            // A flood behind the Close is slowed down, where nothing but that is left of it.
            let most = written.into_iter().max().unwrap();
            assert!(most < 32 << 20 || !flags.is_empty(), "{most} bytes were taken of one flood");
            eventually("their sockets and threads are gone", || {
                let now = Vitals::of(scene.id());
                now.descriptors <= before.descriptors && now.threads <= before.threads
            });
            scene.stop();
            let lasted = span(closed.iter().copied());
            let what =
                format!("{name}: {} closed after {lasted}, at most {} KiB taken of one", closed.len(), most >> 10);
            figures.with(&what).with(&strain).with(&peace)
        },
    )
}

/// Twenty threads, each of which floods until it is closed, and comes back until the time is over; how long each
/// connection lasted, and how many bytes it wrote.
fn flood(address: SocketAddr, time: Duration) -> Vec<(Duration, u64)> {
    let pings = frame(FIN | PING, &[b'p'; 125]).repeat(200);
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        let start = |n| {
            let pings = &pings;
            scope.spawn(move || {
                let mut closed = Vec::new();
                while Instant::now() < end {
                    let mut stream = Client::open(address, &format!("/ws?user_id=flood{n}"), "").socket.into_inner();
                    let (begun, mut written) = (Instant::now(), 0);
                    stream.set_write_timeout(Some(20 * SECOND)).unwrap();
                    while stream.write_all(pings).is_ok() {
                        assert!(begun.elapsed() < 20 * SECOND, "it is never closed");
                        written += pings.len() as u64;
                    }
                    closed.push((begun.elapsed(), written));
                }
                closed
            })
        };
        let threads: Vec<_> = (0..20).map(start).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}
