//! What cannot be caused from outside: a core that fails, or that does not keep up.

use super::*;
use crate::handler::Anonymous;
use crate::protocol::message::Account;
use crate::router::{Push, SendError};
#[cfg(feature = "admin")]
use std::io::{Read, Write};
use std::net::TcpStream;
use tungstenite::{Message, WebSocket, client};

fn start() -> Server {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    Server::bind(Config { listen, message_rate: None, ..Config::default() }, Anonymous).unwrap()
}

fn connect(server: &Server, account: &str) -> WebSocket<TcpStream> {
    let address = server.local_addrs()[0];
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut socket = client(format!("ws://{address}/ws?user_id={account}"), stream).unwrap().0;
    assert!(socket.read().unwrap().is_text(), "the register frame");
    socket
}

fn close_code(message: &Message) -> Option<u16> {
    match message {
        Message::Close(Some(frame)) => Some(frame.code.into()),
        _ => None,
    }
}

#[test]
fn a_router_that_panics_fails_the_server_and_tells_every_connection() {
    let server = start();
    let address = server.local_addrs()[0];
    let mut clients: Vec<_> = (0..5).map(|n| connect(&server, &format!("u{n}"))).collect();

    server.current.get().router.run_in_router(|| panic!("on purpose"));

    assert_eq!(server.wait().unwrap_err().to_string(), "the router panicked: on purpose");
    for client in &mut clients {
        assert_eq!(close_code(&client.read().unwrap()), Some(1011));
    }
    let push = Push::new("notice", "nobody gets this").unwrap();
    let alice = Account::new("u1").unwrap();
    assert_eq!(server.handle().send(alice, &push), Err(SendError::Stopped));
    let late = client(format!("ws://{address}/ws?user_id=late"), TcpStream::connect(address).unwrap());
    assert!(late.is_err_and(|error| error.to_string().contains("503")), "nobody comes in any more");
    server.shutdown(Duration::ZERO).unwrap();
}

#[test]
fn a_client_for_whom_the_router_has_no_room_is_told_and_others_stay() {
    let server = start();
    let (mut flooding, mut quiet) = (connect(&server, "flooding"), connect(&server, "quiet"));
    let (release, held) = crossbeam_channel::bounded::<()>(0);
    server.current.get().router.run_in_router(move || {
        // Until the test lets it go on, by dropping the other end.
        let _ = held.recv();
    });
    let mut writer =
        WebSocket::from_raw_socket(flooding.get_ref().try_clone().unwrap(), tungstenite::protocol::Role::Client, None);
    let frame = format!(r#"{{"type":"message","to":["quiet"],"content":"{}"}}"#, "x".repeat(1_000));
    // It fails once the server has closed.
    let writing = std::thread::spawn(move || while writer.send(Message::text(frame.clone())).is_ok() {});

    let mut last_text = String::new();
    let code = loop {
        match flooding.read().unwrap() {
            Message::Text(text) => last_text = text.to_string(),
            message => break close_code(&message),
        }
    };
    assert_eq!(code, Some(4100));
    assert!(last_text.contains(r#""code":108"#), "{last_text}");
    drop(release);
    let first = quiet.read().unwrap();
    assert!(first.to_text().unwrap().contains(r#""from":"flooding""#), "what was accepted is delivered");
    drop((flooding, quiet));
    writing.join().unwrap();
    assert!(server.handle().counts().unwrap().commands_dropped > 0);
    server.shutdown(Duration::ZERO).unwrap();
}

#[cfg(feature = "admin")]
fn start_with_admin() -> Server {
    let mut config = Config { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..Config::default() };
    config.admin.listen.clone_from(&config.listen);
    Server::bind(config, Anonymous).unwrap()
}

/// The answer of the HTTP interface.
#[cfg(feature = "admin")]
fn ask(server: &Server, request: &str, key: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.local_admin_addrs()[0]).unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{key}");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[cfg(feature = "admin")]
#[test]
fn a_router_that_does_not_answer_costs_the_metrics_that_only_it_knows() {
    let server = start_with_admin();
    let _alice = connect(&server, "alice");
    let (release, held) = crossbeam_channel::bounded::<()>(0);
    server.current.get().router.run_in_router(move || {
        // Until the test lets it go on, by dropping the other end.
        let _ = held.recv();
    });
    let metrics = || ask(&server, "GET /metrics", "", "");
    let page = metrics();
    assert!(page.contains("\nheartwire_connections 1\n") && page.ends_with("# EOF\n"), "{page}");
    assert!(!page.contains("heartwire_accounts") && !page.contains("heartwire_rooms"), "{page}");
    drop(release);
    let page = metrics();
    assert!(page.contains("\nheartwire_accounts 1\n") && page.contains("\nheartwire_rooms 0\n"), "{page}");
    server.shutdown(Duration::ZERO).unwrap();
}

#[cfg(feature = "admin")]
#[test]
fn a_push_whose_answer_was_not_seen_is_not_pushed_again() {
    let server = start_with_admin();
    let mut alice = connect(&server, "alice");
    let ask = |request: &str, key: &str, body: &str| ask(&server, request, key, body);
    let push = |n: u32| {
        let body = format!(r#"{{"accounts":["alice"],"message":{{"type":"notice","content":{n}}}}}"#);
        ask("POST /v1/push", &format!("Idempotency-Key: {n}\r\n"), &body)
    };
    let (release, held) = crossbeam_channel::bounded::<()>(0);
    server.current.get().router.run_in_router(move || {
        // Until the test lets it go on, by dropping the other end.
        let _ = held.recv();
    });
    assert!(ask("GET /healthz", "", "").starts_with("HTTP/1.1 503 "), "the router does not answer");
    assert!(push(1).starts_with("HTTP/1.1 503 "), "it was handed over, and nothing came back");
    drop(release);
    let (answer, again) = (push(1), push(1));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""connections":1"#), "{answer}");
    assert!(again.contains("\r\nIdempotent-Replayed: true\r\n"), "{again}");
    push(2);
    for n in 1..=2 {
        let frame = format!(r#"{{"type":"notice","content":{n}}}"#);
        assert_eq!(alice.read().unwrap(), Message::text(frame), "each once");
    }
    assert!(ask("GET /healthz", "", "").starts_with("HTTP/1.1 200 "));
    server.shutdown(Duration::ZERO).unwrap();
}

#[test]
fn a_configuration_that_the_router_did_not_take_in_time_never_holds() {
    let server = start();
    let first = connect(&server, "a");
    let (release, held) = crossbeam_channel::bounded::<()>(0);
    server.current.get().router.run_in_router(move || {
        // Until the test lets it go on, by dropping the other end.
        let _ = held.recv();
    });
    let wanted = || Config { listen: server.local_addrs().to_vec(), max_per_account: Some(2), ..Config::default() };
    assert!(matches!(server.reconfigure(wanted()), Err(Error::Failed(_))), "it does not answer");
    drop(release);
    let others = [connect(&server, "a"), connect(&server, "a")];
    assert_eq!(server.current.get().config.max_per_account, Config::default().max_per_account);
    server.reconfigure(wanted()).unwrap();
    assert_eq!(server.current.get().config.max_per_account, Some(2));
    drop((first, others));
    server.shutdown(Duration::ZERO).unwrap();
}
