//! A server on a free port, a client that reads with a bound, and waiting for a condition.

use heartwire::{Account, Anonymous, Config, Handler, Server};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// Longer than anything here takes on the slowest machine; only a test that fails waits this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration for tests: a free port on loopback.
pub fn config() -> Config {
    let mut config = Config::default();
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config
}

/// The configuration for tests, changed.
pub fn configured(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config();
    change(&mut config);
    config
}

/// Starts a server that lets everybody in.
pub fn serve(config: Config) -> Server {
    serve_with(config, Anonymous)
}

/// Starts a server with a handler.
pub fn serve_with(config: Config, handler: impl Handler) -> Server {
    Server::bind(config, handler).expect("the server starts")
}

pub fn address(server: &Server) -> SocketAddr {
    server.local_addrs()[0]
}

pub fn account(name: &str) -> Account {
    Account::new(name).unwrap()
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = Patience::begin();
    while !condition() {
        patience.assert(what);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The bound of a wait in which something else keeps arriving, pings for example: each restarts the socket's timeout.
pub struct Patience(Instant);

impl Patience {
    pub fn begin() -> Self {
        Self(Instant::now() + PATIENCE)
    }

    /// Fails when it is over.
    #[track_caller]
    pub fn assert(&self, what: &str) {
        assert!(Instant::now() < self.0, "never came: {what}");
    }
}

/// A TCP connection whose reads are bounded.
pub fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends a request and returns the whole response, up to the server's close.
pub fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut stream = dial(address);
    stream.write_all(request.as_ref()).unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

/// Asks the HTTP interface of a server that asks nobody for a key; it must do what it is asked.
pub fn post(admin: SocketAddr, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    let response = exchange(admin, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    let (head, answer) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {response:?}"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{response}");
    serde_json::from_str(answer).unwrap()
}

/// An upgrade request for `target` (path and query), with further header lines, each ended by CR LF.
pub fn upgrade_request(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A WebSocket client.
pub struct Client {
    pub socket: WebSocket<TcpStream>,
    /// The head of the 101 response.
    pub response: String,
}

impl Client {
    /// Connects as an account and reads the register frame.
    pub fn connect(server: &Server, account: &str) -> Self {
        let mut client = Self::open(address(server), &format!("/ws?user_id={account}"), "");
        assert_eq!(client.json()["type"], "register");
        client
    }

    /// Upgrades, and reads nothing behind the response.
    pub fn open(address: SocketAddr, target: &str, headers: &str) -> Self {
        let mut stream = dial(address);
        stream.write_all(upgrade_request(target, headers).as_bytes()).unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("no upgrade ({error}) after {}", String::from_utf8_lossy(&response));
            });
            response.push(byte[0]);
        }
        let response = String::from_utf8(response).unwrap();
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        let limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        Self { socket: WebSocket::from_raw_socket(stream, Role::Client, Some(limits)), response }
    }

    pub fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string());
    }

    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// The next message; pings are answered by the library meanwhile.
    pub fn message(&mut self) -> Message {
        let patience = Patience::begin();
        loop {
            match self.socket.read().expect("a message") {
                Message::Ping(_) | Message::Pong(_) => patience.assert("a message"),
                message => return message,
            }
        }
    }

    /// The next message as JSON.
    pub fn json(&mut self) -> Value {
        match self.message() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a text message, got {other:?}"),
        }
    }

    /// Sends a frame with an id and returns its answer; fails on anything else in between.
    pub fn ask(&mut self, mut frame: Value) -> Value {
        frame["id"] = json!("asked");
        self.send(&frame);
        let answer = self.json();
        assert_eq!(answer["id"], "asked", "{answer}");
        answer
    }

    /// Reads until the server's Close and returns its code and reason; messages on the way are dropped.
    pub fn close_frame(&mut self) -> (u16, String) {
        let patience = Patience::begin();
        loop {
            match self.socket.read() {
                Ok(Message::Close(Some(CloseFrame { code, reason }))) => return (code.into(), reason.to_string()),
                Ok(Message::Close(None)) => return (1005, String::new()),
                Ok(_) => patience.assert("a Close"),
                Err(error) => panic!("expected a Close, got {error}"),
            }
        }
    }

    /// Reads until the server has closed the TCP connection, which it must do in an orderly way.
    pub fn expect_end(&mut self) {
        let patience = Patience::begin();
        loop {
            match self.socket.read() {
                Ok(_) => patience.assert("the end"),
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return,
                Err(error) => panic!("expected the end of the connection, got {error}"),
            }
        }
    }
}
