//! Frames in both directions, whole and in pieces.

use super::*;

/// A frame as a server sends it.
fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..=125 => frame.push(short as u8),
        medium @ 126..=0xffff => {
            frame.push(126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

fn kinds(frames: &mut Frames, bytes: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    frames.read(bytes, |frame| told.push(format!("{frame:?}"))).unwrap();
    told
}

fn kind(payload: &str) -> String {
    kinds(&mut Frames::default(), &server_frame(1, payload.as_bytes())).remove(0)
}

#[test]
fn a_message_is_told_from_everything_else_that_a_server_sends() {
    let due = 1_234;
    let message = format!(r#"{{"type":"message","id":"m-1","from":"u1","time":17,"content":"{due:016}padding"}}"#);
    assert_eq!(kind(&message), "Message(Some(1234))");
    let spaced = format!(r#"{{ "content" : "{due:016}", "type" : "message" }}"#);
    assert_eq!(kind(&spaced), "Message(Some(1234))", "keys in another order, and spaces");
    assert_eq!(kind(r#"{"type":"message","content":"hello, everybody!"}"#), "Message(None)", "somebody else's");
    assert_eq!(kind(r#"{"type":"message","content":"12"}"#), "Message(None)");
    assert_eq!(kind(r#"{"type":"heartbeat","interval_ms":1}"#), "Heartbeat");
    assert_eq!(kind(r#"{"type":"ack","id":"message"}"#), "Ack");
    assert!(kind(r#"{"type":"error","error":{}}"#).starts_with("Error("));
    assert!(kind(r#"{"type":"register","content":{}}"#).starts_with("Register("));
    assert_eq!(kind(r#"{"type":"presence"}"#), "Other");
    assert_eq!(kind("{}"), "Other");
}

#[test]
fn control_frames_are_told_with_what_they_hold() {
    let mut frames = Frames::default();
    let bytes = [server_frame(9, b"p"), server_frame(10, b""), server_frame(8, b"\x03\xe8bye")].concat();
    assert_eq!(kinds(&mut frames, &bytes), ["Ping([112])", "Other", "Close([3, 232, 98, 121, 101])"]);
}

#[test]
fn however_a_stream_is_cut_its_frames_are_the_same() {
    let messages = [1, 125, 126, 70_000].map(|padding| {
        format!(r#"{{"type":"message","content":"{padding:016}{}"}}"#, "x".repeat(padding)).into_bytes()
    });
    let stream: Vec<u8> = messages.iter().flat_map(|message| server_frame(1, message)).collect();
    let whole = kinds(&mut Frames::default(), &stream);
    assert_eq!(whole, ["Message(Some(1))", "Message(Some(125))", "Message(Some(126))", "Message(Some(70000))"]);
    for size in [1, 2, 3, 7, 100, 4_096] {
        let mut frames = Frames::default();
        let told: Vec<_> = stream.chunks(size).flat_map(|piece| kinds(&mut frames, piece)).collect();
        assert_eq!(told, whole, "in pieces of {size}");
        assert_eq!(frames.rest.capacity(), 0, "nothing is kept");
    }
}

#[test]
fn what_no_server_sends_is_refused() {
    for (bytes, essence) in [
        (&[0x81, 0x80, 0, 0, 0, 0][..], "masks"),
        (&[0x01, 1, b'x'], "fragments"),
        (&[0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0], "4 MiB"),
        (&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255], "4 MiB"),
    ] {
        let refused = Frames::default().read(bytes, |_| {}).unwrap_err();
        assert!(refused.contains(essence), "{refused}");
    }
}

#[test]
fn a_template_is_a_message_with_the_time_at_which_it_was_due() {
    for (mut template, recipients) in [
        (Template::to_account("a\"b", 16), r#""to":["a\"b"]"#),
        (Template::to_room("r", 200), r#""room":"r""#),
        (Template::to_room("r", 70_000), r#""room":"r""#),
    ] {
        for due in [0, 9_876_543_210, 9_999_999_999_999_999] {
            let frame = template.due(due).to_vec();
            let (head, at) = match frame[1] & 0x7f {
                126 => (usize::from(u16::from_be_bytes([frame[2], frame[3]])), 4),
                127 => (u64::from_be_bytes(frame[2..10].try_into().unwrap()) as usize, 10),
                short => (usize::from(short), 2),
            };
            assert_eq!((frame[0], frame[1] & 0x80, &frame[at..at + 4]), (0x81, 0x80, &[0; 4][..]), "masked with zeros");
            let text = std::str::from_utf8(&frame[at + 4..]).unwrap();
            assert_eq!(text.len(), head);
            assert!(text.contains(recipients), "{text}");
            serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(kind(text), format!("Message(Some({due}))"));
        }
    }
}
