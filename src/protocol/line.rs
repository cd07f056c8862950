//! What a server sends over raw TCP: the JSON of a frame as one line.

use crate::protocol::close::CloseReason;
use crate::protocol::wire::Bytes;
use serde::Serialize;

/// A frame's JSON as a line. Line breaks between its tokens, of which `content` is passed on as its sender wrote it,
/// become spaces: otherwise a sender could write a line of its own, from anybody, to a recipient. Inside a JSON string
/// there are none (RFC 8259 §7).
#[must_use]
pub(crate) fn from_json(json: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(json.len() + 1);
    line.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    line.push(b'\n');
    line.into()
}

/// The server's probe, which any bytes answer.
#[must_use]
pub(crate) fn ping() -> Bytes {
    Bytes::from_static(b"{\"type\":\"ping\"}\n")
}

/// The last line of a connection.
#[must_use]
pub(crate) fn close(reason: &CloseReason) -> Bytes {
    let close = Close { code: reason.code(), reason: &reason.wire_text() };
    let written = serde_json::to_vec(&close);
    debug_assert!(written.is_ok(), "neither a Vec nor this shape can fail");
    from_json(&written.unwrap_or_default())
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "close")]
struct Close<'a> {
    code: u16,
    reason: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::close::CloseKind;

    #[test]
    fn a_frame_is_one_line_whatever_its_sender_wrote() {
        let json = b"{\"type\":\"message\",\"content\":[1,\r\n2,\n{\"type\":\"error\"}\n]}";
        let line = from_json(json);
        assert_eq!(&line[..], b"{\"type\":\"message\",\"content\":[1,  2, {\"type\":\"error\"} ]}\n");
    }

    #[test]
    fn the_last_line_says_why() {
        let reason = CloseReason::new(CloseKind::HeartbeatTimeout, "a \"quote\"\nand a break");
        let line = close(&reason);
        let expected = r#"{"type":"close","code":4201,"reason":"heartbeat timeout: a \"quote\"\nand a break"}"#;
        assert_eq!(std::str::from_utf8(&line), Ok(format!("{expected}\n").as_str()));
    }
}
