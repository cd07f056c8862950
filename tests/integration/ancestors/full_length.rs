//! The scripts in their systems' own times, and clients that say as little as may be, all of them at once.

use super::*;
use crate::lines::hello;
use crate::raw::TEXT;

/// Each kind of client says this much every 10 s.
const BYTES: usize = 24;
const TIMEOUT: u64 = 15;

/// A client with little to say.
enum Quiet {
    Frames(Peer),
    Lines(LineClient),
}

impl Quiet {
    fn native(process: &mut Process) -> (Self, Vec<u8>) {
        let mut peer = open(process.address(), "/ws?user_id=a");
        assert_eq!(peer.json()["type"], "register");
        (Self::Frames(peer), frame(r#"{"type":"heartbeat"}    "#))
    }

    fn ginchat(process: &mut Process) -> (Self, Vec<u8>) {
        (Self::Frames(ginchat(process.address(), 1)), frame(r#"{"Type":3,"Content":"h"}"#))
    }

    fn anonymous(process: &mut Process) -> (Self, Vec<u8>) {
        (Self::Lines(LineClient::open(process.tcp_address())), b"24 bytes, none ends it..".to_vec())
    }

    fn registered(process: &mut Process) -> (Self, Vec<u8>) {
        let mut client = LineClient::open(process.tcp_address());
        client.send(&hello("b"));
        assert_eq!(client.json()["type"], "register");
        (Self::Lines(client), b"{\"type\":\"heartbeat\"}   \n".to_vec())
    }

    fn write(&mut self, bytes: &[u8]) {
        match self {
            Self::Frames(peer) => peer.send(bytes),
            Self::Lines(client) => client.write(bytes),
        }
    }

    fn ending(&mut self) -> (u64, String) {
        match self {
            Self::Frames(peer) => {
                let ending = peer.ending();
                (ending.code.into(), ending.reason)
            }
            Self::Lines(client) => {
                let ending = client.ending();
                (ending.code, ending.reason)
            }
        }
    }
}

fn frame(text: &str) -> Vec<u8> {
    assert_eq!(text.len(), BYTES);
    raw::frame(FIN | TEXT, text.as_bytes())
}

/// Survives two minutes on 24 bytes every 10 s, without answering a ping; its silence is punished.
fn lives_on_little(who: &str, connect: fn(&mut Process) -> (Quiet, Vec<u8>)) {
    let timeout = FULL_LENGTH.flag(TIMEOUT);
    let mut process = binary(&["--tcp-listen", "127.0.0.1:0", "--heartbeat-timeout", &timeout]);
    let (mut client, datum) = connect(&mut process);
    let (start, mut last) = (Instant::now(), Instant::now());
    for _ in 0..=12 {
        last = Instant::now();
        client.write(&datum);
        if start.elapsed() < Duration::from_secs(120) {
            sleep(Duration::from_secs(10));
        }
    }
    let lived = last - start;
    println!("{who}: lived {lived:.1?} on {BYTES} bytes every 10 s");
    assert!(lived >= Duration::from_secs(120));
    let (code, reason) = client.ending();
    FULL_LENGTH.assert_cut(who, (code, &reason), last, Duration::from_secs(TIMEOUT));
    assert_eq!(code, 4201);
}

/// Says nothing from the beginning, or nothing more once it is there.
fn silence_from_the_beginning(who: &str, connect: fn(&mut Process) -> (Quiet, Vec<u8>), code: u64, limit: u64) {
    let timeout = FULL_LENGTH.flag(TIMEOUT);
    let mut process = binary(&["--tcp-listen", "127.0.0.1:0", "--heartbeat-timeout", &timeout]);
    process.tcp_address();
    let start = Instant::now();
    let (mut client, _) = connect(&mut process);
    let (seen, reason) = client.ending();
    FULL_LENGTH.assert_cut(who, (seen, &reason), start, Duration::from_secs(limit));
    assert_eq!(seen, code);
}

#[test]
#[ignore = "full length: 2.5 minutes"]
fn every_client_at_its_own_pace() {
    std::thread::scope(|scope| {
        scope.spawn(|| chat(FULL_LENGTH));
        scope.spawn(|| long_connection(FULL_LENGTH));
        scope.spawn(|| short_connection(FULL_LENGTH));
        scope.spawn(|| idle_events(FULL_LENGTH));
        scope.spawn(|| server_heartbeats(FULL_LENGTH));
        scope.spawn(|| adaptive_intervals(FULL_LENGTH));
        scope.spawn(|| lives_on_little("native", Quiet::native));
        scope.spawn(|| lives_on_little("ginchat", Quiet::ginchat));
        scope.spawn(|| lives_on_little("raw TCP, anonymous", Quiet::anonymous));
        scope.spawn(|| lives_on_little("raw TCP, registered", Quiet::registered));
        let silent = silence_from_the_beginning;
        scope.spawn(move || silent("native, silent", Quiet::native, 4201, TIMEOUT));
        scope.spawn(move || silent("ginchat, silent", Quiet::ginchat, 4201, TIMEOUT));
        scope.spawn(move || silent("raw TCP, registered, silent", Quiet::registered, 4201, TIMEOUT));
        scope.spawn(move || silent("raw TCP, without a first byte", Quiet::anonymous, 4104, 5));
    });
}
