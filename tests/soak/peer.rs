//! One client: its socket, which never blocks, and its form of the protocol.

use crate::raw::{self, CLOSE, FIN, PING, PONG, TEXT};
use crate::support::upgrade_request;
use serde_json::{Value, json};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Where the server listens.
#[derive(Clone, Copy)]
pub struct Addresses {
    pub http: SocketAddr,
    pub lines: SocketAddr,
    pub admin: SocketAddr,
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Native,
    Ginchat,
    Lines,
}

impl Form {
    /// Six in ten speak the native protocol over WebSocket, two in ten each of the others.
    pub fn of(n: usize) -> Self {
        match n % 10 {
            0..=5 => Self::Native,
            6 | 7 => Self::Ginchat,
            _ => Self::Lines,
        }
    }
}

/// To whom a message goes.
#[derive(Clone, Copy)]
pub enum To {
    Account(u64),
    Room(u64),
}

/// What a client is told.
pub enum Heard {
    /// It is connected.
    Welcome,
    Message {
        from: u64,
        body: String,
    },
    Ack {
        id: String,
        delivered: usize,
    },
    Error {
        id: String,
        code: u64,
    },
    /// The server closes, with these words.
    Close(String),
    /// The stream has ended.
    End,
}

pub struct Peer {
    pub form: Form,
    stream: TcpStream,
    received: Vec<u8>,
    is_upgraded: bool,
}

impl Peer {
    /// Connects and asks to be let in as this account.
    pub fn open(addresses: Addresses, form: Form, account: u64) -> Self {
        let (address, request) = match form {
            Form::Native => (addresses.http, upgrade_request(&format!("/ws?user_id={account}"), "")),
            Form::Ginchat => (addresses.http, upgrade_request(&format!("/chat?userId={account}"), "")),
            Form::Lines => {
                (addresses.lines, format!("{}\n", json!({ "type": "hello", "user_id": account.to_string() })))
            }
        };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { form, stream, received: Vec::new(), is_upgraded: form == Form::Lines }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a message. Clients of the `ginchat` dialect give it no id and are told nothing of it.
    pub fn say(&mut self, n: u64, to: To, text: &str) {
        let frame = match (self.form, to) {
            (Form::Ginchat, To::Account(target)) => {
                json!({ "userId": 1, "TargetId": target, "Type": 1, "Media": 1, "Content": text })
            }
            (Form::Ginchat, To::Room(target)) => {
                json!({ "userId": 1, "TargetId": target, "Type": 2, "Media": 1, "Content": text })
            }
            (_, To::Account(to)) => {
                let to = [to.to_string()];
                json!({ "type": "message", "to": to, "content": { "body": text }, "id": n.to_string() })
            }
            (_, To::Room(room)) => {
                let room = room.to_string();
                json!({ "type": "message", "room": room, "content": { "body": text }, "id": n.to_string() })
            }
        };
        self.send(&frame);
    }

    pub fn send(&mut self, frame: &Value) {
        match self.form {
            Form::Lines => self.write(format!("{frame}\n").as_bytes()),
            _ => self.write(&raw::text(frame)),
        }
    }

    /// Begins an orderly end, or agrees to one; the server's part of it is still to be read.
    pub fn close(&mut self) {
        match self.form {
            // It fails where the connection has ended, which is what is wanted.
            Form::Lines => drop(self.stream.shutdown(Shutdown::Write)),
            _ => self.write(&raw::close(1000)),
        }
    }

    /// Ends as a program that was killed with unread data does.
    pub fn reset(&self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads what there is, and answers pings.
    pub fn hear(&mut self) -> Vec<Heard> {
        let (mut heard, mut buffer) = (Vec::new(), [0; 16 << 10]);
        let has_ended = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(_) => break true,
            }
        };
        while let Some((opcode, payload)) = self.next() {
            heard.extend(self.understand(opcode, &payload));
        }
        heard.extend(has_ended.then_some(Heard::End));
        heard
    }

    /// The next whole frame or line: its opcode, and what it holds. The head of the upgrade has the opcode 0.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let (opcode, start, end, next) = if !self.is_upgraded {
            let end = self.received.windows(4).position(|window| window == b"\r\n\r\n")?;
            self.is_upgraded = true;
            (0, 0, end, end + 4)
        } else if self.form == Form::Lines {
            let end = self.received.iter().position(|byte| *byte == b'\n')?;
            (TEXT, 0, end, end + 1)
        } else {
            let (length, start) = match *self.received.get(1)? {
                126 => (usize::from(u16::from_be_bytes(*self.received.get(2..)?.first_chunk()?)), 4),
                127 => panic!("no message is that long"),
                length => (usize::from(length), 2),
            };
            (self.received[0] & 0x0f, start, start + length, start + length)
        };
        let payload = self.received.get(start..end)?.to_vec();
        self.received.drain(..next);
        Some((opcode, payload))
    }

    fn understand(&mut self, opcode: u8, payload: &[u8]) -> Option<Heard> {
        match opcode {
            0 => {
                assert!(payload.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(payload));
                // There is no register frame in that dialect.
                (self.form == Form::Ginchat).then_some(Heard::Welcome)
            }
            PING => {
                self.write(&raw::frame(FIN | PONG, payload));
                None
            }
            CLOSE => {
                let (code, reason) = payload.split_at(payload.len().min(2));
                Some(Heard::Close(format!("{code:?} {}", String::from_utf8_lossy(reason))))
            }
            TEXT if self.form == Form::Ginchat => Some(ginchat(&serde_json::from_slice(payload).unwrap())),
            TEXT => self.native(&serde_json::from_slice(payload).unwrap()),
            opcode => panic!("the server sends opcode {opcode}"),
        }
    }

    fn native(&mut self, frame: &Value) -> Option<Heard> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let id = text(&frame["id"]);
        Some(match frame["type"].as_str().unwrap() {
            "register" => Heard::Welcome,
            "ping" => {
                self.send(&json!({ "type": "heartbeat" }));
                return None;
            }
            "heartbeat" => return None,
            "message" => {
                let from = text(&frame["from"]).parse().unwrap();
                Heard::Message { from, body: text(&frame["content"]["body"]) }
            }
            "notice" => Heard::Message { from: 0, body: text(&frame["content"]["body"]) },
            "ack" => Heard::Ack { id, delivered: frame["delivered"].as_u64().unwrap() as usize },
            "error" => Heard::Error { id, code: frame["error"]["code"].as_u64().unwrap() },
            "close" => Heard::Close(frame.to_string()),
            other => panic!("the server sends a {other}"),
        })
    }

    /// What is written is little, and the server always reads.
    fn write(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            // It is read afterwards that, and why, the server has closed.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            written => written.expect("the server reads"),
        }
    }
}

fn ginchat(frame: &Value) -> Heard {
    let from = frame["userId"].as_u64().unwrap();
    Heard::Message { from, body: frame["Content"].as_str().unwrap().to_owned() }
}
