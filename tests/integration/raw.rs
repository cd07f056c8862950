//! A client made by hand: frames as bytes, of which a library would refuse to write half, and every frame it is sent.

use crate::support::{Client, Patience, address};
use heartwire::Server;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;
/// The bit of a frame that ends its message (RFC 6455 §5.2).
pub const FIN: u8 = 0x80;

const MASK: [u8; 4] = [0xa5, 0x17, 0x3c, 0xf0];

/// A whole masked frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The header of a masked frame, which announces so many bytes.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(0x80 | length.to_be_bytes()[7]),
        126..=0xffff => {
            header.push(0x80 | 126);
            header.extend_from_slice(&length.to_be_bytes()[6..]);
        }
        _ => {
            header.push(0x80 | 127);
            header.extend_from_slice(&length.to_be_bytes());
        }
    }
    header.extend_from_slice(&MASK);
    header
}

/// A whole text message that holds this JSON.
pub fn text(json: &Value) -> Vec<u8> {
    frame(FIN | TEXT, json.to_string().as_bytes())
}

/// A Close frame with a code and no reason.
pub fn close(code: u16) -> Vec<u8> {
    frame(FIN | CLOSE, &code.to_be_bytes())
}

/// A client that does nothing by itself: it answers neither pings nor Close frames.
pub struct Peer {
    pub stream: TcpStream,
}

impl Peer {
    /// Connects as an account and reads the register frame.
    pub fn connect(server: &Server, account: &str) -> Self {
        Self { stream: Client::connect(server, account).socket.into_inner() }
    }

    /// Upgrades, and reads nothing behind the response.
    pub fn open(server: &Server, target: &str) -> Self {
        Self { stream: Client::open(address(server), target, "").socket.into_inner() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The next frame: its opcode and its payload; `None` at an orderly end of the stream.
    pub fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut start = [0; 1];
        if self.stream.read(&mut start).expect("a frame or the end of the stream") == 0 {
            return None;
        }
        assert_eq!(start[0] & 0xf0, FIN, "a server neither fragments nor uses reserved bits");
        let length = match self.read(1)[0] {
            126 => self.read(2),
            127 => self.read(8),
            length => vec![length],
        };
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        Some((start[0] & 0x0f, self.read(length)))
    }

    /// The next message as JSON; pings are passed over.
    pub fn json(&mut self) -> Value {
        let patience = Patience::begin();
        loop {
            match self.next() {
                Some((PING, _)) => patience.assert("a text message"),
                Some((TEXT, payload)) => return serde_json::from_slice(&payload).unwrap(),
                other => panic!("expected a text message, got {other:?}"),
            }
        }
    }

    /// Reads to the end, where exactly one Close must come, and nothing behind it; returns its code and reason, and
    /// the messages before it.
    pub fn ending(&mut self) -> Ending {
        let (mut messages, patience) = (Vec::new(), Patience::begin());
        loop {
            patience.assert("a Close");
            match self.next().expect("a Close before the end of the stream") {
                (CLOSE, payload) => {
                    assert_eq!(self.next(), None, "something came behind the Close");
                    let (code, reason) = payload.split_at(payload.len().min(2));
                    let code = if code.is_empty() { 1005 } else { u16::from_be_bytes([code[0], code[1]]) };
                    return Ending { code, reason: String::from_utf8(reason.to_vec()).unwrap(), messages };
                }
                (PING | PONG, _) => {}
                (_, payload) => messages.push(payload),
            }
        }
    }

    /// Sends each of these after a pause, from another thread, until `meanwhile` is done or the server takes no more.
    pub fn sending<T>(
        &mut self,
        parts: impl Iterator<Item = Vec<u8>> + Send,
        pause: Duration,
        meanwhile: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let stream = self.stream.try_clone().unwrap();
        sending(stream, parts, pause, || meanwhile(self))
    }

    fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }
}

/// Sends each of these after a pause, from another thread, until `meanwhile` is done or the server takes no more.
pub fn sending<T>(
    mut stream: TcpStream,
    parts: impl Iterator<Item = Vec<u8>> + Send,
    pause: Duration,
    meanwhile: impl FnOnce() -> T,
) -> T {
    let (going_on, end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for part in parts {
                let is_over = end.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
                if is_over || stream.write_all(&part).is_err() {
                    return;
                }
            }
        });
        // Dropped on a panic, too: the other thread must not go on for ever.
        let _going_on = going_on;
        meanwhile()
    })
}

/// How a connection ended.
#[derive(Debug)]
pub struct Ending {
    pub code: u16,
    pub reason: String,
    pub messages: Vec<Vec<u8>>,
}
