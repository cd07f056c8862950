//! What a delivered message costs the server: `cargo bench --bench relay`. Linux only, since it reads `/proc`.
//!
//! One thread plays all clients of the real binary, with one message in flight per pair or per room, so that latency and
//! wake-ups count as they would with people. Times drift with the machine; compare runs that were interleaved.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use rustix::event::{PollFd, PollFlags, poll};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const MESSAGES: usize = 50_000;
/// Linux counts a process's time in hundredths of a second.
const TICK_US: f64 = 10_000.0;

fn main() {
    println!("{:<16}{:>12}{:>18}", "", "messages/s", "server CPU µs each");
    for connections in [2, 50, 500] {
        run(&format!("relay {connections}"), connections, |clients| {
            let to_partner = |n: usize| message(&format!(r#""to":["u{}"]"#, n ^ 1));
            let frames: Vec<_> = (0..connections).map(to_partner).collect();
            for n in (0..connections).step_by(2) {
                clients[n].write_all(&frames[n]).unwrap();
            }
            exchange(clients, |n, clients| clients[n].write_all(&frames[n]).unwrap())
        });
    }
    for members in [100, 1_000] {
        run(&format!("fan-out {members}"), members + 1, |clients| {
            for client in clients.iter_mut() {
                client.write_all(&masked(r#"{"type":"join","room":"r","id":"j"}"#)).unwrap();
                while client.read(&mut [0; 1_024]).unwrap() == 0 {}
            }
            let to_all = message(r#""room":"r""#);
            clients[0].write_all(&to_all).unwrap();
            let mut missing = members;
            exchange(clients, |_, clients| {
                missing -= 1;
                if missing == 0 {
                    missing = members;
                    clients[0].write_all(&to_all).unwrap();
                }
            })
        });
    }
}

/// Starts a server, lets `clients` exchange messages, and prints what each delivery cost.
fn run(name: &str, connections: usize, exchange: impl FnOnce(&mut [TcpStream]) -> usize) {
    let (server, address) = start();
    let mut clients: Vec<_> = (0..connections).map(|n| connect(&address, n)).collect();
    let (before, begin) = (cpu_ticks(&server.0), Instant::now());
    let delivered = exchange(&mut clients) as f64;
    let (each, rate) =
        ((cpu_ticks(&server.0) - before) * TICK_US / delivered, delivered / begin.elapsed().as_secs_f64());
    println!("{name:<16}{rate:>12.0}{each:>18.1}");
}

/// Reads what is delivered, one message per readable client, and lets `answer` go on; returns the number delivered.
fn exchange(clients: &mut [TcpStream], mut answer: impl FnMut(usize, &mut [TcpStream])) -> usize {
    let (mut delivered, mut buffer) = (0, [0; 4_096]);
    while delivered < MESSAGES {
        let readable: Vec<usize> = {
            let mut polled: Vec<_> = clients.iter().map(|client| PollFd::new(client, PollFlags::IN)).collect();
            poll(&mut polled, None).unwrap();
            (0..polled.len()).filter(|n| polled[*n].revents().contains(PollFlags::IN)).collect()
        };
        for n in readable {
            assert!(clients[n].read(&mut buffer).unwrap() > 0, "the server closed connection {n}");
            delivered += 1;
            answer(n, clients);
        }
    }
    delivered
}

fn message(to: &str) -> Vec<u8> {
    masked(&format!(r#"{{"type":"message",{to},"content":"how are you?"}}"#))
}

/// A text frame of less than 126 bytes, with a mask of zeros.
fn masked(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

fn connect(address: &str, n: usize) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_nodelay(true).unwrap();
    write!(
        client,
        "GET /ws?user_id=u{n} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let (mut received, mut buffer) = (Vec::new(), [0; 1_024]);
    while !received.ends_with(b"}") {
        let length = client.read(&mut buffer).unwrap();
        assert!(length > 0, "refused: {}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&buffer[..length]);
    }
    client
}

/// The binary, killed when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn start() -> (Server, String) {
    let unlimited = ["--max-per-address", "0", "--rate", "0", "--deliveries-per-second", "0"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_heartwire"))
        .args(["serve", "--listen", "127.0.0.1:0", "--accepts-per-second", "0", "--delivered-bytes-per-second", "0"])
        .args(unlimited)
        .env("HEARTWIRE_ADMIN_LISTEN", "off")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("listening on ").nth(1).unwrap().split(": ").next().unwrap().to_owned();
    (Server(child), address)
}

/// User and system time, fields 14 and 15 of `/proc/PID/stat`; the name before them may hold blanks.
fn cpu_ticks(server: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum()
}
