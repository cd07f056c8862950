//! What a connection's two directions hold, read by the shortest rules that say it, and not by the code that is judged.

use super::json::parsed;
use super::request::assert_response;
use crate::handshake::Transport;
use crate::protocol::close::{CloseKind, CloseReason};
use std::time::Instant;

/// What a server may answer a request with besides an upgrade.
const STATUSES: [u16; 12] = [200, 400, 401, 403, 404, 405, 408, 426, 429, 431, 500, 503];

/// What the server has sent, taken apart: nothing in it is against the protocol.
pub(super) struct Heard {
    /// The code of the Close, with its text; none where its frame has none.
    close: Option<(Option<u16>, String)>,
    /// Whether it ends within a frame, as where its reader did not read.
    torn: bool,
}

impl Heard {
    pub(super) fn new(bytes: &[u8], transport: Transport, is_native: bool) -> Self {
        match transport {
            Transport::Lines => Self::of_lines(bytes),
            Transport::WebSocket => Self::of_upgrade(bytes, is_native),
        }
    }

    fn of_lines(bytes: &[u8]) -> Self {
        let mut heard = Self { close: None, torn: false };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            assert!(heard.close.is_none(), "something follows the last line");
            let Some(line) = line.strip_suffix(b"\n") else {
                heard.torn = true;
                continue;
            };
            let frame = parsed(std::str::from_utf8(line).expect("lines are text"));
            if frame["type"] == "close" {
                let code = frame["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                heard.close = Some((code, frame["reason"].as_str().expect("a text").to_owned()));
            }
        }
        heard
    }

    fn of_upgrade(bytes: &[u8], is_native: bool) -> Self {
        let none = Self { close: None, torn: false };
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Self { torn: !bytes.is_empty(), ..none };
        };
        if bytes.starts_with(b"HTTP/1.1 101 ") {
            return Self::of_frames(&bytes[end + 4..], is_native);
        }
        let announced = String::from_utf8_lossy(&bytes[..end]);
        let length = announced.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
        let torn = bytes.len() < end + 4 + length.expect("its length");
        if !torn {
            assert_response(bytes, &STATUSES);
        }
        Self { torn, ..none }
    }

    fn of_frames(mut bytes: &[u8], is_native: bool) -> Self {
        let mut heard = Self { close: None, torn: false };
        while !bytes.is_empty() {
            assert!(heard.close.is_none(), "something follows the Close");
            let Some((opcode, payload, rest)) = frame(bytes) else {
                heard.torn = true;
                break;
            };
            match opcode {
                1 => {
                    let text = std::str::from_utf8(payload).expect("a text frame is text");
                    if is_native {
                        assert!(parsed(text).is_object());
                    }
                }
                2 => assert!(!is_native),
                8 => {
                    let text = std::str::from_utf8(payload.get(2..).unwrap_or_default()).expect("a reason is text");
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    assert!(code.is_some() || payload.is_empty());
                    heard.close = Some((code, text.to_owned()));
                }
                9 | 10 => {}
                other => panic!("a frame of the kind {other}"),
            }
            bytes = rest;
        }
        heard
    }

    /// Whether the peer was told what the server's record says. One who has left, or is reluctant to read, may not have
    /// been.
    pub(super) fn assert_end(&self, reason: &CloseReason, left: bool, reluctant: bool) {
        match (&self.close, reason.kind()) {
            (Some((code, text)), CloseKind::PeerClosed(_)) => {
                assert!(code.is_none_or(|code| (1000..5000).contains(&code)) && text.len() <= 123);
            }
            (Some((code, text)), kind) => {
                assert!(
                    text.len() <= 123 && (*code == Some(kind.code()) && text.starts_with(kind.text()) || left),
                    "{code:?} {text}, but {reason}"
                );
            }
            (None, _) => assert!(left || reluctant, "it was not told: {reason}"),
        }
        assert!(!self.torn || left || reluctant, "it ends within a frame: {reason}");
    }
}

/// The first frame as a server must write it: no reserved bits, no mask, whole, its length in the shortest form.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!((first & 0xf0, second & 0x80), (0x80, 0), "a frame that no server sends");
    let (length, header) = match second {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    assert!(header == 2 || (header == 4 && length > 125) || length > 0xffff, "a length in too many bytes");
    assert!(first & 0x08 == 0 || length <= 125, "a control frame of {length} bytes");
    let end = header + usize::try_from(length).expect("no frame is so long");
    Some((first & 0x0f, bytes.get(header..end)?, &bytes[end..]))
}

/// What the peer has sent behind its opening words, each byte with its time.
pub(super) struct Stream(Vec<(Instant, u8)>);

impl Stream {
    pub(super) fn new(sent: &[(Instant, Vec<u8>)], opening_bytes: usize) -> Self {
        let bytes = sent.iter().flat_map(|(at, bytes)| bytes.iter().map(move |byte| (*at, *byte)));
        Self(bytes.skip(opening_bytes).collect())
    }

    /// Whether anything in it might be a heartbeat, a ping, or a pong: it is enough to know when certainly nothing is.
    pub(super) fn may_beat(&self) -> bool {
        // Both kinds of control frame have bit 3 of their first byte set, `heartbeat` has these letters, and the other
        // dialect writes it with a digit.
        let suspicious =
            |byte: u8| byte & 0x8f == 0x89 || byte & 0x8f == 0x8a || matches!(byte, b'h' | b'\\' | b'1'..=b'3');
        self.0.iter().any(|(_, byte)| suspicious(*byte))
    }

    /// When each message begins, and when it ends, if it does: messages of RFC 6455 with all their fragments and what
    /// comes between those, and control frames by themselves; or lines.
    pub(super) fn messages(&self, transport: Transport) -> Vec<(Instant, Option<Instant>)> {
        match transport {
            Transport::Lines => {
                let lines = self.0.split_inclusive(|(_, byte)| *byte == b'\n');
                lines
                    .map(|line| (line[0].0, line.last().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| *at)))
                    .collect()
            }
            Transport::WebSocket => self.frames(),
        }
    }

    fn frames(&self) -> Vec<(Instant, Option<Instant>)> {
        let (mut messages, mut at, mut fragments_since) = (Vec::new(), 0, None);
        while at < self.0.len() {
            let begin = self.0[at].0;
            let Some((first, end)) = self.frame_end(at) else {
                messages.push((fragments_since.unwrap_or(begin), None));
                return messages;
            };
            let ended = self.0[end - 1].0;
            let (is_control, is_last) = (first & 0x08 != 0, first & 0x80 != 0);
            match (is_control, is_last) {
                (true, _) => messages.push((begin, Some(ended))),
                (false, true) => messages.push((fragments_since.take().unwrap_or(begin), Some(ended))),
                (false, false) => _ = fragments_since.get_or_insert(begin),
            }
            at = end;
        }
        messages.extend(fragments_since.map(|since| (since, None)));
        messages
    }

    /// The first byte of the frame at `at`, and where it ends, if that has come.
    fn frame_end(&self, at: usize) -> Option<(u8, usize)> {
        let byte = |offset: usize| self.0.get(at + offset).map(|(_, byte)| *byte);
        let (first, second) = (byte(0)?, byte(1)?);
        let extended = [0, 2, 8][usize::from((second & 0x7f).saturating_sub(125))];
        let mut length = if extended == 0 { u64::from(second & 0x7f) } else { 0 };
        for offset in 2..2 + extended {
            length = length << 8 | u64::from(byte(offset)?);
        }
        let header = 2 + extended + usize::from(second >> 7) * 4;
        let end = usize::try_from(length).ok()?.checked_add(at + header)?;
        (end <= self.0.len() && self.0.len() >= at + header).then_some((first, end))
    }
}
