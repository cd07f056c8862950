//! Where a client comes from: Host, Origin, what browsers are told instead of a response, proxies, the page.

use super::*;
use heartwire::Config;
use heartwire::config::ProxyProtocol;

/// The status of an upgrade with this value of `Host`.
fn status_for_host(server: &Server, host: &str) -> u16 {
    status_of(address(server), &upgrade_request("/ws?user_id=a", "").replace("127.0.0.1", host))
}

#[test]
fn a_host_is_an_address_localhost_or_a_configured_name() {
    let mut config = config();
    config.hosts = vec!["push.example".into()];
    let server = serve(config);
    for host in ["localhost", "LocalHost:8080", "127.0.0.1:1", "192.0.2.1", "[::1]", "[::1]:80", "push.example:443"] {
        assert_eq!(status_for_host(&server, host), 101, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "push.example.evil.example",
        "notpush.example",
        "127.0.0.1.evil.example",
        "user@localhost",
        "localhost:x",
        "::1",
        "",
        "h\u{f6}st",
    ] {
        assert_eq!(status_for_host(&server, host), 403, "{host}");
    }
}

#[test]
fn a_wrong_host_or_origin_is_a_plain_403_that_names_the_option() {
    let server = serve(config());
    for (headers, host, option) in [
        ("", "evil.example", "--host"),
        ("Origin: http://127.0.0.1\r\n", "evil.example", "--host"),
        ("Origin: http://evil.example\r\n", "127.0.0.1", "--origin"),
    ] {
        for target in ["/ws?user_id=a", "/ws?user_id=a&refuse=close"] {
            let request = upgrade_request(target, headers).replace("Host: 127.0.0.1", &format!("Host: {host}"));
            let response = Response::to(address(&server), request);
            let (_, reason, message) = response.error();
            assert_eq!((response.status, &*reason), (403, "permission_denied"), "{headers}");
            assert!(message.contains(option), "{message}");
        }
    }
}

/// Each is neither on the list below nor the same as the Host of the request.
const FOREIGN: [&str; 8] = [
    "null",
    "",
    "http://evil.example",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1:8080",
    "http://127.0.0.1/",
    "https://app.example.evil.example",
    "127.0.0.1",
];

/// The status of an upgrade with these values of `Origin`.
fn status_for_origins(server: &Server, origins: &[&str]) -> u16 {
    let headers: String = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
    status(address(server), "/ws?user_id=a", &headers)
}

#[test]
fn without_a_list_pages_of_the_same_host_may_connect() {
    let server = serve(config());
    assert_eq!(status_for_origins(&server, &[]), 101, "not a browser");
    assert_eq!(status_for_origins(&server, &["http://127.0.0.1"]), 101);
    assert_eq!(status_for_origins(&server, &["https://127.0.0.1"]), 101, "behind a proxy that ends TLS");
    assert_eq!(status_for_origins(&server, &["http://127.0.0.1", "http://127.0.0.1"]), 403, "two");
    for origin in FOREIGN.iter().chain(&["https://app.example"]) {
        assert_eq!(status_for_origins(&server, &[origin]), 403, "{origin}");
    }
}

#[test]
fn with_a_list_only_what_is_on_it_may_connect() {
    let mut config = config();
    config.origins = vec!["https://app.example".into(), "http://localhost:3000".into()];
    let server = serve(config);
    assert_eq!(status_for_origins(&server, &[]), 101, "not a browser");
    for origin in ["https://app.example", "https://APP.example:443", "http://localhost:3000"] {
        assert_eq!(status_for_origins(&server, &[origin]), 101, "{origin}");
    }
    assert_eq!(status_for_origins(&server, &["https://app.example", "https://app.example"]), 403, "two");
    for origin in FOREIGN.iter().chain(&["http://127.0.0.1", "http://app.example", "http://localhost"]) {
        assert_eq!(status_for_origins(&server, &[origin]), 403, "{origin}");
    }
}

#[test]
fn a_browser_is_told_by_a_close_code_why_it_may_not_come_in() {
    let server = gated();
    let page = "Origin: http://127.0.0.1\r\n";
    for (token, code) in [("wrong", 4500), ("banned", 4500), ("too-often", 4102), ("no-backend", 4100)] {
        let target = format!("/ws?token={token}");
        assert_eq!(close_code(address(&server), &target, page), code, "{token}");
        assert_eq!(close_code(address(&server), &format!("{target}&refuse=close"), ""), code, "{token}");
        let response = Response::to(address(&server), upgrade_request(&format!("{target}&refuse=http"), page));
        assert!(response.status >= 400, "{token}: refuse=http wins over Origin");
        response.error();
    }
    let nameless = serve(config());
    assert_eq!(close_code(address(&nameless), "/ws", page), 4501, "no user_id");
}

#[test]
fn the_reason_of_such_a_close_is_the_handlers() {
    let server = gated();
    let mut client = Client::open(address(&server), "/ws?token=banned&refuse=close", "");
    assert!(client.response.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "a real upgrade: {}", client.response);
    assert_eq!(client.close_frame(), (4500, "authentication failed: banned".into()));
    client.expect_end();
    assert_eq!(server.handle().counts().unwrap().opened, 0, "it never was a connection");
}

/// The addresses under which a server knows the connections of an account.
fn known_addresses(server: &Server, name: &str) -> Vec<SocketAddr> {
    let connections = server.handle().connections(account(name)).unwrap();
    connections.iter().map(|connection| connection.address).collect()
}

/// A server that believes proxies at `trusted`.
fn behind_proxies(trusted: &str) -> Config {
    let mut config = config();
    config.trusted_proxies = vec![trusted.parse().unwrap()];
    config
}

#[test]
fn x_forwarded_for_is_believed_from_trusted_proxies_only() {
    let forwarded = "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n";
    for (trusted, believed) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let server = serve(behind_proxies(trusted));
        let mut client = Client::open(address(&server), "/ws?user_id=alice", forwarded);
        client.json();
        let own = client.socket.get_ref().local_addr().unwrap();
        let expected = if believed { "192.0.2.1:0".parse().unwrap() } else { own };
        assert_eq!(known_addresses(&server, "alice"), [expected], "trusted: {trusted}");
    }
}

#[test]
fn a_limit_per_address_counts_clients_and_not_their_proxy() {
    let mut config = behind_proxies("127.0.0.1");
    config.max_per_address = Some(1);
    let server = serve(config);
    let from = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let _first = Client::open(address(&server), "/ws?user_id=a", &from("192.0.2.1"));
    assert_eq!(status(address(&server), "/ws?user_id=b", &from("192.0.2.1")), 429);
    assert_eq!(close_code(address(&server), "/ws?user_id=b&refuse=close", &from("192.0.2.1")), 4103);
    let _second = Client::open(address(&server), "/ws?user_id=b", &from("192.0.2.2"));
    let _proxies_own = [(); 3].map(|()| Client::connect(&server, "health"));
}

#[test]
fn a_limit_per_address_counts_whoever_is_not_trusted() {
    let mut config = config();
    config.max_per_address = Some(1);
    let server = serve(config);
    let _first = Client::connect(&server, "a");
    assert_eq!(status(address(&server), "/ws?user_id=b", "X-Forwarded-For: 192.0.2.1\r\n"), 429);
}

/// A header of the PROXY protocol, version 2, for a client at 192.0.2.1.
fn proxied(request: &str) -> Vec<u8> {
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x10\0\0\x50";
    [header, request.as_bytes()].concat()
}

#[test]
fn a_proxy_header_names_the_client() {
    let mut config = behind_proxies("127.0.0.1");
    config.proxy_protocol = ProxyProtocol::V2;
    let server = serve(config);
    let request = upgrade_request("/ws?user_id=alice", "X-Forwarded-For: 6.6.6.6\r\n");
    let mut stream = dial(address(&server));
    std::io::Write::write_all(&mut stream, &proxied(&request)).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(known_addresses(&server, "alice"), ["192.0.2.1:0".parse().unwrap()]);
    assert_eq!(Response::to(address(&server), &request).status, 400, "a trusted proxy must send one");
}

#[test]
fn a_proxy_header_from_elsewhere_is_no_request() {
    let mut config = behind_proxies("10.0.0.0/8");
    config.proxy_protocol = ProxyProtocol::V2;
    let server = serve(config);
    let request = upgrade_request("/ws?user_id=alice", "");
    assert_eq!(Response::to(address(&server), proxied(&request)).status, 400);
    assert_eq!(status_of(address(&server), &request), 101, "who is no proxy sends none");
}

#[test]
fn the_page_is_served_where_it_is_turned_on() {
    let get = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut config = config();
    config.page = true;
    config.path = "/push".into();
    let server = serve(config);
    let page = Response::to(address(&server), get);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
    assert!(page.body.contains("<html") && page.body.contains("content=\"/push\""));
    assert_eq!(Response::to(address(&server), get.replace("localhost", "evil.example")).status, 403);
    assert_eq!(Response::to(address(&server), get.replace("GET", "POST")).status, 405);
    assert_eq!(status(address(&server), "/push?user_id=a", ""), 101);
}

#[test]
fn the_client_for_browsers_is_served_beside_the_page() {
    let get = "GET /heartwire.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut config = config();
    config.page = true;
    let server = serve(config);
    let client = Response::to(address(&server), get);
    assert_eq!((client.status, client.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert_eq!(client.body, include_str!("../../../web/heartwire.js"));
    assert_eq!(client.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(client.header("content-security-policy"), Some("default-src 'none'"));
    assert_eq!(client.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(Response::to(address(&server), get.replace("localhost", "evil.example")).status, 403);
    assert_eq!(Response::to(address(&server), get.replace("GET", "POST")).status, 405);
    assert_eq!(Response::to(address(&server), get.replace(".js", ".css")).status, 404);
}

#[test]
fn there_is_no_page_unless_it_is_turned_on() {
    let server = serve(config());
    for path in ["/", "/heartwire.js"] {
        let response = Response::to(address(&server), format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!((response.status, response.error().1), (404, "not_found".into()), "{path}");
    }
}
