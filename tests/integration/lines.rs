//! A raw TCP client made by hand: lines as text, and every line that the server sends.

use crate::support::{PATIENCE, Patience, dial, serve_with};
use heartwire::{Config, Handler, Server};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Starts a server that also speaks lines, on a free port.
pub fn serve_lines(mut config: Config, handler: impl Handler) -> Server {
    config.tcp_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    serve_with(config, handler)
}

pub fn tcp_address(server: &Server) -> SocketAddr {
    server.local_tcp_addrs()[0]
}

/// What a client says first.
pub fn hello(account: &str) -> Value {
    json!({ "type": "hello", "user_id": account })
}

/// A client that does nothing by itself.
pub struct LineClient {
    pub stream: TcpStream,
    received: BufReader<TcpStream>,
}

impl LineClient {
    /// Connects and says nothing.
    pub fn open(address: SocketAddr) -> Self {
        let stream = dial(address);
        Self { received: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    /// Connects as an account and reads the register line.
    pub fn connect(server: &Server, account: &str) -> Self {
        let mut client = Self::open(tcp_address(server));
        client.say_hello(account);
        client
    }

    /// Says who it is and reads the register line, which must be the next.
    pub fn say_hello(&mut self, account: &str) {
        self.send(&hello(account));
        let register = self.json();
        assert_eq!((&register["type"], &register["account"]), (&json!("register"), &json!(account)), "{register}");
    }

    pub fn send(&mut self, frame: &Value) {
        self.write(format!("{frame}\n"));
    }

    /// Sends these bytes as they are.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The next line without its end; `None` at an orderly end of the stream.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        if self.received.read_line(&mut line).expect("a line or the end of the stream") == 0 {
            return None;
        }
        let line = line.strip_suffix('\n').unwrap_or_else(|| panic!("cut off: {line:?}"));
        assert!(!line.contains('\r'), "{line:?}");
        Some(line.to_owned())
    }

    /// The next line as JSON; probes are passed over.
    pub fn json(&mut self) -> Value {
        let patience = Patience::begin();
        loop {
            let line = self.line().expect("a line before the end of the stream");
            let value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if value["type"] != "ping" {
                return value;
            }
            patience.assert("a line that is no probe");
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

    /// The code of the next line, which must be an error, and the id that it names.
    pub fn error(&mut self) -> (Value, Value) {
        let error = self.json();
        assert_eq!(error["type"], "error", "{error}");
        (error["error"]["code"].clone(), error["id"].clone())
    }

    /// Reads to the end, where exactly one close line must come, and nothing behind it.
    pub fn ending(&mut self) -> LineEnding {
        let (mut lines, patience) = (Vec::new(), Patience::begin());
        loop {
            patience.assert("a close line");
            let line = self.line().expect("a close line before the end of the stream");
            let value: Value = serde_json::from_str(&line).unwrap();
            if value["type"] == "close" {
                assert_eq!(self.line(), None, "something came behind the close line");
                let (code, reason) = (value["code"].as_u64().unwrap(), value["reason"].as_str().unwrap().to_owned());
                return LineEnding { code, reason, lines };
            }
            lines.push(value);
        }
    }

    /// Writes this after each pause, from another thread, until `meanwhile` is done or the server takes no more.
    pub fn sending<T>(
        &mut self,
        parts: impl Iterator<Item = Vec<u8>> + Send,
        pause: Duration,
        meanwhile: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let stream = self.stream.try_clone().unwrap();
        crate::raw::sending(stream, parts, pause, || meanwhile(self))
    }

    /// Ends the sending side, as `echo … | nc` does.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Whether nothing at all comes for this long.
    pub fn hears_nothing_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let heard = self.received.fill_buf().is_ok();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        !heard
    }
}

/// How a connection ended.
#[derive(Debug)]
pub struct LineEnding {
    pub code: u64,
    pub reason: String,
    /// What came before the close line.
    pub lines: Vec<Value>,
}
