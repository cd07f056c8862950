//! What is served besides the endpoint: the page at `/` with which a newcomer tries the server, and the client for
//! browsers at `/heartwire.js`; and the operator's page. Each page is one file, without foreign hosts.

use crate::http::Response;
use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

const CHAT: &str = include_str!("../web/index.html");
#[cfg(feature = "admin")]
const DASHBOARD: &str = include_str!("../web/dashboard.html");
const CLIENT: &str = include_str!("../web/heartwire.js");
const CLIENT_PATH: &str = "/heartwire.js";

/// Whether something is served at `path`.
pub(crate) fn is_at(path: &str) -> bool {
    path == "/" || path == CLIENT_PATH
}

/// What is served at `path`, for a server whose endpoint is at `endpoint`.
pub(crate) fn response(path: &str, endpoint: &str) -> Response {
    if path == CLIENT_PATH { client() } else { chat(endpoint) }
}

/// The operator's page.
#[cfg(feature = "admin")]
pub(crate) fn dashboard() -> Response {
    page(DASHBOARD, "")
}

fn client() -> Response {
    secured(Response::new(200, "text/javascript; charset=utf-8", CLIENT), "default-src 'none'")
}

/// Its script imports the client.
fn chat(endpoint: &str) -> Response {
    let endpoint = endpoint.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    page(&CHAT.replace("content=\"/ws\"", &format!("content=\"{endpoint}\"")), "'self' ")
}

/// Only the script and the style that were served with the page may run, and scripts from where `scripts` says.
fn page(text: &str, scripts: &str) -> Response {
    // The hasher's keys come from the system's random numbers.
    let nonce = format!("{:016x}", RandomState::new().hash_one(SystemTime::now()));
    let policy = format!(
        "default-src 'none'; script-src {scripts}'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    secured(Response::new(200, "text/html; charset=utf-8", text.replace("{{nonce}}", &nonce)), &policy)
}

fn secured(response: Response, policy: &str) -> Response {
    response.header("Content-Security-Policy", policy).header("Referrer-Policy", "no-referrer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_endpoint() {
        let text = String::from_utf8(response("/", "/a\"b").to_bytes()).unwrap();
        assert!(text.contains("content=\"/a&quot;b\""));
    }

    #[test]
    fn a_page_runs_only_its_own_scripts_and_those_of_the_server() {
        let runs = |page: Response, scripts: &str| {
            let text = String::from_utf8(page.to_bytes()).unwrap();
            let (_, nonce) = text.split_once(&format!("script-src {scripts}'nonce-")).unwrap();
            let (nonce, _) = nonce.split_once('\'').unwrap();
            assert!(!text.contains("{{nonce}}"));
            assert!(text.contains(&format!("<style nonce=\"{nonce}\">")));
            assert_eq!(text.matches("<script").count(), text.matches(&format!("nonce=\"{nonce}\">\n")).count() - 1);
        };
        runs(response("/", "/ws"), "'self' ");
        #[cfg(feature = "admin")]
        runs(dashboard(), "");
    }
}
