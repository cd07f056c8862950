//! A whole server without its listeners, while clients come, talk and leave and it is told to stop.

use super::*;
use crate::connection::Accepted;
use crate::handler::Anonymous;
use crate::handshake;
use crate::router::SendError;
use crate::socket::Socket;
use crate::socket::memory::{Peer, pair};
use crate::threads::model::check;
use crate::threads::sync::thread::{JoinHandle, spawn};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocket};

/// No deadline passes in a model.
const NEVER: Duration = Duration::from_secs(10_000);

fn start() -> Server {
    let config = Config { listen: Vec::new(), drain: NEVER, ..Config::default() };
    let admission =
        Admission { max_connections: 3, max_handshakes: 2, max_threads: 64, limited_by: String::new(), remedy: None };
    let places = Arc::new(Places::new(&admission, None));
    Server::assemble(config, Anonymous, admission, places, Vec::new()).unwrap()
}

/// The thread of a listener that has so many clients in its backlog; nobody is there for whom there is no place.
fn listen(server: &Server, sockets: Vec<Socket>) {
    let (shared, current) = (server.current.get(), Arc::clone(&server.current));
    let accept = move || {
        for socket in sockets {
            let (shared, socket) = (current.get(), Arc::new(socket));
            let Ok(permit) = shared.places.enter(&socket, None) else { continue };
            let (peer, permit) = (([192, 0, 2, 1], 4000).into(), Arc::new(permit));
            let accepted = Accepted { socket, peer, at: Instant::now(), permit };
            let for_thread = Arc::clone(&shared);
            let shake_hands = move || handshake::run(&accepted, Transport::WebSocket, &for_thread);
            shared.crew.spawn("hw-handshake", CORE_STACK_BYTES, shake_hands).unwrap();
        }
    };
    shared.crew.spawn("hw-listener", CORE_STACK_BYTES, accept).unwrap();
}

/// A client that sends this and reads to the end, and then leaves; what it has read.
fn client(mut peer: Peer, sends: Vec<u8>) -> JoinHandle<Vec<u8>> {
    spawn(move || {
        peer.write_all(&sends).unwrap();
        let mut read = Vec::new();
        peer.read_to_end(&mut read).unwrap();
        read
    })
}

fn request(account: &str) -> String {
    format!(
        "GET /ws?user_id={account} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// What a client sends as frames: a message, and then its Close.
fn message_and_close(to: &str) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut socket = WebSocket::from_raw_socket(&mut bytes, Role::Client, None);
    socket.send(Message::text(format!(r#"{{"type":"message","to":["{to}"],"content":1}}"#))).unwrap();
    socket.close(None).unwrap();
    bytes.into_inner()
}

/// How a client's story ended.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    NotAccepted,
    Refused,
    Closed(Option<u16>),
}

fn end_of(read: Vec<u8>) -> End {
    if read.is_empty() {
        return End::NotAccepted;
    }
    let head = read.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head") + 4;
    if read.starts_with(b"HTTP/1.1 503") {
        return End::Refused;
    }
    assert!(read.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&read));
    let mut socket = WebSocket::from_raw_socket(std::io::Cursor::new(read[head..].to_vec()), Role::Client, None);
    let first = socket.read().unwrap();
    assert!(first.to_text().unwrap().contains(r#""type":"register""#), "{first}");
    loop {
        match socket.read().unwrap() {
            Message::Close(frame) => {
                assert_eq!(
                    socket.get_ref().position(),
                    socket.get_ref().get_ref().len() as u64,
                    "nothing is behind it"
                );
                return End::Closed(frame.map(|frame| frame.code.into()));
            }
            message => assert!(message.to_text().unwrap().contains(r#""content":1"#), "{message}"),
        }
    }
}

fn three_clients() -> (Vec<Socket>, [JoinHandle<Vec<u8>>; 3]) {
    let half = request("slow");
    let talks = [request("talks").into_bytes(), message_and_close("stays")].concat();
    let sends = [request("stays").into_bytes(), talks, half.as_bytes()[..half.len() / 2].to_vec()];
    let pairs = sends.map(|sends| (pair(1 << 16), sends));
    let mut sockets = Vec::new();
    let clients = pairs.map(|((socket, peer), sends)| {
        sockets.push(socket);
        client(peer, sends)
    });
    (sockets, clients)
}

#[test]
fn a_server_that_stops_tells_everybody_and_waits_for_all() {
    let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let ends = Arc::clone(&seen);
    check(1_000, move || {
        let mut server = start();
        let (handle, (sockets, clients)) = (server.handle(), three_clients());
        listen(&server, sockets);
        let waiting = spawn({
            let fate = Arc::clone(&server.fate);
            move || fate.wait()
        });
        server.stop(NEVER).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(()));
        let [stays, talks, slow] = clients.map(|client| end_of(client.join().unwrap()));
        let told = [End::NotAccepted, End::Refused, End::Closed(Some(1001))];
        assert!(told.contains(&stays), "{stays:?}");
        assert!(told.contains(&talks) || talks == End::Closed(None), "{talks:?}");
        assert!(told[..2].contains(&slow), "{slow:?}");
        assert!(handle.open_connections().is_empty());
        assert_eq!(server.current.get().flusher.queued_bytes(), 0);
        assert_eq!(handle.ping(NEVER), Err(SendError::Stopped));
        ends.lock().unwrap().extend([("stays", stays), ("talks", talks), ("slow", slow)]);
    });
    // Of nine ends that there can be, some are rare.
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 5, "the orders are too much alike: {seen:?}");
}

#[test]
fn a_server_whose_router_fails_tells_everybody_and_can_be_stopped() {
    check(1_000, || {
        let mut server = start();
        let (sockets, clients) = three_clients();
        listen(&server, sockets);
        // Past the hook: it is on purpose.
        server.current.get().router.run_in_router(|| std::panic::resume_unwind(Box::new("on purpose")));
        assert!(server.wait().is_err());
        assert_eq!(server.handle().ping(NEVER), Err(SendError::Stopped));
        server.stop(NEVER).unwrap();
        let ends = clients.map(|client| end_of(client.join().unwrap()));
        let [stays, talks, slow] = ends;
        let told = [End::NotAccepted, End::Refused, End::Closed(Some(1011))];
        assert!(told.contains(&stays), "{stays:?}");
        assert!(told.contains(&talks) || talks == End::Closed(None), "{talks:?}");
        assert!(told[..2].contains(&slow), "{slow:?}");
    });
}

#[test]
fn whoever_leaves_by_itself_is_forgotten_and_its_threads_are_joined() {
    check(1_000, || {
        let mut server = start();
        let (socket, peer) = pair(1 << 16);
        let client = client(peer, [request("talks").into_bytes(), message_and_close("nobody")].concat());
        listen(&server, vec![socket]);
        assert_eq!(end_of(client.join().unwrap()), End::Closed(None));
        assert_eq!(server.current.get().crew.wait_until(Instant::now() + NEVER), 0);
        assert_eq!(server.handle().counts().unwrap().connections, 0);
        assert!(server.handle().open_connections().is_empty());
        server.stop(NEVER).unwrap();
    });
}
