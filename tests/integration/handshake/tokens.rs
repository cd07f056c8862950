//! What an upgrade negotiates: tokens, subprotocols, extensions, and frames that do not wait for its answer.

use super::*;
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;

#[test]
fn a_token_is_found_in_each_of_its_places() {
    let server = gated();
    for (target, headers) in [
        ("/ws?token=of-alice", ""),
        ("/ws", "Authorization: Bearer of-alice\r\n"),
        ("/ws", "Sec-WebSocket-Protocol: heartwire.v1, bearer.of-alice\r\n"),
        ("/ws", "Sec-WebSocket-Protocol: bearer.of-alice\r\nSec-WebSocket-Protocol: heartwire.v1\r\n"),
        ("/ws?token=of-alice&user_id=alice", "Authorization: bearer of-alice\r\n"),
    ] {
        let mut client = Client::open(address(&server), target, headers);
        let register = client.json();
        assert_eq!((&register["type"], &register["account"]), (&json!("register"), &json!("alice")), "{headers}");
    }
    assert_eq!(status(address(&server), "/ws", "Authorization: Basic of-alice\r\n"), 401);
}

#[test]
fn tokens_that_differ_are_400_even_if_one_is_right() {
    let server = gated();
    for (target, headers) in [
        ("/ws?token=other", "Authorization: Bearer of-alice\r\n"),
        ("/ws?token=of-alice", "Sec-WebSocket-Protocol: bearer.other\r\n"),
        ("/ws", "Sec-WebSocket-Protocol: bearer.of-alice, bearer.other\r\n"),
    ] {
        let response = Response::to(address(&server), upgrade_request(target, headers));
        assert_eq!(response.status, 400, "{target} {headers}");
        assert!(!response.body.contains("of-alice") && !response.body.contains("other\""), "{}", response.body);
    }
}

/// The subprotocol that is answered to these offers.
fn answered(server: &Server, offers: &str) -> Option<String> {
    let headers = format!("Sec-WebSocket-Protocol: {offers}\r\n");
    let client = Client::open(address(server), "/ws?user_id=a", &headers);
    assert!(!client.response.contains("bearer"), "{}", client.response);
    header(&client.response, "sec-websocket-protocol").map(String::from)
}

#[test]
fn the_own_subprotocol_is_answered_and_nothing_else() {
    let server = serve(config());
    let own = Some("heartwire.v1".to_owned());
    assert_eq!(answered(&server, "heartwire.v1"), own);
    assert_eq!(answered(&server, "chat, heartwire.v1,mqtt"), own);
    assert_eq!(answered(&server, "bearer.SECRET, heartwire.v1"), own);
    for offers in ["chat", "heartwire.v2, mqtt", "bearer.SECRET", "HEARTWIRE.V1"] {
        assert_eq!(answered(&server, offers), None, "{offers}");
    }
    let without = Client::open(address(&server), "/ws?user_id=a", "");
    assert_eq!(header(&without.response, "sec-websocket-protocol"), None);
}

#[test]
fn a_refused_browser_gets_its_subprotocol_too_and_not_its_token() {
    let server = gated();
    let headers = "Origin: http://127.0.0.1\r\nSec-WebSocket-Protocol: heartwire.v1, bearer.SECRET\r\n";
    let mut client = Client::open(address(&server), "/ws", headers);
    assert_eq!(header(&client.response, "sec-websocket-protocol"), Some("heartwire.v1"));
    assert!(!client.response.contains("SECRET"));
    assert_eq!(client.close_frame().0, 4500);
}

#[test]
fn compression_is_never_negotiated() {
    let server = serve(config());
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let mut client = Client::open(address(&server), "/ws?user_id=alice", offer);
    assert_eq!(header(&client.response, "sec-websocket-extensions"), None);
    assert_eq!(client.json()["type"], "register");
}

/// A text frame of a client, with a mask of zeros.
fn frame(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

#[test]
fn frames_in_the_same_packet_as_the_request_are_served() {
    let server = serve(config());
    let frames = [frame(&json!({"type": "heartbeat"})), frame(&json!({"type": "join", "room": "r", "id": "1"}))];
    let sent = [upgrade_request("/ws?user_id=alice", "").into_bytes(), frames.concat()].concat();
    // Cut within the head, at its end, within a frame, and not at all.
    let head = sent.len() - frames.concat().len();
    for cut in [20, head, head + 1, head + 9, sent.len()] {
        let (mut stream, mut received) = (dial(address(&server)), Vec::new());
        stream.write_all(&sent[..cut]).unwrap();
        if cut >= head {
            read_until(&mut stream, &mut received, "\"register\"");
        }
        stream.write_all(&sent[cut..]).unwrap();
        read_until(&mut stream, &mut received, r#""type":"ack","id":"1""#);
    }
}

/// Reads on until `received` holds this text.
fn read_until(stream: &mut TcpStream, received: &mut Vec<u8>, essence: &str) {
    while !String::from_utf8_lossy(received).contains(essence) {
        let mut buffer = [0; 1024];
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "the end came before {essence}: {}", String::from_utf8_lossy(received));
        received.extend_from_slice(&buffer[..n]);
    }
}
