//! Follows the frame headers in the bytes received, because the WebSocket library shows neither its buffer nor a message
//! half built: since when a message is being assembled, into how many fragments it is cut, how often control frames
//! come. Pure; what it counts follows RFC 6455 §5.2 and §5.4.

use crate::config::{Config, Rate};
use crate::limits::TokenBucket;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::wire::MAX_CONTROL_BYTES;
use std::time::Instant;

/// The longest header of a client's frame: 2 bytes, 8 of length, 4 of mask.
const MAX_HEADER_BYTES: usize = 14;

/// The tracker of one connection.
pub(crate) struct Frames {
    part: Part,
    /// Whether the frame being received is a control frame, and whether a data frame ends its message.
    control: bool,
    last: bool,
    /// Frames of the present message so far.
    fragments: u32,
    /// First byte of the present message, or of a control frame between messages.
    since: Option<Instant>,
    max_fragments: Option<u32>,
    control_frames: Option<TokenBucket>,
}

/// Which part of a frame the next byte belongs to.
enum Part {
    Header { bytes: [u8; MAX_HEADER_BYTES], have: usize },
    Payload { left: u64 },
}

const NEW_FRAME: Part = Part::Header { bytes: [0; MAX_HEADER_BYTES], have: 0 };

impl Frames {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            part: NEW_FRAME,
            control: false,
            last: false,
            fragments: 0,
            since: None,
            max_fragments: config.max_fragments,
            control_frames: config.control_rate.map(|rate: Rate| TokenBucket::new(rate, now)),
        }
    }

    /// Since when a message is incomplete.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Follows the bytes received at `now`. The first `usize` of them may be decoded; with a reason, the frame behind
    /// them broke a bound, and the connection must end.
    pub(crate) fn advance(&mut self, received: &[u8], now: Instant) -> (usize, Option<CloseReason>) {
        let mut at = 0;
        let mut frame_begins = 0;
        while at < received.len() {
            match &mut self.part {
                Part::Header { bytes, have } => {
                    if *have == 0 {
                        frame_begins = at;
                        self.since.get_or_insert(now);
                    }
                    bytes[*have] = received[at];
                    *have += 1;
                    at += 1;
                    let Some(length) = header_length(&bytes[..*have]) else { continue };
                    let first = bytes[0];
                    self.part = Part::Payload { left: length };
                    if let Err(reason) = self.begin(first, length, now) {
                        return (frame_begins, Some(reason));
                    }
                }
                Part::Payload { left } => {
                    let taken = (*left).min((received.len() - at) as u64);
                    *left -= taken;
                    // No more than the slice holds, so it fits.
                    at += usize::try_from(taken).unwrap_or(0);
                }
            }
            if matches!(self.part, Part::Payload { left: 0 }) {
                self.end();
            }
        }
        (received.len(), None)
    }

    fn begin(&mut self, first_byte: u8, length: u64, now: Instant) -> Result<(), CloseReason> {
        self.control = first_byte & 0x08 != 0;
        self.last = first_byte & 0x80 != 0;
        if self.control {
            // The library would wait for all of it first (RFC 6455 §5.5).
            if length > MAX_CONTROL_BYTES as u64 {
                let detail = format!("a control frame of more than {MAX_CONTROL_BYTES} bytes");
                return Err(CloseReason::new(CloseKind::ProtocolError, detail));
            }
            let within = self.control_frames.as_mut().is_none_or(|bucket| bucket.take(1, now));
            return if within {
                Ok(())
            } else {
                Err(CloseReason::new(CloseKind::RateLimit, "too many control frames"))
            };
        }
        self.fragments += 1;
        match self.max_fragments {
            Some(most) if self.fragments > most => {
                Err(CloseReason::new(CloseKind::Policy, format!("a message of more than {most} fragments")))
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self) {
        self.part = NEW_FRAME;
        if !self.control {
            if self.last {
                self.fragments = 0;
                self.since = None;
            }
        } else if self.fragments == 0 {
            self.since = None;
        }
    }
}

/// The payload's length, once the header is complete (RFC 6455 §5.2).
fn header_length(bytes: &[u8]) -> Option<u64> {
    let second = *bytes.get(1)?;
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    if bytes.len() < 2 + extended + mask {
        return None;
    }
    let length = if extended == 0 { &[second & 0x7f] } else { &bytes[2..2 + extended] };
    Some(length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests;
