//! Many clients without a thread for each: from whichever address of loopback, read by one thread or by none.

use crate::raw::{self, Peer};
use crate::support::{PATIENCE, exchange, upgrade_request};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// How long a thread that found nothing to read sleeps.
const NAP: Duration = Duration::from_millis(1);

/// An address of this machine, all of 127.0.0.0/8 being its own.
pub const fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// A connection from this address, whose reads are bounded, and whose kernel keeps no more than this of what comes in.
pub fn dial_from(source: IpAddr, address: SocketAddr, receive_buffer: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// What an upgrade request with these headers is answered: the status. Whoever is let in is in front of its first frame.
pub fn knock(mut stream: TcpStream, target: &str, headers: &str) -> (u16, Peer) {
    // Who is refused before it was heard may be gone already.
    let _ = stream.write_all(upgrade_request(target, headers).as_bytes());
    let status = status(&mut stream);
    (status, Peer { stream })
}

/// The status of the response that comes.
pub fn status(stream: &mut TcpStream) -> u16 {
    head(stream)[9..12].parse().unwrap()
}

/// The head of the response that comes.
pub fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream
            .read_exact(&mut byte)
            .unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&head)));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A client that is let in as this account and was greeted.
pub fn enter(stream: TcpStream, account: &str) -> Peer {
    let (status, mut peer) = knock(stream, &format!("/ws?user_id={account}"), "");
    assert_eq!(status, 101, "{account}");
    assert_eq!(peer.json()["type"], "register");
    peer
}

/// Asks for something by a frame, and returns the answer.
pub fn ask(peer: &mut Peer, mut frame: Value) -> Value {
    frame["id"] = json!("asked");
    peer.send(raw::text(&frame));
    loop {
        let answer = peer.json();
        if answer["id"] == "asked" {
            return answer;
        }
    }
}

/// What a route of the HTTP interface answers to whoever needs no key.
pub fn get(admin: SocketAddr, path: &str) -> Value {
    let response = exchange(admin, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {response:?}"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{response}");
    serde_json::from_str(body).unwrap()
}

/// How many connections there are of accounts whose name holds this.
pub fn connected(admin: SocketAddr, name: &str) -> u64 {
    get(admin, &format!("/v1/connections?limit=1&search={name}"))["total"].as_u64().unwrap()
}

/// A thread that reads whatever comes to many clients, and keeps nothing of it.
pub struct Readers {
    ended: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Readers {
    pub fn begin(peers: Vec<Peer>) -> Self {
        let (ended, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        peers.iter().for_each(|peer| peer.stream.set_nonblocking(true).unwrap());
        let (is_over, counted) = (Arc::clone(&ended), Arc::clone(&bytes));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while !is_over.load(Ordering::Relaxed) {
                let read: u64 = peers.iter().map(|peer| read_some(&peer.stream, &mut buffer) as u64).sum();
                counted.fetch_add(read, Ordering::Relaxed);
                if read == 0 {
                    sleep(NAP);
                }
            }
        });
        Self { ended, bytes, thread }
    }

    /// How much they were sent so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Fails if one was dropped.
    pub fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// What there is at once; fails at the end of the stream.
fn read_some(mut stream: &TcpStream, buffer: &mut [u8]) -> usize {
    match stream.read(buffer) {
        Ok(0) => panic!("a client was dropped"),
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("a client was dropped: {error}"),
    }
}
