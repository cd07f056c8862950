//! `heartwire bench`: every workload in small, servers that do not behave, and how it ends.

use crate::process::{Process, heartwire, serve_command};
use crate::support::*;
use heartwire::{CloseKind, CloseReason, Config, Connection, Handler, Message, Server, Verdict};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use socket2::SockRef;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output};
use std::thread;
use std::time::Duration;

/// A short run with these arguments, in one line.
fn bench(arguments: &str) -> Command {
    run(arguments, &["--warm-up", "50ms", "--duration", "300ms"])
}

/// A run with these arguments, the first of which is the workload, and further flags.
fn run(arguments: &str, flags: &[&str]) -> Command {
    let (workload, arguments) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let mut command = heartwire(&["bench", workload, "--json"]);
    command.args(flags).args(arguments.split_whitespace());
    command
}

/// The figures that a command prints, and what it says besides.
fn measured(mut command: Command) -> (Value, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    (serde_json::from_slice(&output.stdout).unwrap(), said)
}

/// The only line of a command that fails, with this exit code.
#[track_caller]
fn refused(mut command: Command, code: i32) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.len(), said.lines().count()), (Some(code), 0, 1), "{said}");
    said
}

fn number(figures: &Value, name: &str) -> f64 {
    figures.pointer(&format!("/{name}")).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {name}: {figures}"))
}

/// A configuration that slows no load.
fn unlimited(config: &mut Config) {
    config.message_rate = None;
    config.deliveries_per_second = None;
    config.delivered_bytes_per_second = None;
}

fn url(server: &Server) -> String {
    format!("ws://{}/ws", address(server))
}

#[test]
fn every_workload_delivers_something_and_loses_nothing() {
    for (arguments, connections, senders) in [
        ("relay --connections 6 --window 2", 6, 6),
        ("relay --connections 7 --senders 2 --payload 1000B", 7, 2),
        ("relay --connections 6 --threads 2", 6, 6),
        ("open-loop --connections 4 --rate 200", 4, 4),
        ("open-loop --connections 4 --rate 200 --payload 100KiB -- --max-message-bytes 1MiB", 4, 4),
        ("fanout --members 10 --window 2", 11, 1),
        ("fanout --members 10 --probe", 13, 3),
        ("heartbeat --connections 10 --every 100ms --threads 2", 10, 10),
        ("churn --concurrency 3", 3, 3),
    ] {
        let (figures, said) = measured(bench(arguments));
        assert_eq!(figures["workload"], arguments.split(' ').next().unwrap());
        assert_eq!((&figures["connections"], &figures["senders"]), (&connections.into(), &senders.into()), "{figures}");
        assert!(number(&figures, "delivered") > 0.0 && number(&figures, "sent") > 0.0, "{arguments}: {figures}");
        assert_eq!(figures["lost"], 0, "{arguments}: {said}");
        assert!(number(&figures, "latency_us/p50") > 0.0 && number(&figures, "seconds") > 0.2, "{figures}");
        assert!(number(&figures, "server_cost/threads") > 0.0, "{figures}");
        assert_eq!(figures["interrupted"], false);
    }
}

#[test]
fn idle_connections_are_measured_by_what_they_hold() {
    let (figures, _) = measured(bench("idle --connections 120"));
    assert_eq!((&figures["connections"], &figures["sent"], &figures["lost"]), (&120.into(), &0.into(), &0.into()));
    assert!(number(&figures, "server_cost/threads") >= 120.0, "{figures}");
    assert!(number(&figures, "server_cost/resident_bytes_per_connection") > 1_000.0, "{figures}");
    assert!(number(&figures, "server_cost/kernel_bytes_per_connection").is_finite());
}

#[test]
fn a_number_of_messages_is_kept_to_exactly() {
    for arguments in
        ["relay --connections 4 --threads 2", "open-loop --connections 4 --rate 1000", "fanout --members 3"]
    {
        let (figures, _) = measured(run(arguments, &["--messages", "101", "--warm-up", "0s", "--duration", "2m"]));
        let recipients = if arguments.starts_with("fanout") { 3 } else { 1 };
        assert_eq!((&figures["sent"], &figures["delivered"]), (&101.into(), &(101 * recipients).into()), "{arguments}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (arguments, code, essence) in [
        ("relay --connections 3", 2, "--connections 3: pairs need an even number"),
        ("relay --connections 4 --senders 1", 2, "--senders 1: pairs need an even number"),
        ("relay --connections 4 --senders 6", 2, "there are only 4"),
        ("relay --connections 0", 2, "'0'"),
        ("relay --window 0", 2, "'0'"),
        ("open-loop --connections 5", 2, "pairs need an even number"),
        ("open-loop --rate 0", 2, "'0'"),
        ("heartbeat --every 0s", 2, "more than nothing"),
        ("idle --plot /dev/null", 2, "--plot: idle has no latency to draw"),
        ("relay --payload 8B", 2, "16B to 1MiB"),
        ("relay --threads 0", 2, "'0'"),
        ("relay --pid 1", 2, "--url"),
        ("relay --url ws://127.0.0.1:1/ws -- --rate 5", 2, "cannot be used with"),
        ("relay --url wss://127.0.0.1:1/ws", 2, "no TLS"),
        ("relay --url 127.0.0.1:1", 2, "ws://HOST:PORT/ws"),
        ("relay --url ws://127.0.0.1:1/ws", 1, "ws://127.0.0.1:1: cannot connect: "),
        ("relay --url ws://nowhere.invalid/ws", 1, "nowhere.invalid has no address"),
        ("relay -- --potato", 1, "the server does not start: unexpected argument '--potato'"),
        ("relay -- --listen 0.0.0.0:0", 1, "the server does not start: "),
        ("idle --connections 1000000", 1, "1000000 connections need 1000064 open files, and the limit is"),
    ] {
        let said = refused(bench(arguments), code);
        assert!(said.starts_with("error: ") && said.contains(essence), "{arguments}: {said}");
    }
    for duration in ["0s", "61m", "-1s", "5"] {
        let said = refused(run("relay", &[&format!("--duration={duration}")]), 2);
        assert!(said.contains("--duration"), "{said}");
    }
}

/// Answers the first bytes of each client with this, and ends or resets the stream.
fn answering(answer: &'static [u8], resets: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 1_024]);
            let _ = client.write_all(answer);
            if resets {
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    });
    url
}

#[test]
fn what_is_no_heartwire_is_told_so() {
    for (answer, essence) in [
        (&b"HTTP/1.0 404 Not Found\r\n\r\nhello"[..], "it answered 404, HTTP/1.0 404 Not Found"),
        (b"HTTP/1.1 401 X\r\n\r\n{\"error\":{\"message\":\"no token\"}}", "it answered 401, no token"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"", "cannot connect"),
        (b"HTTP/1.1 101 X\r\n\r\n\x81\x02{}", "its first frame is not `register`"),
        (b"HTTP/1.1 101 X\r\n\r\n\x81\x13{\"type\":\"register\"}", "names no account"),
        (b"HTTP/1.1 101 X\r\n\r\n\x81\x82", "it masks its frames"),
        (b"HTTP/1.1 101 X\r\n\r\n\x88\x06\x10\x04over", "4100 over"),
    ] {
        for resets in [false, true] {
            let said = refused(bench(&format!("relay --connections 2 --url {}", answering(answer, resets))), 1);
            assert!(said.contains(essence), "{essence}: {said}");
        }
    }
}

/// The first is let in and closed, the second stays, and the third is let in when nobody waits for it any more.
#[test]
fn only_those_that_are_in_are_measured() {
    const IN: &[u8] = b"HTTP/1.1 101 X\r\n\r\n\x81\x28{\"type\":\"register\",\"account\":\"somebody\"}";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut clients: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        clients.iter_mut().for_each(|client| _ = client.read(&mut [0; 1_024]));
        clients[1].write_all(IN).unwrap();
        clients[0].write_all(&[IN, b"\x88\x06\x10\x04over"].concat()).unwrap();
        clients.remove(0);
        thread::sleep(Duration::from_secs(6));
        let _ = clients[1].write_all(&[IN, b"\x88\x06\x10\x04over"].concat());
        clients.remove(1);
        let _ = clients[0].read(&mut [0; 1_024]);
    });
    let (figures, said) = measured(run(&format!("idle --connections 3 --url {url}"), &["--duration", "3s"]));
    assert_eq!(said, "note: the server let in 1 of 3 connections, and then no more: 4100 over\n");
    assert_eq!(figures["connections"], 1);
}

#[test]
fn a_server_that_lets_in_fewer_is_measured_with_those() {
    let (figures, said) = measured(bench("relay --connections 6 -- --max-connections 5"));
    assert!(said.contains("the server let in 5 of 6 connections, and then no more: it answered 503"), "{said}");
    assert_eq!((&figures["connections"], &figures["senders"]), (&5.into(), &4.into()));
    assert_eq!(figures["server"], "--max-connections 5");
    assert!(number(&figures, "delivered") > 0.0);
}

#[test]
fn another_server_is_measured_with_the_process_that_it_is() {
    let mut server = Process::start(serve_command(&["--rate", "0"]));
    let url = format!("ws://{}/ws?user_id=somebody-{{n}}", server.address());
    let (figures, _) = measured(bench(&format!("relay --connections 4 --url {url} --pid {}", server.id())));
    assert_eq!((&figures["lost"], &figures["server"]), (&0.into(), &format!("ws://{}", server.address()).into()));
    assert!(number(&figures, "server_cost/resident_bytes") > 1e6, "{figures}");
    let (figures, _) = measured(bench(&format!("relay --connections 4 --url {url}")));
    assert!(figures["server_cost"].is_null() && number(&figures, "delivered") > 0.0, "{figures}");
    let said = refused(bench(&format!("relay --url {url} --pid {}", 1 << 30)), 1);
    assert!(said.contains("there is no such process"), "{said}");
}

/// Takes a few messages for itself.
struct Thief;

impl Handler for Thief {
    fn message(&self, connection: &Connection, _: &mut Message<'_>) -> Verdict {
        if connection.account().as_str() == "u3" { Verdict::Consume } else { Verdict::Deliver }
    }
}

#[test]
fn what_does_not_arrive_is_lost() {
    let server = serve_with(configured(unlimited), Thief);
    let (figures, _) = measured(bench(&format!("relay --connections 6 --url {}", url(&server))));
    assert_eq!(figures["lost"], 1, "the ball that u3 should have returned: {figures}");
    assert!(number(&figures, "delivered") > 1.0, "the other pairs play on");
}

/// How long either side stood still shows in the latency of all that was due meanwhile, not of one message.
#[test]
fn a_schedule_goes_on_whoever_stands_still() {
    for is_server in [true, false] {
        let mut server = Process::start(serve_command(&["--rate", "0"]));
        let address = server.address();
        let arguments = format!("open-loop --connections 4 --rate 100 --messages 400 --url ws://{address}/ws");
        let bench = run(&arguments, &["--warm-up", "0s", "--duration", "2m"]).spawn().unwrap();
        let mut listener = Client::open(address, "/ws?user_id=u0", "");
        // The second frame, behind `register`, is a message to the other connection of this account.
        (0..2).for_each(|_| _ = listener.json());
        let process = if is_server { Pid::from_raw(server.id() as i32).unwrap() } else { Pid::from_child(&bench) };
        kill_process(process, Signal::STOP).unwrap();
        thread::sleep(Duration::from_millis(1_500));
        kill_process(process, Signal::CONT).unwrap();
        let output = bench.wait_with_output().unwrap();
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&figures["sent"], &figures["delivered"]), (&400.into(), &400.into()));
        assert!(number(&figures, "latency_us/p90") > 200_000.0, "a third of all were due meanwhile: {figures}");
        assert!(is_server || figures["client"]["bottleneck"] == true, "{figures}");
    }
}

/// What was due before the end and could not be sent then is sent after it.
#[test]
fn a_schedule_is_served_to_its_end_whoever_stands_still_over_it() {
    for arguments in ["open-loop --connections 4 --rate 100", "heartbeat --connections 4 --every 40ms"] {
        let server = serve(configured(unlimited));
        let arguments = format!("{arguments} --url {}", url(&server));
        let bench = run(&arguments, &["--warm-up", "0s", "--duration", "2s"]).spawn().unwrap();
        eventually("messages flow", || server.handle().counts().unwrap().messages_received > 5);
        kill_process(Pid::from_child(&bench), Signal::STOP).unwrap();
        thread::sleep(Duration::from_millis(2_500));
        kill_process(Pid::from_child(&bench), Signal::CONT).unwrap();
        let output = bench.wait_with_output().unwrap();
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!((number(&figures, "sent") - 200.0).abs() <= 1.0, "{figures}");
        assert_eq!((&figures["lost"], &figures["client"]["bottleneck"]), (&0.into(), &true.into()), "{figures}");
    }
}

#[test]
fn what_a_schedule_has_no_room_to_send_is_lost() {
    let mut server = Process::start(serve_command(&["--rate", "0", "--max-message-bytes", "1MiB"]));
    let address = server.address();
    let arguments = format!("open-loop --connections 4 --rate 1000 --payload 100KiB --url ws://{address}/ws");
    let bench = run(&arguments, &["--warm-up", "0s", "--duration", "2s"]).spawn().unwrap();
    let mut listener = Client::open(address, "/ws?user_id=u0", "");
    (0..2).for_each(|_| _ = listener.json());
    kill_process(Pid::from_raw(server.id() as i32).unwrap(), Signal::STOP).unwrap();
    let output = bench.wait_with_output().unwrap();
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!((number(&figures, "sent") - 2_000.0).abs() <= 1.0, "{figures}");
    assert!(number(&figures, "lost") > 1_000.0, "more than sockets hold: {figures}");
}

/// A picture that cannot be drawn in the end leaves no file, nor does it take away one that was there.
#[test]
fn a_run_that_fails_leaves_no_picture() {
    let path = std::env::temp_dir().join(format!("heartwire-bench-{}.svg", std::process::id()));
    let arguments = format!("relay --url ws://127.0.0.1:1/ws --plot {}", path.display());
    assert!(refused(bench(&arguments), 1).contains("cannot connect"));
    assert!(!path.exists());
    fs::write(&path, "kept").unwrap();
    assert!(refused(bench(&arguments), 1).contains("cannot connect"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    fs::remove_file(&path).unwrap();
}

/// A run of minutes against this server, which has seen some of it already.
fn endless(server: &Server, flags: &[&str]) -> Child {
    let arguments = format!("relay --connections 4 --warm-up 0s --duration 2m --url {}", url(server));
    let child = run(&arguments, flags).spawn().unwrap();
    eventually("messages flow", || server.handle().counts().unwrap().messages_received > 20);
    child
}

#[test]
fn a_signal_ends_it_and_what_was_measured_is_printed() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = serve(configured(unlimited));
        let child = endless(&server, &["--threads", "2"]);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&figures["interrupted"], &figures["lost"]), (&true.into(), &0.into()));
        assert!(number(&figures, "delivered") > 0.0, "{figures}");
    }
}

#[test]
fn a_room_does_not_wait_for_one_that_is_gone() {
    let server = serve(configured(unlimited));
    let arguments = format!("fanout --members 3 --window 2 --url {}", url(&server));
    let child = run(&arguments, &["--warm-up", "0s", "--duration", "2m"]).spawn().unwrap();
    let received = || server.handle().counts().unwrap().messages_received;
    eventually("messages flow", || received() > 20);
    server.handle().disconnect(account("u2"), CloseReason::new(CloseKind::Disconnected, "enough")).unwrap();
    let before = received();
    eventually("they still do", || received() > before + 20);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the server closed 1 connections, the first: 4503 "), "{said}");
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&figures, "lost") <= 2.0, "what was on its way to it: {figures}");
}

#[test]
fn a_server_that_closes_everybody_ends_it() {
    let server = serve(configured(unlimited));
    let child = endless(&server, &[]);
    server.shutdown(Duration::from_secs(1)).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.contains("all connections ended, the first: 1001 going away"), "{said}");
}

/// Also where it has no time to end it.
#[test]
#[cfg(target_os = "linux")]
fn the_server_ends_with_the_bench() {
    for signal in [Signal::KILL, Signal::INT] {
        let mut bench = run("idle --connections 2", &["--duration", "2m"]).spawn().unwrap();
        let mut server = None;
        eventually("there is a server", || {
            server = child_of(bench.id());
            server.is_some()
        });
        kill_process(Pid::from_child(&bench), signal).unwrap();
        bench.wait().unwrap();
        eventually("the server has ended", || has_ended(server.unwrap()));
    }
}

/// The parent and the state in `/proc/PID/stat`.
fn parent_and_state(pid: u32) -> Option<(u32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.to_owned();
    Some((fields.next()?.parse().ok()?, state))
}

fn child_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.into_iter().find(|pid| parent_and_state(*pid).is_some_and(|(of, _)| of == parent))
}

/// Where nobody waits for it, it is there still, as a zombie.
fn has_ended(pid: u32) -> bool {
    parent_and_state(pid).is_none_or(|(_, state)| state == "Z")
}
