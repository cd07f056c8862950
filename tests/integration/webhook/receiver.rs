//! A back end made by hand: it keeps what is posted to it, and answers as a test wants.

use crate::support::PATIENCE;
use aws_lc_rs::hmac;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// How a request is answered.
#[derive(Clone)]
pub enum Answer {
    /// By these bytes, where they are a complete response, and the connection is kept.
    Keep(u16, String),
    /// By these bytes, and the end of the connection.
    Raw(String),
    /// By these bytes, and silence.
    Hang(String),
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Keep(status, format!("HTTP/1.1 {status} \r\nContent-Length: 2\r\n\r\nok"))
    }

    pub fn raw(bytes: &str) -> Self {
        Self::Raw(bytes.to_owned())
    }
}

/// A request that has arrived.
#[derive(Clone, Debug)]
pub struct Post {
    pub request_line: String,
    headers: Vec<(String, String)>,
    pub body: String,
    pub json: Value,
    pub at: Instant,
    /// The status of its answer, 0 until it has one and if that was made by hand.
    pub status: u16,
}

impl Post {
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let value = &values.next().unwrap_or_else(|| panic!("{name} is missing: {:?}", self.headers)).1;
        assert!(values.next().is_none(), "{name} comes twice");
        value
    }

    pub fn is_signed_with(&self, secret: &[u8]) -> bool {
        let signature = self.header("heartwire-signature").strip_prefix("v1=").unwrap();
        assert!(signature.len() == 64 && signature.is_ascii());
        let byte = |at: usize| u8::from_str_radix(&signature[at..at + 2], 16).unwrap();
        let signature: Vec<_> = (0..64).step_by(2).map(byte).collect();
        let signed = format!("{}.{}", self.header("heartwire-timestamp"), self.body);
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes(), &signature).is_ok()
    }
}

/// Serves one connection at a time until it is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

pub struct Shared {
    posts: Mutex<Vec<Post>>,
    connections: AtomicUsize,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Shared {
    pub fn wait_until_opened(&self) {
        let waited = self.opened.wait_timeout_while(self.is_open.lock().unwrap(), PATIENCE, |is_open| !*is_open);
        assert!(!waited.unwrap().1.timed_out(), "nobody opened");
    }
}

impl Receiver {
    /// `answer` is given the number of the request, counted from 0.
    pub fn start(answer: impl Fn(usize, &Shared) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            posts: Mutex::default(),
            connections: AtomicUsize::new(0),
            is_open: Mutex::new(false),
            opened: Condvar::new(),
        });
        let (of_thread, answer) = (Arc::clone(&shared), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, answer) = (Arc::clone(&of_thread), Arc::clone(&answer));
                shared.connections.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || serve(stream.unwrap(), &shared, &*answer));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?key=query", self.address)
    }

    pub fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Ends every [`Shared::wait_until_opened`].
    pub fn open(&self) {
        *self.shared.is_open.lock().unwrap() = true;
        self.shared.opened.notify_all();
    }
}

fn serve(stream: TcpStream, shared: &Shared, answer: &(impl Fn(usize, &Shared) -> Answer + ?Sized)) {
    let mut reader = BufReader::new(stream);
    while let Some(post) = read(&mut reader) {
        let number = {
            let mut posts = shared.posts.lock().unwrap();
            posts.push(post);
            posts.len() - 1
        };
        let answer = answer(number, shared);
        if let Answer::Keep(status, _) = answer {
            shared.posts.lock().unwrap()[number].status = status;
        }
        let (Answer::Keep(_, bytes) | Answer::Raw(bytes) | Answer::Hang(bytes)) = &answer;
        // Whoever misbehaves may be left before it has finished.
        let _ = reader.get_mut().write_all(bytes.as_bytes());
        match answer {
            Answer::Keep(..) => {}
            Answer::Raw(_) => return,
            Answer::Hang(_) => {
                let _ = reader.read(&mut [0]);
                return;
            }
        }
    }
}

/// The next request, unless the connection has ended.
fn read(reader: &mut impl BufRead) -> Option<Post> {
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.is_empty()) {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        lines.push(line.trim_end().to_owned());
    }
    let header = |line: &String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: Vec<_> = lines[1..].iter().filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).unwrap();
    let json = serde_json::from_str(&body).unwrap();
    Some(Post { request_line: lines.swap_remove(0), headers, body, json, at: Instant::now(), status: 0 })
}
