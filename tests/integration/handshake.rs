//! Who gets in, and what everybody else is told: the request, Host and Origin, authentication, limits, the page.

mod doors;
mod refusals;
mod tokens;

use crate::support::*;
use heartwire::{Account, Handler, Identity, Refusal, Request, Server};
use serde_json::Value;
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

/// Knows one token, `alice's`; what else a token may do is be refused in every way there is.
struct Gate;

impl Handler for Gate {
    fn authenticates(&self) -> bool {
        true
    }

    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        let wait = Duration::from_millis(2_500);
        match request.token() {
            Some("of-alice") => Ok(Identity::new(Account::new("alice").unwrap())),
            Some("banned") => Err(Refusal::forbidden("banned")),
            Some("too-often") => Err(Refusal::throttled("try again later", wait)),
            Some("no-backend") => Err(Refusal::unavailable("nobody to ask", wait)),
            Some("panic") => panic!("on purpose"),
            _ => Err(Refusal::unauthorized("who are you?")),
        }
    }
}

fn gated() -> Server {
    serve_with(config(), Gate)
}

/// An HTTP response that was checked to be complete and the last of its connection.
struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn to(address: SocketAddr, request: impl AsRef<[u8]>) -> Self {
        Self::parse(&exchange(address, request))
    }

    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head in {text:?}"));
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let response = Self { status: status.expect(head), head: head.to_owned(), body: body.to_owned() };
        assert_eq!(response.header("content-length"), Some(&*body.len().to_string()), "{text}");
        assert!(response.header("connection").is_some_and(|value| value.starts_with("close")), "{text}");
        response
    }

    /// The value of a header; fails when there are two.
    fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The code, reason and message in the body of a refusal, which holds nothing else.
    fn error(&self) -> (u64, String, String) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.head);
        let body: Value = serde_json::from_str(&self.body).expect(&self.body);
        let error = body["error"].as_object().expect(&self.body);
        assert_eq!((body.as_object().unwrap().len(), error.len()), (1, 3), "{body}");
        let text = |name: &str| error[name].as_str().unwrap().to_owned();
        assert!(!text("message").is_empty(), "{body}");
        (error["code"].as_u64().unwrap(), text("reason"), text("message"))
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values = head.lines().skip(1).filter_map(|line| {
        let (given, value) = line.split_once(':')?;
        given.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let first = values.next();
    assert!(values.next().is_none(), "{name} is there twice:\n{head}");
    first
}

/// The status of an upgrade, whatever it is; the connection is dropped.
fn status(address: SocketAddr, target: &str, headers: &str) -> u16 {
    status_of(address, &upgrade_request(target, headers))
}

fn status_of(address: SocketAddr, request: &str) -> u16 {
    let mut stream = dial(address);
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
}

/// The code of the Close that follows at once on the upgrade.
fn close_code(address: SocketAddr, target: &str, headers: &str) -> u16 {
    let mut client = Client::open(address, target, headers);
    let (code, _) = client.close_frame();
    client.expect_end();
    code
}
