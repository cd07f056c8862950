//! Which route a request means.

use super::*;
use crate::http::HeadReader;

fn found(method: &str, path: &str) -> Result<(&'static str, String), Response> {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, _) = HeadReader::new().push(request.as_bytes()).unwrap().unwrap();
    find(&head).map(|(route, name)| (route.path, name))
}
