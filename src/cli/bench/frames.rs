//! The little of WebSocket that a load needs: whole frames out with a mask of zeros, and a reader of the server's frames
//! that looks at no more of a message than tells what it is and when it was due.

use std::mem;

/// Digits of a time stamp: nanoseconds, enough for a hundred days.
pub(super) const STAMP_DIGITS: usize = 16;
/// A frame beyond this is none of a server that was sent at most a MiB.
const MAX_FRAME_BYTES: usize = 4 << 20;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;

/// A text frame of a client.
pub(super) fn text(json: &str) -> Vec<u8> {
    client_frame(TEXT, json.as_bytes())
}

/// A Close frame of a client, 1000.
pub(super) fn close() -> Vec<u8> {
    client_frame(CLOSE, &1000_u16.to_be_bytes())
}

/// The answer to a ping.
pub(super) fn pong(payload: &[u8]) -> Vec<u8> {
    client_frame(PONG, payload)
}

/// Masked, as a client has to (RFC 6455 §5.3), with zeros: the payload stays readable, and costs nothing to mask.
fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut frame = vec![opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => frame.push(0x80 | short),
        (_, Ok(medium)) => {
            frame.push(0x80 | 126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A message of one sender, encoded once: only the time stamp at the beginning of its content changes.
pub(super) struct Template {
    frame: Vec<u8>,
    stamp_at: usize,
}

impl Template {
    /// A message to an account, with a content of this many bytes, at least [`STAMP_DIGITS`].
    pub(super) fn to_account(account: &str, payload_bytes: usize) -> Self {
        Self::new(&format!(r#""to":[{}]"#, serde_json::Value::from(account)), payload_bytes)
    }

    /// A message to a room.
    pub(super) fn to_room(room: &str, payload_bytes: usize) -> Self {
        Self::new(&format!(r#""room":{}"#, serde_json::Value::from(room)), payload_bytes)
    }

    fn new(recipients: &str, payload_bytes: usize) -> Self {
        let head = format!(r#"{{"type":"message",{recipients},"content":""#);
        let content = "0".repeat(payload_bytes.max(STAMP_DIGITS));
        let frame = text(&format!(r#"{head}{content}"}}"#));
        let stamp_at = frame.len() - content.len() - r#""}"#.len();
        Self { frame, stamp_at }
    }

    /// The frame of a message that was due then, in nanoseconds.
    pub(super) fn due(&mut self, mut nanos: u64) -> &[u8] {
        for digit in self.frame[self.stamp_at..][..STAMP_DIGITS].iter_mut().rev() {
            *digit = b'0' + (nanos % 10) as u8;
            nanos /= 10;
        }
        &self.frame
    }
}

/// One frame of the server.
#[derive(Debug, PartialEq)]
pub(super) enum Frame<'a> {
    Register(&'a [u8]),
    /// With when it was due; none where the content is not this load's.
    Message(Option<u64>),
    Heartbeat,
    Ack,
    Error(&'a [u8]),
    Ping(&'a [u8]),
    Close(&'a [u8]),
    Other,
}

/// Cuts what is received into frames. What has come of an unfinished one is kept.
#[derive(Default)]
pub(super) struct Frames {
    rest: Vec<u8>,
}

impl Frames {
    /// Tells each frame that is complete with these bytes.
    ///
    /// # Errors
    /// What a server never sends: a masked frame, a fragment, one of more than 4 MiB.
    pub(super) fn read(&mut self, received: &[u8], mut tell: impl FnMut(Frame<'_>)) -> Result<(), &'static str> {
        if self.rest.is_empty() {
            let used = cut(received, &mut tell)?;
            self.rest.extend(&received[used..]);
        } else {
            let mut joined = mem::take(&mut self.rest);
            joined.extend(received);
            let used = cut(&joined, &mut tell)?;
            joined.drain(..used);
            // An idle connection keeps no buffer.
            self.rest = if joined.is_empty() { Vec::new() } else { joined };
        }
        Ok(())
    }
}

/// Tells the complete frames at the beginning; how many bytes they are.
fn cut(bytes: &[u8], tell: &mut impl FnMut(Frame<'_>)) -> Result<usize, &'static str> {
    let mut used = 0;
    while let Some((opcode, payload)) = first(&bytes[used..])? {
        tell(frame(opcode, payload));
        used = payload.as_ptr_range().end as usize - bytes.as_ptr() as usize;
    }
    Ok(used)
}

/// The first byte and the payload of the frame at the beginning, if all of it is there.
fn first(bytes: &[u8]) -> Result<Option<(u8, &[u8])>, &'static str> {
    let [opcode, length, behind @ ..] = bytes else { return Ok(None) };
    if *length & 0x80 != 0 {
        return Err("it masks its frames");
    }
    if *opcode & 0x80 == 0 {
        return Err("it cuts messages into fragments");
    }
    let (length, behind) = match *length {
        126 => match behind.split_first_chunk() {
            Some((length, behind)) => (usize::from(u16::from_be_bytes(*length)), behind),
            None => return Ok(None),
        },
        127 => match behind.split_first_chunk() {
            Some((length, behind)) => (usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX), behind),
            None => return Ok(None),
        },
        short => (usize::from(short), behind),
    };
    if length > MAX_FRAME_BYTES {
        return Err("it announces a frame of more than 4 MiB");
    }
    Ok(behind.get(..length).map(|payload| (*opcode, payload)))
}

fn frame(opcode: u8, payload: &[u8]) -> Frame<'_> {
    match opcode & 0x0f {
        0x1 => match value_behind(payload, br#""type""#) {
            Some(kind) if kind.starts_with(br#""message""#) => Frame::Message(stamp(payload)),
            Some(kind) if kind.starts_with(br#""heartbeat""#) => Frame::Heartbeat,
            Some(kind) if kind.starts_with(br#""ack""#) => Frame::Ack,
            Some(kind) if kind.starts_with(br#""error""#) => Frame::Error(payload),
            Some(kind) if kind.starts_with(br#""register""#) => Frame::Register(payload),
            _ => Frame::Other,
        },
        0x8 => Frame::Close(payload),
        0x9 => Frame::Ping(payload),
        _ => Frame::Other,
    }
}

/// The digits at the beginning of the content.
fn stamp(payload: &[u8]) -> Option<u64> {
    let digits = value_behind(payload, br#""content""#)?.strip_prefix(b"\"")?.get(..STAMP_DIGITS)?;
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + u64::from(digit - b'0')),
        _ => None,
    })
}

/// What stands behind the first occurrence of this key. No value of a message of this load holds a quotation mark, so the
/// first occurrence is the key itself, wherever the server puts it.
fn value_behind<'a>(json: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let at = json.windows(key.len()).position(|window| window == key)?;
    Some(json[at + key.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}

#[cfg(test)]
mod tests;
