//! How what is sent looks on the wires of those who receive it: written once as a native frame, and translated, where
//! their transport or their dialect asks for it, once for each that does.

use crate::protocol::close::CloseReason;
use crate::protocol::ginchat::Translation;
use crate::protocol::line;
use crate::protocol::message::Account;
use crate::protocol::wire::{self, Bytes};
use std::fmt;

/// The form of everything that is sent to one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// WebSocket frames, as the native protocol writes them.
    WebSocket,
    /// The same as a client sends them, masked.
    Masked,
    /// WebSocket frames of the `ginchat` dialect, which name their recipient.
    Ginchat(Account),
    /// Lines of JSON, over raw TCP.
    Lines,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket | Self::Masked => f.write_str("a WebSocket"),
            Self::Ginchat(account) => write!(f, "the ginchat client {account}"),
            Self::Lines => f.write_str("a raw TCP client"),
        }
    }
}

impl Format {
    /// The server's probe.
    pub(crate) fn ping(&self, payload: &[u8]) -> Bytes {
        match self {
            Self::WebSocket | Self::Ginchat(_) => wire::ping(payload),
            Self::Masked => wire::masked(&wire::ping(payload)),
            Self::Lines => line::ping(),
        }
    }

    /// The last thing that the connection is sent.
    pub(crate) fn close(&self, reason: &CloseReason) -> Bytes {
        match self {
            Self::WebSocket | Self::Ginchat(_) => wire::close(reason),
            Self::Masked => wire::masked(&wire::close(reason)),
            Self::Lines => line::close(reason),
        }
    }
}

/// The translations of the frame that was asked for last: whoever sends one frame to many asks for each of them.
#[derive(Default)]
pub(crate) struct Translator {
    frame: Bytes,
    line: Option<Bytes>,
    ginchat: Option<Option<Translation>>,
}

impl Translator {
    /// A native frame, or one of the embedding program's own protocol, as it goes to a connection of this format; `None`
    /// where its dialect has no word for it.
    pub(crate) fn translate(&mut self, frame: &Bytes, format: &Format) -> Option<Bytes> {
        match format {
            Format::WebSocket => Some(frame.clone()),
            Format::Masked => Some(wire::masked(frame)),
            Format::Lines => {
                self.turn_to(frame);
                Some(self.line.get_or_insert_with(|| line::from_json(wire::payload(frame))).clone())
            }
            Format::Ginchat(account) => {
                self.turn_to(frame);
                let parse = || Translation::parse(std::str::from_utf8(wire::payload(frame)).ok()?);
                self.ginchat.get_or_insert_with(parse).as_ref().map(|known| known.for_recipient(account))
            }
        }
    }

    fn turn_to(&mut self, frame: &Bytes) {
        // The clone kept here holds the place in memory, so that nothing else can be there.
        let same = (self.frame.as_ptr(), self.frame.len()) == (frame.as_ptr(), frame.len());
        if !same {
            *self = Self { frame: frame.clone(), ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_written_once_for_all_who_read_lines() {
        let frame = wire::text_frame("{\"type\":\"notice\",\n\"content\":1}");
        let mut translator = Translator::default();
        let line = translator.translate(&frame, &Format::Lines).unwrap();
        assert_eq!(&line[..], b"{\"type\":\"notice\", \"content\":1}\n");
        let again = translator.translate(&frame.clone(), &Format::Lines).unwrap();
        assert_eq!(again.as_ptr(), line.as_ptr());
        let other = wire::text_frame("{\"type\":\"notice\",\n\"content\":2}");
        assert_ne!(translator.translate(&other, &Format::Lines).unwrap(), line);
        assert_eq!(translator.translate(&frame, &Format::WebSocket).unwrap().as_ptr(), frame.as_ptr());
    }

    #[test]
    fn a_dialect_has_no_word_for_some_frames() {
        let ginchat = Format::Ginchat(Account::new("7").unwrap());
        let mut translator = Translator::default();
        let notice = translator.translate(&wire::text_frame(r#"{"type":"notice","content":"hi"}"#), &ginchat);
        assert!(String::from_utf8_lossy(&notice.unwrap()).contains(r#""TargetId":7"#));
        assert_eq!(translator.translate(&wire::text_frame(r#"{"type":"ack","id":"1","delivered":1}"#), &ginchat), None);
    }
}
