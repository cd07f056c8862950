//! What a stop leaves behind, whom it waits for, and for how long.

use crate::gate::Gate;
use crate::raw::{self, FIN, PONG, Peer};
use crate::support::{
    Client, account, address, config, configured, dial, eventually, serve, serve_with, upgrade_request,
};
use heartwire::{Error, Push, Server};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// Far more than a stop needs.
const AMPLE: Duration = Duration::from_secs(20);
/// A deadline for which nobody is to wait.
const LONG: Duration = Duration::from_secs(100);

/// Tells a copy of this program that it runs one test, alone.
const ALONE: &str = "HEARTWIRE_TEST_ALONE";

/// Runs a test in a process of its own, where no other test starts threads or opens files.
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args([&name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Threads and open descriptors of this process.
#[cfg(target_os = "linux")]
fn held() -> [usize; 2] {
    ["/proc/self/task", "/proc/self/fd"].map(|directory| std::fs::read_dir(directory).unwrap().count())
}

/// Serves `clients`, ends, and fails unless every thread and descriptor is given back.
#[cfg(target_os = "linux")]
fn leaves_nothing_behind<C>(server: impl Fn() -> Server, clients: impl Fn(&Server) -> C, end: impl Fn(Server)) {
    let before = held();
    let server = server();
    let clients = clients(&server);
    assert!(held()[0] > before[0] && held()[1] > before[1]);
    end(server);
    drop(clients);
    // A thread that was joined may still stand in the list for a moment.
    eventually("threads and descriptors are back", || held() == before);
}

/// Clients of every kind: they read, never read, never ask, ask for half, ask and leave.
fn every_kind(server: &Server) -> (Vec<Peer>, Vec<TcpStream>) {
    let peers: Vec<Peer> = (0..10).map(|n| Peer::connect(server, &format!("a{n}"))).collect();
    let push = Push::new("chunk", &"x".repeat(256 << 10)).unwrap();
    while server.handle().counts().unwrap().queued_bytes == 0 {
        server.handle().send(account("a0"), &push).unwrap();
    }
    drop(Client::connect(server, "leaves"));
    (peers, half_open(server))
}

/// Handshakes that do not go on, which the server has begun to read.
fn half_open(server: &Server) -> Vec<TcpStream> {
    let accepted = server.handle().counts().unwrap().accepted;
    let request = upgrade_request("/ws?user_id=late", "");
    let silent = dial(address(server));
    let mut halfway = dial(address(server));
    halfway.write_all(&request.as_bytes()[..request.len() / 2]).unwrap();
    eventually("both are accepted", || server.handle().counts().unwrap().accepted == accepted + 2);
    vec![silent, halfway]
}

fn patient() -> Server {
    serve(configured(|config| {
        (config.handshake_deadline, config.write_deadline) = (LONG, LONG);
        (config.drain, config.linger) = (Duration::from_millis(500), Duration::from_millis(200));
        config.queue_bytes = 16 << 20;
    }))
}

#[test]
#[cfg(target_os = "linux")]
fn a_shutdown_gives_back_every_thread_and_descriptor() {
    alone("a_shutdown_gives_back_every_thread_and_descriptor", || {
        for _ in 0..3 {
            leaves_nothing_behind(patient, every_kind, |server| {
                server.shutdown(Duration::from_millis(500)).unwrap();
            });
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_drop_gives_back_every_thread_and_descriptor() {
    alone("a_drop_gives_back_every_thread_and_descriptor", || {
        leaves_nothing_behind(patient, every_kind, drop);
        let handle = serve(config()).handle();
        // What a program keeps of a server are a few descriptors at most, never its threads.
        eventually("no thread is left", || held()[0] == 2);
        drop(handle);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_that_does_not_start_leaves_nothing_behind() {
    alone("a_server_that_does_not_start_leaves_nothing_behind", || {
        let running = serve(config());
        let before = held();
        let taken = configured(|config| config.listen.push(address(&running)));
        Server::bind(taken, heartwire::Anonymous).unwrap_err();
        eventually("threads and descriptors are back", || held() == before);
    });
}

#[test]
fn a_shutdown_does_not_wait_for_the_deadline_of_handshakes_in_progress() {
    let server = serve(configured(|config| config.handshake_deadline = LONG));
    let mut halves = half_open(&server);
    let start = Instant::now();
    server.shutdown(AMPLE).unwrap();
    assert!(start.elapsed() < AMPLE);
    for half in &mut halves {
        let mut response = String::new();
        half.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    }
}

#[test]
fn everybody_is_told_1001_and_who_answers_is_not_waited_for() {
    let server = serve(configured(|config| config.linger = LONG));
    let clients: Vec<Client> = ["a", "b", "c"].iter().map(|name| Client::connect(&server, name)).collect();
    let handle = server.handle();
    let reading: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                let close = client.close_frame();
                client.expect_end();
                close
            })
        })
        .collect();
    let start = Instant::now();
    server.shutdown(LONG).unwrap();
    assert!(start.elapsed() < LONG / 2);
    for client in reading {
        assert_eq!(client.join().unwrap(), (1001, "going away".into()));
    }
    assert!(handle.counts().is_err());
}

#[test]
fn a_slow_reader_gets_everything_that_waited_and_then_1001() {
    const CHUNKS: usize = 300;
    let server = serve(configured(|config| {
        (config.queue_bytes, config.queue_messages) = (64 << 20, CHUNKS * 2);
        config.write_deadline = LONG;
    }));
    let handle = server.handle();
    let (mut slow, mut quick) = (Peer::connect(&server, "slow"), Peer::connect(&server, "quick"));
    for n in 0..CHUNKS {
        let chunk = Push::new("chunk", &json!({ "n": n, "fill": "x".repeat(64 << 10) })).unwrap();
        assert_eq!(handle.send(account("slow"), &chunk).unwrap().connections, 1);
    }
    assert!(handle.counts().unwrap().queued_bytes > 0, "some of it waits");
    std::thread::scope(|scope| {
        let stopping = scope.spawn(move || server.shutdown(LONG));
        // The Close of one says that the Close of all was queued.
        assert_eq!(quick.ending().code, 1001);
        drop(quick);
        let ending = slow.ending();
        drop(slow);
        assert_eq!((ending.code, ending.messages.len()), (1001, CHUNKS));
        for (n, message) in ending.messages.iter().enumerate() {
            assert_eq!(serde_json::from_slice::<Value>(message).unwrap()["content"]["n"], n);
        }
        stopping.join().unwrap().unwrap();
    });
}

#[test]
fn the_time_that_the_caller_grants_holds_whatever_is_configured() {
    const CHUNKS: usize = 20;
    let server = serve(configured(|config| {
        (config.drain, config.linger) = (Duration::from_millis(1), Duration::from_millis(1));
        (config.queue_bytes, config.write_deadline) = (64 << 20, LONG);
    }));
    let handle = server.handle();
    let (mut slow, mut quick) = (Peer::connect(&server, "slow"), Peer::connect(&server, "quick"));
    let chunk = Push::new("chunk", &"x".repeat(1 << 20)).unwrap();
    for _ in 0..CHUNKS {
        assert_eq!(handle.send(account("slow"), &chunk).unwrap().connections, 1);
    }
    let start = Instant::now();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(move || server.shutdown(LONG));
        assert_eq!(quick.ending().code, 1001);
        drop(quick);
        slow.send(raw::frame(FIN | PONG, b"still here"));
        eventually("more time has passed than is configured", || start.elapsed() > Duration::from_secs(6));
        let ending = slow.ending();
        drop(slow);
        assert_eq!((ending.code, ending.messages.len()), (1001, CHUNKS));
        stopping.join().unwrap().unwrap();
    });
}

#[test]
fn a_peer_that_never_reads_is_cut_off_when_the_time_is_over() {
    let server = patient();
    let (peers, halves) = every_kind(&server);
    let start = Instant::now();
    server.shutdown(Duration::from_millis(300)).unwrap();
    assert!(start.elapsed() < LONG / 2);
    drop((peers, halves));
}

#[test]
fn a_shutdown_may_be_granted_all_the_time_there_is() {
    let server = serve(config());
    let client = Client::connect(&server, "a");
    drop(client);
    server.shutdown(Duration::MAX).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn whoever_connects_to_a_stopping_server_is_refused_at_once() {
    let server = patient();
    let (address, handle) = (address(&server), server.handle());
    let (never_reads, mut quick) = (Peer::connect(&server, "stuck"), Peer::connect(&server, "quick"));
    let filling = Push::new("filling", &"x".repeat(1 << 20)).unwrap();
    while handle.counts().unwrap().queued_bytes == 0 {
        handle.send(account("stuck"), &filling).unwrap();
    }
    std::thread::scope(|scope| {
        let stopping = scope.spawn(move || server.shutdown(LONG));
        eventually("nobody listens", || TcpStream::connect(address).is_err());
        assert_eq!(quick.ending().code, 1001);
        let reach = handle.send(account("stuck"), &filling).unwrap();
        assert_eq!((reach.connections, reach.missing), (0, vec![account("stuck")]), "whoever pushes now is told");
        assert!(!stopping.is_finished(), "it still waits for its client");
        drop((never_reads, quick));
        stopping.join().unwrap().unwrap();
    });
}

#[test]
fn a_handler_that_never_returns_is_left_behind_and_named() {
    let gate = Gate::default();
    let server = serve_with(configured(|config| config.linger = Duration::from_millis(100)), gate.clone());
    let mut held = Client::connect(&server, "held");
    held.send(&Gate::wait_frame("nobody"));
    eventually("it is held", || gate.held() == 1);
    let error = server.shutdown(Duration::from_millis(100)).unwrap_err();
    assert!(matches!(error, Error::ThreadsLeft(1)), "{error}");
    gate.open();
}
