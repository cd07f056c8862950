//! One connection of the load: a socket that never blocks, from the first SYN to the last byte.

use super::frames::{Frame, Frames, close, pong};
use super::url::Endpoint;
use crate::cli::admin_client::refusal;
use rustix::io::Errno;
use serde::Deserialize;
use socket2::{Domain, Socket, Type};
use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::TcpStream;

/// The longest head of an answer.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// A connection.
pub(super) struct Link {
    pub(super) socket: TcpStream,
    stage: Stage,
    frames: Frames,
    /// What the kernel did not take yet.
    unsent: Vec<u8>,
    /// What the server has said in a Close frame.
    closed: Option<String>,
    /// Whether this side has said that it closes.
    is_leaving: bool,
}

enum Stage {
    /// Until the head of the answer has come, of which this much is there.
    Upgrading(Vec<u8>),
    /// Until the `register` frame.
    Registering,
    Open,
}

/// What a connection has heard that matters to a load.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// It is open, as this account.
    Registered(String),
    /// A message that was due at this time.
    Message(u64),
    Heartbeat,
    Ack,
    Error(String),
}

/// Why a connection is none any more.
#[derive(Debug)]
pub(super) enum End {
    /// The server closed it, with this code and text.
    Closed(String),
    /// The stream ended, or broke.
    Gone(io::Error),
    /// The server answered with another status than 101.
    Refused { status: u16, message: String },
    /// It does not speak the protocol.
    Foreign(String),
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(reason) => f.write_str(reason),
            Self::Gone(error) if error.kind() == ErrorKind::UnexpectedEof => f.write_str("without a word"),
            Self::Gone(error) => error.fmt(f),
            Self::Refused { status, message } => write!(f, "it answered {status}, {message}"),
            Self::Foreign(why) => f.write_str(why),
        }
    }
}

impl Link {
    /// Begins to connect.
    pub(super) fn open(endpoint: &Endpoint, number: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(endpoint.address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&endpoint.address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => return Err(error),
            _ => {}
        }
        let unsent = endpoint.request(number).into_bytes();
        let stage = Stage::Upgrading(Vec::new());
        let mut link =
            Self { socket: socket.into(), stage, frames: Frames::default(), unsent, closed: None, is_leaving: false };
        // On loopback it is connected already.
        link.flush()?;
        Ok(link)
    }

    /// How much waits for the kernel.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Sends this, or keeps it behind what waits already.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = if self.unsent.is_empty() { taken(self.socket.write(bytes))? } else { 0 };
        self.unsent.extend(&bytes[sent..]);
        Ok(())
    }

    /// Says that it goes; the server answers and ends the stream.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.is_leaving = true;
        self.send(&close())
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = taken(self.socket.write(&self.unsent))?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    /// Reads once, and adds what has been heard.
    pub(super) fn read(&mut self, buffer: &mut [u8], heard: &mut Vec<Heard>) -> Result<(), End> {
        let length = match self.socket.read(buffer) {
            Ok(0) => return Err(self.gone(ErrorKind::UnexpectedEof.into())),
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(self.gone(error)),
        };
        let Stage::Upgrading(head) = &mut self.stage else { return self.frames(&buffer[..length], heard) };
        head.extend(&buffer[..length]);
        let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else {
            let foreign = || End::Foreign("it answered with something that is not HTTP".into());
            return if head.len() > MAX_HEAD_BYTES { Err(foreign()) } else { Ok(()) };
        };
        let behind = head.split_off(end + 4);
        upgraded(head, &behind)?;
        self.stage = Stage::Registering;
        self.frames(&behind, heard)
    }

    fn frames(&mut self, bytes: &[u8], heard: &mut Vec<Heard>) -> Result<(), End> {
        let Self { stage, frames, socket, unsent, closed, is_leaving } = self;
        let mut foreign = None;
        let read = frames.read(bytes, |frame| match (&*stage, frame) {
            (_, Frame::Close(payload)) => {
                *closed = Some(reason(payload));
                if !mem::replace(is_leaving, true) {
                    unsent.extend(close());
                }
            }
            // Whoever does not answer is closed.
            (_, Frame::Ping(payload)) => unsent.extend(pong(payload)),
            (Stage::Open, Frame::Message(Some(due))) => heard.push(Heard::Message(due)),
            (Stage::Open, Frame::Heartbeat) => heard.push(Heard::Heartbeat),
            (Stage::Open, Frame::Ack) => heard.push(Heard::Ack),
            (Stage::Open, Frame::Error(text)) => heard.push(Heard::Error(refusal(text).unwrap_or_default())),
            (Stage::Open, _) => {}
            (_, Frame::Register(text)) => match account(text) {
                Some(account) => {
                    *stage = Stage::Open;
                    heard.push(Heard::Registered(account));
                }
                None => foreign = Some("its `register` frame names no account"),
            },
            _ => foreign = Some("its first frame is not `register`"),
        });
        read.map_err(|why| End::Foreign(why.into()))?;
        match foreign {
            Some(why) => Err(End::Foreign(why.into())),
            None if unsent.is_empty() => Ok(()),
            None => {
                let written = taken(socket.write(unsent)).map(|sent| drop(unsent.drain(..sent)));
                written.map_err(|error| self.gone(error))
            }
        }
    }

    /// Why there is no stream any more: what the server has said counts for more than how the stream broke.
    fn gone(&mut self, error: io::Error) -> End {
        self.closed.take().map_or(End::Gone(error), End::Closed)
    }
}

/// How many bytes the kernel took, also where that is none for now.
fn taken(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        // One that is not connected yet takes nothing, either.
        Err(error)
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected) =>
        {
            Ok(0)
        }
        other => other,
    }
}

/// Whether a head is that of a 101.
fn upgraded(head: &[u8], body: &[u8]) -> Result<(), End> {
    let head = String::from_utf8_lossy(head);
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    match status {
        Some(101) => Ok(()),
        Some(status) => {
            let message = refusal(body).unwrap_or_else(|| head.lines().next().unwrap_or_default().to_owned());
            Err(End::Refused { status, message })
        }
        None => Err(End::Foreign("it answered with something that is not HTTP".into())),
    }
}

/// Whom a `register` frame names.
fn account(register: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Register {
        account: String,
    }
    serde_json::from_slice::<Register>(register).ok().map(|register| register.account)
}

/// Code and text of a Close frame.
fn reason(payload: &[u8]) -> String {
    match payload.split_first_chunk() {
        Some((code, text)) => {
            format!("{} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(text)).trim_end().into()
        }
        None => "no reason given".into(),
    }
}
