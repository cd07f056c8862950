//! The page at `/` with which a newcomer tries the server: one file, no foreign hosts, nothing inline but its own.

use crate::http::Response;
use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

const PAGE: &str = include_str!("../web/index.html");

/// The page for a server whose endpoint is at `path`. Only the script and the style that were served with it may run.
pub(crate) fn response(path: &str) -> Response {
    // The hasher's keys come from the system's random numbers.
    let nonce = format!("{:016x}", RandomState::new().hash_one(SystemTime::now()));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let path = path.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let page = PAGE.replace("{{nonce}}", &nonce).replace("content=\"/ws\"", &format!("content=\"{path}\""));
    Response::new(200, "text/html; charset=utf-8", page)
        .header("Content-Security-Policy", &policy)
        .header("Referrer-Policy", "no-referrer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_endpoint_and_runs_only_its_own_script() {
        let text = String::from_utf8(response("/a\"b").to_bytes()).unwrap();
        assert!(text.contains("content=\"/a&quot;b\""));
        assert!(!text.contains("{{nonce}}"));
        assert!(text.contains("script-src 'nonce-"));
    }
}
