//! Many attackers on one thread: sockets that do not block, looked at in turn.

use crate::raw::CLOSE;
use crate::support::{Client, PATIENCE, Patience, dial, exchange};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a swarm is looked at, and by how much a measured end may come late.
pub const GLANCE: Duration = Duration::from_millis(20);

/// One peer, which never waits for the server.
pub struct Attacker {
    /// Gone with the connection.
    stream: Option<TcpStream>,
    /// Since when the server has to bear with it.
    pub begun: Instant,
    /// How long the server bore with it.
    pub lasted: Option<Duration>,
    /// Whether the end was a reset, and not the server's orderly one.
    pub reset: bool,
    /// All that the server said.
    pub heard: Vec<u8>,
    /// How much of what it has to say is said.
    pub said: usize,
}

impl Attacker {
    /// Connects and says nothing.
    pub fn dial(address: SocketAddr) -> Self {
        let begun = Instant::now();
        Self { begun, ..Self::adopt(dial(address)) }
    }

    /// Connects as a WebSocket client of this account, as a well-behaved one would until now.
    pub fn upgraded(address: SocketAddr, account: &str) -> Self {
        Self::adopt(Client::open(address, &format!("/ws?user_id={account}"), "").socket.into_inner())
    }

    /// Continues a connection.
    pub fn adopt(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        let begun = Instant::now();
        Self { stream: Some(stream), begun, lasted: None, reset: false, heard: Vec::new(), said: 0 }
    }

    /// Says more of this text, `most` bytes of it if the server takes them.
    pub fn say(&mut self, text: &[u8], most: usize) {
        let Some(stream) = &mut self.stream else { return };
        let rest = &text[self.said.min(text.len())..];
        match stream.write(&rest[..most.min(rest.len())]) {
            Ok(written) => self.said += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.end(true),
        }
    }

    /// Hears what there is to hear.
    pub fn listen(&mut self) {
        let mut buffer = [0; 4 << 10];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut buffer) {
                Ok(0) => self.end(false),
                Ok(n) => self.heard.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.end(true),
            }
        }
    }

    pub fn is_over(&self) -> bool {
        self.lasted.is_some()
    }

    /// The code and the reason of the Close frame, which must be the last that it heard.
    #[track_caller]
    pub fn close_frame(&self) -> (u16, String) {
        let (opcode, payload) = frames(&self.heard).pop().expect("a frame");
        assert_eq!(opcode, CLOSE, "{}", String::from_utf8_lossy(&self.heard));
        (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8(payload[2..].to_vec()).unwrap())
    }

    /// The code and the reason of the close line, which must be the last that it heard.
    #[track_caller]
    pub fn close_line(&self) -> (u16, String) {
        let heard = std::str::from_utf8(&self.heard).unwrap();
        let last: Value = serde_json::from_str(heard.lines().last().expect("a line")).unwrap();
        assert_eq!(last["type"], "close", "{heard}");
        (last["code"].as_u64().unwrap().try_into().unwrap(), last["reason"].as_str().unwrap().to_owned())
    }

    fn end(&mut self, reset: bool) {
        self.stream = None;
        self.reset = reset;
        self.lasted = Some(self.begun.elapsed());
    }
}

/// Looks at all of them in turn, each listening and then doing what `act` says, until all are over.
#[track_caller]
pub fn until_over(swarm: &mut [Attacker], mut act: impl FnMut(&mut Attacker)) {
    let patience = Patience::begin();
    while swarm.iter().any(|attacker| !attacker.is_over()) {
        patience.assert("the end of every attacker");
        look(swarm, &mut act);
        sleep(GLANCE);
    }
}

/// Looks at those that are not over, once.
pub fn look(swarm: &mut [Attacker], mut act: impl FnMut(&mut Attacker)) {
    for attacker in swarm.iter_mut().filter(|attacker| !attacker.is_over()) {
        attacker.listen();
        act(attacker);
    }
}

/// The code with which the connection of a WebSocket client ends that says this.
#[track_caller]
pub fn provoke(address: SocketAddr, bytes: &[u8]) -> u16 {
    let (mut attacker, patience) = (Attacker::upgraded(address, "provoker"), Patience::begin());
    while !attacker.is_over() {
        patience.assert("its end");
        attacker.say(bytes, bytes.len());
        attacker.listen();
        sleep(Duration::from_millis(1));
    }
    attacker.close_frame().0
}

/// Sends a request and, behind it, a Close frame, in case that it is let in; all that is answered.
pub fn knock(address: SocketAddr, request: &str) -> String {
    exchange(address, [request.as_bytes(), b"\x88\x80\0\0\0\0"].concat())
}

/// The shortest and the longest of some times, as a figure.
pub fn span(times: impl IntoIterator<Item = Duration>) -> String {
    let times: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64()).collect();
    let (least, most) = times.iter().fold((PATIENCE.as_secs_f64(), 0.0_f64), |(a, b), t| (a.min(*t), b.max(*t)));
    format!("{least:.1}–{most:.1} s")
}

/// The whole frames of a server, each its opcode and its payload.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let extended = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((extended, rest)) = rest.split_at_checked(extended) else { break };
        let length = if extended.is_empty() { std::slice::from_ref(second) } else { extended };
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        frames.push((first & 0x0f, payload.to_vec()));
        bytes = rest;
    }
    frames
}
