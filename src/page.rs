//! What is served besides the endpoint: the page at `/` with which a newcomer tries the server, one file, no foreign
//! hosts, nothing inline but its own; and the client for browsers at `/heartwire.js`.

use crate::http::Response;
use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

const PAGE: &str = include_str!("../web/index.html");
const CLIENT: &str = include_str!("../web/heartwire.js");
const CLIENT_PATH: &str = "/heartwire.js";

/// Whether something is served at `path`.
pub(crate) fn is_at(path: &str) -> bool {
    path == "/" || path == CLIENT_PATH
}

/// What is served at `path`, for a server whose endpoint is at `endpoint`.
pub(crate) fn response(path: &str, endpoint: &str) -> Response {
    if path == CLIENT_PATH { client() } else { page(endpoint) }
}

fn client() -> Response {
    secured(Response::new(200, "text/javascript; charset=utf-8", CLIENT), "default-src 'none'")
}

/// Only the script and the style that were served with the page may run, and the client that the script imports.
fn page(endpoint: &str) -> Response {
    // The hasher's keys come from the system's random numbers.
    let nonce = format!("{:016x}", RandomState::new().hash_one(SystemTime::now()));
    let policy = format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let endpoint = endpoint.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let page = PAGE.replace("{{nonce}}", &nonce).replace("content=\"/ws\"", &format!("content=\"{endpoint}\""));
    secured(Response::new(200, "text/html; charset=utf-8", page), &policy)
}

fn secured(response: Response, policy: &str) -> Response {
    response.header("Content-Security-Policy", policy).header("Referrer-Policy", "no-referrer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_endpoint_and_runs_only_its_own_script() {
        let text = String::from_utf8(response("/", "/a\"b").to_bytes()).unwrap();
        assert!(text.contains("content=\"/a&quot;b\""));
        assert!(!text.contains("{{nonce}}"));
        assert!(text.contains("script-src 'self' 'nonce-"));
    }
}
