//! Requests to the operator's own back end: how every one of them is made, and which addresses it may have.

use http::Uri;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::typestate::AgentScope;

/// More than any response's head needs, and so much is read or written at once.
const BUFFER_BYTES: usize = 16 << 10;
/// Shorter than the patience of common servers with a connection that asks for nothing, of which Node's 5 s is the least.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// How every client for HTTP is made, but for its timeout: it follows no redirects, looks for no proxy in the environment,
/// and trusts the certificates that the system does.
///
/// Set the timeout here, not at each request: a request with options of its own reads the system's certificates anew for
/// each connection.
pub(crate) fn client() -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("heartwire/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .max_response_header_size(BUFFER_BYTES)
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .max_idle_age(MAX_IDLE)
}

/// Reads an address: `http` or `https`, with a host, without a user or password.
///
/// # Errors
/// What is wrong with it. The text repeats nothing of the address, which may hold a secret.
pub(crate) fn parse_url(text: &str) -> Result<Uri, &'static str> {
    let url: Uri = text.parse().map_err(|_| "it is not a URL")?;
    let authority = url.authority().ok_or("it is not a complete URL")?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("it must begin with http:// or https://");
    }
    if authority.as_str().contains('@') {
        return Err("it must not hold a user or a password");
    }
    let behind_host = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    let has_port = authority.port_u16().is_some_and(|port| port != 0);
    match (authority.host().is_empty(), behind_host.is_empty() || has_port) {
        (true, _) => Err("it has no host"),
        (_, false) => Err("its port is not a number from 1 to 65535"),
        (false, true) => Ok(url),
    }
}

/// Shows scheme, host and port of an address: path and query may hold secrets.
pub(crate) struct Origin<'a>(pub(crate) &'a Uri);

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.0.scheme_str(), self.0.authority());
        write!(f, "{}://{}", scheme.unwrap_or_default(), authority.map_or("", |authority| authority.as_str()))
    }
}

/// The same of an address that was not read yet, or what is wrong with it.
pub(crate) fn origin(text: &str) -> String {
    parse_url(text).map_or_else(str::to_owned, |url| Origin(&url).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_complete_and_holds_no_password() {
        for good in ["http://a", "HTTPS://a.example:8443/x?y=z", "http://127.0.0.1:1/", "https://[::1]:443/hook"] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        let bad = [
            "",
            "/hook",
            "a",
            "a:80",
            "ftp://a/",
            "ws://a/",
            "http:///hook",
            "http://:80/",
            "http://a:0/",
            "http://a:/",
            "http://a:65536/",
            "http://a:b/",
            "http://user@a/",
            "http://user:password@a/",
            "http://@a/",
            "http://a/ b",
            "http://[::1/",
            "//a/hook",
        ];
        for bad in bad {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_an_address_only_the_origin_is_shown() {
        let url = parse_url("https://a.example:8443/services/SECRET?key=SECRET").unwrap();
        assert_eq!(Origin(&url).to_string(), "https://a.example:8443");
        assert!(!parse_url("https://user:SECRET@a/").unwrap_err().contains("SECRET"));
    }

    #[test]
    fn tls_has_its_cryptography_and_is_tried() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut record_type = [0];
            std::io::Read::read_exact(&mut socket, &mut record_type).unwrap();
            record_type[0]
        });
        let agent: Agent = client().timeout_global(Some(Duration::from_secs(20))).build().into();
        assert!(agent.get(&url).call().is_err());
        assert_eq!(server.join().unwrap(), 22, "a TLS handshake record (RFC 8446 §5.1)");
    }
}
