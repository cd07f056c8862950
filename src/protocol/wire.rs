//! WebSocket frames as a server sends them (RFC 6455 §5.2): encoded once, shared by all who receive them. A client's are
//! made of these, each for itself.

use crate::protocol::close::CloseReason;
use std::hash::{BuildHasher, RandomState};
use tungstenite::handshake::client::generate_key;
use tungstenite::protocol::frame::coding::CloseCode;

pub(crate) use tungstenite::Bytes;

/// The longest payload of a control frame (RFC 6455 §5.5).
pub(crate) const MAX_CONTROL_BYTES: usize = 125;

/// The first byte of a frame is its opcode and this bit, since nothing that a server sends is fragmented.
const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
/// The bit of the second byte that says that a mask follows the length.
const MASKED: u8 = 0x80;
const MASK_BYTES: usize = 4;

/// The longest header without a mask: two bytes and a length of 64 bits.
const MAX_HEADER_BYTES: usize = 10;

/// A text frame whose payload `write` appends to the buffer, of about this many bytes; what the buffer already holds is not
/// its to change.
///
/// The payload is never copied: its header goes into the space before it.
pub(crate) fn text(expected_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    frame(TEXT, expected_bytes, write)
}

/// A text frame with this payload.
#[must_use]
pub(crate) fn text_frame(payload: &str) -> Bytes {
    frame(TEXT, payload.len(), |buffer| buffer.extend_from_slice(payload.as_bytes()))
}

/// A binary frame with this payload.
#[must_use]
pub(crate) fn binary(payload: &[u8]) -> Bytes {
    frame(BINARY, payload.len(), |buffer| buffer.extend_from_slice(payload))
}

/// A ping with the first [`MAX_CONTROL_BYTES`] of this payload.
#[must_use]
pub(crate) fn ping(payload: &[u8]) -> Bytes {
    frame(PING, MAX_CONTROL_BYTES.min(payload.len()), |buffer| {
        buffer.extend_from_slice(&payload[..payload.len().min(MAX_CONTROL_BYTES)]);
    })
}

/// A Close frame with code and text of the reason, or an empty one if the code is not for the wire (RFC 6455 §7.4.1).
#[must_use]
pub(crate) fn close(reason: &CloseReason) -> Bytes {
    frame(CLOSE, MAX_CONTROL_BYTES, |buffer| {
        if CloseCode::from(reason.code()).is_allowed() {
            buffer.extend_from_slice(&reason.code().to_be_bytes());
            buffer.extend_from_slice(reason.wire_text().as_bytes());
        }
    })
}

/// The same frame as a client sends it: masked, and each with a mask of its own that nobody can foresee (RFC 6455 §5.3).
#[must_use]
pub(crate) fn masked(frame: &[u8]) -> Bytes {
    // tungstenite's keys are drawn from a cryptographic generator, and are the way there is to that.
    let random = RandomState::new().hash_one(generate_key()).to_be_bytes();
    let mask = [random[0], random[1], random[2], random[3]];
    let header_bytes = frame.len() - payload(frame).len();
    let mut masked = Vec::with_capacity(frame.len() + MASK_BYTES);
    masked.extend_from_slice(&frame[..header_bytes]);
    masked[1] |= MASKED;
    masked.extend_from_slice(&mask);
    masked.extend_from_slice(&frame[header_bytes..]);
    for bytes in masked[header_bytes + MASK_BYTES..].chunks_mut(MASK_BYTES) {
        bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    masked.into()
}

/// The payload of a whole frame that this side wrote, without a mask.
#[must_use]
pub(crate) fn payload(frame: &[u8]) -> &[u8] {
    let header_bytes = match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    };
    frame.get(header_bytes..).unwrap_or_default()
}

/// Whether these bytes begin with the header of a Close frame.
#[must_use]
pub(crate) fn is_close(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 0x0f == CLOSE)
}

fn frame(opcode: u8, expected_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut buffer = Vec::with_capacity(MAX_HEADER_BYTES + expected_bytes);
    buffer.resize(MAX_HEADER_BYTES, 0);
    write(&mut buffer);
    let payload_bytes = buffer.len() - MAX_HEADER_BYTES;
    let length = (payload_bytes as u64).to_be_bytes();
    // The second byte is the length, or says that the length follows in two bytes or in eight.
    let (start, second) = match payload_bytes {
        0..=125 => (8, length[7]),
        126..=0xffff => (6, 126),
        _ => (0, 127),
    };
    buffer[start] = FIN | opcode;
    buffer[start + 1] = second;
    buffer[start + 2..MAX_HEADER_BYTES].copy_from_slice(&length[start..]);
    Bytes::from(buffer).slice(start..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::close::CloseKind;
    use std::io::Cursor;
    use tungstenite::protocol::{CloseFrame, Role};
    use tungstenite::{Message, WebSocket};

    #[test]
    fn a_client_reads_what_was_written_at_every_length_of_header() {
        for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let payload = "x".repeat(length);
            let frame = text(0, |buffer| buffer.extend_from_slice(payload.as_bytes()));
            assert_eq!(frame.len(), header + length);
            assert_eq!(frame, text_frame(&payload));
            assert_eq!(super::payload(&frame), payload.as_bytes());
            assert_eq!(read_back(&frame), Message::text(payload.clone()));
            assert_eq!(read_back(&binary(payload.as_bytes())), Message::binary(payload.into_bytes()));
        }
    }

    #[test]
    fn frames_follow_each_other_without_a_gap() {
        let both = [text_frame("one"), binary(b"two")].concat();
        let mut client = client(&both);
        assert_eq!(client.read().unwrap(), Message::text("one"));
        assert_eq!(client.read().unwrap(), Message::binary(b"two".to_vec()));
    }

    #[test]
    fn a_ping_is_cut_to_what_a_control_frame_holds() {
        assert_eq!(read_back(&ping(b"")), Message::Ping(Bytes::new()));
        assert_eq!(read_back(&ping(&[7; 126])), Message::Ping(Bytes::from(vec![7; 125])));
    }

    #[test]
    fn a_close_carries_code_and_reason() {
        let longest = CloseReason::new(CloseKind::Policy, "x".repeat(200));
        for reason in [CloseKind::GoingAway.into(), longest, CloseReason::application(4999, "bye").unwrap()] {
            let expected = CloseFrame { code: reason.code().into(), reason: reason.wire_text().into() };
            assert_eq!(read_back(&close(&reason)), Message::Close(Some(expected)));
        }
    }

    #[test]
    fn a_code_that_is_not_for_the_wire_stays_off_it() {
        for kind in [CloseKind::PeerGone, CloseKind::PeerClosed(1005), CloseKind::PeerClosed(1015)] {
            assert_eq!(close(&kind.into())[..], [0x88, 0]);
        }
        assert_eq!(close(&CloseKind::PeerClosed(1000).into())[2..4], 1000_u16.to_be_bytes());
    }

    #[test]
    fn a_server_reads_what_a_client_masked_at_every_length_of_header() {
        for length in [0, 1, 2, 3, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let frame = masked(&binary(&payload));
            assert_eq!(frame.len(), binary(&payload).len() + MASK_BYTES);
            let mut server = WebSocket::from_raw_socket(Cursor::new(frame.to_vec()), Role::Server, None);
            assert_eq!(server.read().unwrap(), Message::binary(payload));
        }
        assert!(is_close(&masked(&close(&CloseKind::Normal.into()))));
    }

    #[test]
    fn no_mask_is_used_again() {
        let masks: std::collections::HashSet<_> = (0..1_000).map(|_| masked(&text_frame(""))[2..].to_vec()).collect();
        assert!(masks.len() > 990, "{} different masks; a thousand of 32 bits rarely have one pair", masks.len());
    }

    #[test]
    fn only_a_close_is_a_close() {
        assert!(is_close(&close(&CloseKind::Normal.into())));
        assert!(!is_close(&text_frame("")) && !is_close(&ping(b"")) && !is_close(b""));
    }

    fn read_back(frame: &[u8]) -> Message {
        client(frame).read().unwrap()
    }

    fn client(received: &[u8]) -> WebSocket<Cursor<Vec<u8>>> {
        WebSocket::from_raw_socket(Cursor::new(received.to_vec()), Role::Client, None)
    }
}
