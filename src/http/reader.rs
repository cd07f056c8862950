//! Collects the bytes of a request head as they dribble in, within bounds that hold before anything is parsed.

use super::{Head, Response};
use crate::protocol::message::ErrorCode;
use std::fmt;

/// The longest request head, its final empty line included.
pub(crate) const MAX_HEAD_BYTES: usize = 8 * 1024;
/// The most header fields in a request head.
pub(crate) const MAX_HEADERS: usize = 64;

/// Why a request head is not accepted. Never holds a value the peer sent: those may be secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// More than [`MAX_HEAD_BYTES`] or [`MAX_HEADERS`]: 431.
    TooLarge,
    /// Not a request as RFC 9112 has it, and what is wrong with it: 400.
    Malformed(String),
}

impl HeadError {
    /// The status of the response that says so.
    #[must_use]
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::TooLarge => 431,
            Self::Malformed(_) => 400,
        }
    }

    /// That response.
    #[must_use]
    pub(crate) fn response(&self) -> Response {
        let code = match self {
            Self::TooLarge => ErrorCode::LimitExceeded,
            Self::Malformed(_) => ErrorCode::BadRequest,
        };
        Response::refusal(self.status(), code, &self.to_string())
    }

    pub(super) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "a request head has at most {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} headers"),
            Self::Malformed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for HeadError {}

/// Finds the end of a request head in what is pushed, and parses the head once it is whole.
///
/// Each byte is looked at once for the end of its line. Parsing happens when the empty line has come, and before that
/// only each time the bytes have doubled: what is no HTTP at all is refused early, at no more than twice the cost.
#[derive(Default)]
pub(crate) struct HeadReader {
    bytes: Vec<u8>,
    /// Where in `bytes` the line begins whose end has not been seen.
    line_start: usize,
    /// Lines seen that were not empty: the request line and the headers.
    lines: usize,
    /// The length of `bytes` at which an unfinished head is parsed next.
    next_trial: usize,
}

impl HeadReader {
    /// A reader that has seen nothing.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes what arrived next; once the head is whole, answers it with the bytes that came behind it.
    /// Afterwards, and after an error, the reader is used up.
    ///
    /// # Errors
    /// [`HeadError`] as soon as the head cannot be accepted any more.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Option<(Head, Vec<u8>)>, HeadError> {
        let room = MAX_HEAD_BYTES - self.bytes.len();
        let (near, far) = bytes.split_at(bytes.len().min(room));
        let scanned = self.bytes.len();
        self.bytes.extend_from_slice(near);
        if let Some(end) = self.find_end(scanned)? {
            let mut behind = self.bytes.split_off(end);
            behind.extend_from_slice(far);
            let head = parse(&self.bytes)?.ok_or_else(|| HeadError::malformed("the request head is incomplete"))?;
            return Ok(Some((head, behind)));
        }
        if self.bytes.len() == MAX_HEAD_BYTES {
            return Err(HeadError::TooLarge);
        }
        self.refuse_garbage()?;
        Ok(None)
    }

    /// The length of the head, if its empty line is among the bytes from `scanned` on. Empty lines before the request
    /// line do not count (RFC 9112 §2.2), and a line may end in a bare LF (the same section): httparse sees it so too.
    fn find_end(&mut self, scanned: usize) -> Result<Option<usize>, HeadError> {
        let line_feeds = self.bytes.iter().enumerate().skip(scanned).filter(|(_, byte)| **byte == b'\n');
        for (at, _) in line_feeds {
            let empty = matches!(&self.bytes[self.line_start..at], b"" | b"\r");
            self.line_start = at + 1;
            if empty && self.lines > 0 {
                return Ok(Some(self.line_start));
            }
            self.lines += usize::from(!empty);
            if self.lines > 1 + MAX_HEADERS {
                return Err(HeadError::TooLarge);
            }
        }
        Ok(None)
    }

    fn refuse_garbage(&mut self) -> Result<(), HeadError> {
        if self.bytes.len() >= self.next_trial {
            self.next_trial = 2 * self.bytes.len();
            parse(&self.bytes)?;
        }
        Ok(())
    }
}

/// The head, or `None` if the bytes end before it does.
fn parse(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => Head::from_parsed(&request).map(Some),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
        Err(error) => Err(HeadError::malformed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REQUEST: &[u8] = b"GET /ws?user_id=alice HTTP/1.1\r\nHost: localhost:8080\r\nX-One: 1\r\n\r\n";

    fn malformed(request: &str) -> bool {
        matches!(HeadReader::new().push(request.as_bytes()), Err(HeadError::Malformed(_)))
    }

    #[test]
    fn a_whole_head_is_separated_from_what_follows() {
        let (head, behind) = HeadReader::new().push(&[REQUEST, b"\x81\x85rest\r\n\r\n"].concat()).unwrap().unwrap();
        assert_eq!(head.path(), "/ws");
        assert_eq!(head.query("user_id"), Some("alice"));
        assert_eq!(behind, b"\x81\x85rest\r\n\r\n");
    }

    #[test]
    fn a_head_that_dribbles_in_is_the_same() {
        let mut reader = HeadReader::new();
        let (last, before) = REQUEST.split_last().unwrap();
        for byte in before {
            assert!(reader.push(&[*byte]).unwrap().is_none());
        }
        let (head, behind) = reader.push(&[*last]).unwrap().unwrap();
        assert_eq!(head.header("x-one"), Some("1"));
        assert!(behind.is_empty());
    }

    #[test]
    fn bare_line_feeds_and_leading_empty_lines_are_tolerated() {
        let (head, behind) = HeadReader::new().push(b"\r\n\nGET / HTTP/1.1\nHost: a\n\nx").unwrap().unwrap();
        assert_eq!((head.path(), &*behind), ("/", &b"x"[..]));
        assert!(HeadReader::new().push(b"\r\n\r\n\r\n").unwrap().is_none());
    }

    #[test]
    fn bytes_are_bounded_to_the_last_one() {
        let request = |padding: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(padding));
        let room = MAX_HEAD_BYTES - request(0).len();
        let (_, behind) = HeadReader::new().push((request(room) + "behind").as_bytes()).unwrap().unwrap();
        assert_eq!(behind, b"behind");
        assert_eq!(HeadReader::new().push(request(room + 1).as_bytes()).err(), Some(HeadError::TooLarge));
    }

    #[test]
    fn header_bombs_are_refused_before_they_are_kept() {
        let long = [b"GET / HTTP/1.1\r\nX: ", &[b'x'; 64 << 10][..]].concat();
        let many = [&b"GET / HTTP/1.1\r\n"[..], &b"X: 1\r\n".repeat(5_000)].concat();
        let empty_lines = b"\r\n".repeat(5_000);
        for bomb in [long, many, empty_lines] {
            for chunk in [1, 7, 1_000, bomb.len()] {
                let mut reader = HeadReader::new();
                let refused = bomb.chunks(chunk).position(|bytes| reader.push(bytes).is_err()).unwrap();
                assert!(refused * chunk <= MAX_HEAD_BYTES);
                assert!(reader.bytes.capacity() <= 2 * MAX_HEAD_BYTES);
            }
        }
    }

    #[test]
    fn headers_are_bounded_to_the_last_one() {
        let request = |more: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(more));
        let (head, _) = HeadReader::new().push(request(MAX_HEADERS - 1).as_bytes()).unwrap().unwrap();
        assert_eq!(head.headers().len(), MAX_HEADERS);
        assert_eq!(HeadReader::new().push(request(MAX_HEADERS).as_bytes()).err(), Some(HeadError::TooLarge));
    }

    #[test]
    fn what_is_no_http_is_refused_before_its_end() {
        assert!(malformed("\x16\x03\x01\x02\x00\x01"), "a TLS client");
        assert!(malformed("{\"type\":\"hello\"}\n"));
        assert!(malformed("GET / HTTP/2.0\r\n"));
        let mut reader = HeadReader::new();
        let text = "GET / HTTP/1.1\r\nbad header\0".to_owned() + &"x".repeat(1_000);
        assert!(text.bytes().any(|byte| reader.push(&[byte]).is_err()), "found when the bytes have doubled");
    }

    #[test]
    fn unfinished_heads_are_parsed_only_when_they_have_doubled() {
        let mut reader = HeadReader::new();
        let mut trials = 0;
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: ".iter().chain(&[b'x'; 8_000]) {
            let before = reader.next_trial;
            reader.push(&[*byte]).unwrap();
            trials += usize::from(reader.next_trial != before);
        }
        assert_eq!(trials, 13, "at 1, 2, 4 … 4096 bytes");
    }

    #[test]
    fn folded_headers_and_spaces_around_names_are_malformed() {
        assert!(malformed("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n"));
        assert!(malformed("GET / HTTP/1.1\r\n Host: a\r\n\r\n"));
        assert!(malformed("GET / HTTP/1.1\r\nHost : a\r\n\r\n"));
        assert!(malformed("GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), chunk in 1_usize..50) {
            let mut reader = HeadReader::new();
            for bytes in bytes.chunks(chunk) {
                let _ = reader.push(bytes);
            }
        }

        #[test]
        fn request_like_texts_mean_the_same_in_any_chunks(
            lines in "(GET|POST) /?[!-~]{0,40} HTTP/1\\.[01]\r?\n(Host: a\r?\n)?\
                      ([A-Za-z :]{1,9}: ?[ -~\u{e4}]{0,20}\r?\n){0,4}\r?\n",
            chunk in 1_usize..50,
        ) {
            let whole = HeadReader::new().push(lines.as_bytes());
            let mut reader = HeadReader::new();
            let mut results = lines.as_bytes().chunks(chunk).map(|bytes| reader.push(bytes));
            let pieces = results.find(|result| !matches!(result, Ok(None)));
            match (whole, pieces) {
                (Ok(Some((whole, _))), Some(Ok(Some((pieces, _))))) => {
                    prop_assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
                }
                (Err(whole), Some(Err(pieces))) => prop_assert_eq!(whole.status(), pieces.status()),
                (Ok(None), None) => {}
                (whole, pieces) => prop_assert!(false, "{:?} but {:?}", whole.err(), pieces.map(Result::err)),
            }
        }
    }
}
