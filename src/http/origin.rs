//! Which web pages may connect: what `Origin` and `Host` must say (RFC 6455 §10.2, RFC 6454).
//!
//! Browsers let any page open a WebSocket to any server and send its cookies along, and `Origin` is all that tells the
//! pages apart. `Host` is checked too, because a page can point its own name at a loopback address after it was loaded
//! (DNS rebinding), and is then of the same origin as the server it attacks.

use ::http::HeaderValue;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A web origin: scheme, host and port. Scheme and host are lower case, so equality is that of RFC 6454 §5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    /// `None` for a scheme without a default port, as those of browser extensions and app shells.
    port: Option<u16>,
}

impl Origin {
    /// Parses exactly `scheme://host[:port]`; a port left out is the default of `http`, `https`, `ws` or `wss`.
    ///
    /// `None` for everything else: `null`, user information, a path (also `/` alone), a list, an invalid host.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(in_scheme) {
            return None;
        }
        let (host, port) = parse_host(authority)?;
        let port = port.or_else(|| default_port(&scheme));
        Some(Self { scheme, host, port })
    }

    /// Whether a page of this origin was loaded from where `Host` points, as far as the server can know: a proxy that
    /// ends TLS hides the scheme.
    fn is_of_host(&self, host_header: &str) -> bool {
        matches!(&*self.scheme, "http" | "https")
            && parse_host(host_header).is_some_and(|(host, port)| {
                host == self.host && port.or_else(|| default_port(&self.scheme)) == self.port
            })
    }
}

/// Parses the value of `Host`: a name, an IPv4 address or an IPv6 address in brackets, and a port if one is given.
///
/// The host comes back in lower case, an IPv6 address in its shortest form and with its brackets. `None` for
/// everything else: user information, an empty name, label or port, characters that no host name has.
#[must_use]
pub(crate) fn parse_host(text: &str) -> Option<(String, Option<u16>)> {
    let (host, rest) = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), rest)
    } else {
        let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        (is_host_name(name).then(|| name.to_ascii_lowercase())?, rest)
    };
    if rest.is_empty() { Some((host, None)) } else { Some((host, Some(parse_port(rest.strip_prefix(':')?)?))) }
}

/// Whether `Host` names this server: an IP address, `localhost` or one of the `allowed` names, in any case, with or
/// without the final dot. The port does not matter.
#[must_use]
pub(crate) fn host_allowed(host_header: &str, allowed: &[String]) -> bool {
    let Some((host, _)) = parse_host(host_header) else { return false };
    let name = host.strip_suffix('.').unwrap_or(&host);
    let is_address = name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok();
    is_address || name == "localhost" || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

/// Whether the page behind a request may connect. `origins` are all values of the header `Origin`; without any, the
/// client is not a browser and passes. With a list, the origin must be on it; without, it must be the same as `Host`.
pub(crate) fn origin_allowed<'a>(
    origins: impl IntoIterator<Item = &'a HeaderValue>,
    host_header: &str,
    allowed: &[String],
) -> bool {
    let mut origins = origins.into_iter();
    let Some(origin) = origins.next() else { return true };
    let only = origins.next().is_none();
    let Some(origin) = origin.to_str().ok().filter(|_| only).and_then(Origin::parse) else { return false };
    if allowed.is_empty() {
        origin.is_of_host(host_header)
    } else {
        allowed.iter().any(|allowed| Origin::parse(allowed).as_ref() == Some(&origin))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Digits only: `u16` itself would also take a plus sign.
fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Labels of letters, digits, hyphens and the underscores that DNS names have in practice; one final dot.
fn is_host_name(name: &str) -> bool {
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let mut labels = name.strip_suffix('.').unwrap_or(name).split('.');
    name.len() <= 254 && labels.all(|label| !label.is_empty() && label.bytes().all(in_label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "app.example:8080";

    fn allowed(origin: &str, host: &str, list: &[&str]) -> bool {
        let list: Vec<String> = list.iter().copied().map(String::from).collect();
        origin_allowed([&HeaderValue::from_bytes(origin.as_bytes()).unwrap()], host, &list)
    }

    #[test]
    fn default_ports_are_filled_in_and_case_is_not_kept() {
        let same = [
            ("https://App.Example", "HTTPS://app.example:443"),
            ("http://app.example", "http://app.example:80"),
            ("ws://app.example", "ws://app.example:80"),
            ("wss://app.example", "wss://app.example:443"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
        ];
        for (a, b) in same {
            assert!(Origin::parse(a).is_some());
            assert_eq!(Origin::parse(a), Origin::parse(b));
        }
        assert_eq!(Origin::parse("tauri://localhost").map(|origin| origin.port), Some(None));
    }

    #[test]
    fn a_list_admits_what_is_on_it() {
        let list = ["https://app.example", "http://localhost:3000", "tauri://localhost", "http://[::1]:8080"];
        for origin in [
            "https://app.example",
            "https://app.example:443",
            "https://APP.example",
            "http://localhost:3000",
            "tauri://localhost",
            "http://[::1]:8080",
        ] {
            assert!(allowed(origin, "elsewhere.example", &list), "{origin}");
        }
    }

    /// Each is refused with a list that names `https://app.example`, and most without a list too.
    const FOREIGN: [&str; 42] = [
        "https://app.example.evil.example",
        "https://app.example.evil",
        "https://evil-app.example",
        "https://evilapp.example",
        "https://sub.app.example",
        "https://example",
        "https://app.exampl",
        "https://app.example.",
        "https://app..example",
        "https://.app.example",
        "https://app-example",
        "https://app.example@evil.example",
        "https://user@app.example",
        "https://user:password@app.example",
        "https://evil.example#app.example",
        "https://evil.example?app.example",
        "https://evil.example/app.example",
        "https://app.example/",
        "https://app.example/path",
        "https://app.example?",
        "https://app.example#",
        "https://app.example\\",
        "https://app.example:",
        "https://app.example:8443",
        "https://app.example:80",
        "https://app.example:+443",
        "https://app.example:65979",
        "https://app.example:443:443",
        "https://app.example:443x",
        "http://app.example",
        "http://app.example:443",
        "wss://app.example",
        "httpss://app.example",
        "https:app.example",
        "https:/app.example",
        "https:///app.example",
        "//app.example",
        "app.example",
        "https://app.example https://app.example",
        "https://app.example, https://app.example",
        "https://app.ex\u{e4}mple",
        "https://%61pp.example",
    ];

    #[test]
    fn a_list_admits_nothing_that_resembles_it() {
        for origin in
            FOREIGN.into_iter().chain(["null", "NULL", "", "*", "file://", "about:blank", "https://[app.example]"])
        {
            assert!(!allowed(origin, "app.example", &["https://app.example"]), "{origin}");
        }
    }

    #[test]
    fn without_a_list_only_the_same_host_and_port_is_admitted() {
        for (origin, host) in [
            ("http://app.example:8080", HOST),
            ("http://APP.example:8080", HOST),
            ("https://app.example:8080", HOST),
            ("https://app.example", "app.example"),
            ("https://app.example", "APP.EXAMPLE:443"),
            ("http://app.example", "app.example"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(allowed(origin, host, &[]), "{origin} at {host}");
        }
        for (origin, host) in [
            ("http://app.example", HOST),
            ("http://app.example:8081", HOST),
            ("http://evil.example:8080", HOST),
            ("http://app.example.:8080", HOST),
            ("https://app.example", "app.example:80"),
            ("tauri://localhost", "localhost"),
            ("ws://app.example:8080", HOST),
            ("null", HOST),
            ("null", "null"),
            ("", ""),
            ("http://a@b", "a@b"),
        ] {
            assert!(!allowed(origin, host, &[]), "{origin} at {host}");
        }
        for origin in FOREIGN {
            assert!(!allowed(origin, HOST, &[]), "{origin}");
        }
    }

    #[test]
    fn one_origin_or_none() {
        let origin = HeaderValue::from_static("https://app.example");
        let unreadable = HeaderValue::from_bytes(b"https://app.example\xff").unwrap();
        let list = ["https://app.example".to_owned()];
        assert!(origin_allowed([], HOST, &list));
        assert!(origin_allowed([], HOST, &[]));
        assert!(origin_allowed([&origin], HOST, &list));
        assert!(!origin_allowed([&origin, &origin], HOST, &list));
        assert!(!origin_allowed([&origin, &unreadable], HOST, &list));
        assert!(!origin_allowed([&unreadable], HOST, &list));
    }

    #[test]
    fn hosts_are_parsed_strictly() {
        assert_eq!(parse_host("App.Example.:80"), Some(("app.example.".into(), Some(80))));
        assert_eq!(parse_host("[2001:DB8:0::1]"), Some(("[2001:db8::1]".into(), None)));
        let long = "a".repeat(255);
        for host in [
            "",
            ".",
            ":80",
            "a:",
            "a:b",
            "a:-1",
            "a:65536",
            "a b",
            "a,b",
            "u@a",
            "a/b",
            "::1",
            "[::1",
            "[::1]80",
            "[a]",
            "[::1%25eth0]",
            "[]",
            "a..b",
            " a",
            "a\0",
            "[127.0.0.1]",
            &long,
        ] {
            assert_eq!(parse_host(host), None, "{host}");
        }
    }

    #[test]
    fn a_host_must_be_ours() {
        let names = ["app.example".to_owned(), "Chat.Example".to_owned()];
        for host in [
            "127.0.0.1:8080",
            "192.0.2.1",
            "[::1]",
            "[2001:db8::1]:443",
            "localhost",
            "LocalHost:1",
            "localhost.",
            "localhost.:80",
            "app.example",
            "APP.EXAMPLE:80",
            "app.example.",
            "chat.example",
        ] {
            assert!(host_allowed(host, &names), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "app.example.evil",
            "evil.app.example",
            "localhost.evil",
            "evil.localhost",
            "localhost..",
            "127.0.0.1.evil",
            "127.1",
            "0x7f000001",
            "2130706433",
            "256.0.0.1",
            "u@localhost",
            "localhost@evil",
            "localhost/",
            "localhost, evil",
        ] {
            assert!(!host_allowed(host, &names), "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), like in "(https?|ws)://[a-z0-9.:@\\[\\]/-]{0,30}") {
            let _ = (Origin::parse(&text), parse_host(&text), host_allowed(&text, &[]), Origin::parse(&like));
        }
    }
}
