//! Who may come in at a door of this machine: pages in its user's browser, and clients behind a proxy.

use crate::crowd::{dial_from, get, head, knock, loopback};
use crate::honest::Honest;
use crate::process::serve_command;
use crate::raw::Peer;
use crate::scene::Scene;
use crate::suite::{Figures, Row, Size};
use crate::support::{dial, exchange, upgrade_request};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub const ROWS: &[Row] = &[
    Row { name: "pages_of_other_origins", threat: "rebinding and cross-site on loopback", run: pages_of_other_origins },
    Row { name: "clients_behind_a_proxy", threat: "proxies", run: clients_behind_a_proxy },
];

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A server as it is without any setting, with every door open to this machine only, and pages that try them all. What
/// they send is what browsers let them send.
fn pages_of_other_origins(_: Size) -> Figures {
    let doors = ["--tcp-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut scene = Scene::serve(&doors);
    let honest = Honest::begin(scene.address);
    let (http, tcp, admin) = (scene.address, scene.tcp_address(), scene.admin_address());
    let asked = rebinding(http, admin) + cross_site(http, admin);
    let unfit = unfit_bodies(admin);
    let spoken = requests_as_lines(tcp);
    let online = get(admin, "/v1/accounts?limit=1000").to_string();
    assert!(online.contains("\"own\"") && !online.contains("\"page\""), "{online}");
    let peace = honest.finish();
    scene.stop();
    let mut scene = Scene::serve(&[&doors[..], &["--admin-key", KEY]].concat());
    let without_key = keyless(scene.admin_address());
    scene.stop();
    Figures::default()
        .with(&format!("{asked} requests of pages: all 403"))
        .with(&format!(
            "{unfit} bodies that are not said to be JSON: all 415; {without_key} requests without the key: all 401"
        ))
        .with(&format!("{spoken} requests to raw TCP: all 4501"))
        .with(&peace)
}

/// What a page can ask for: the doors of clients, and those of the operator.
fn requests(http: SocketAddr, admin: SocketAddr) -> Vec<(SocketAddr, String)> {
    let push = r#"{"all":true,"message":{"type":"notice","content":1}}"#;
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nORIGIN\r\n{body}"
        )
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: HOST\r\nORIGIN\r\n");
    let upgrade = |target: &str| upgrade_request(target, "ORIGIN").replace("Host: 127.0.0.1", "Host: HOST");
    let clients = ["/ws?user_id=page", "/ws?user_id=page&refuse=close", "/chat?userId=page"].map(upgrade);
    let operator = ["/", "/metrics", "/v1/accounts", "/v1/connections", "/v1/closed"].map(get);
    let acts = [post("/v1/push", push), post("/v1/disconnect", r#"{"account":"honest0"}"#)];
    let at = |address, requests: Vec<String>| requests.into_iter().map(move |request| (address, request));
    at(http, clients.into()).chain(at(admin, [&operator[..], &acts].concat())).collect()
}

/// Asks, and expects to be refused, by an answer that no page may read.
fn forbidden(address: SocketAddr, request: &str, host: &str, origin: &str) {
    let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
    let request = request.replace("HOST", host).replace("ORIGIN", &origin);
    let mut stream = dial(address);
    stream.write_all(request.as_bytes()).unwrap();
    let response = head(&mut stream);
    assert!(response.starts_with("HTTP/1.1 403 "), "{request}\n{response}");
    assert!(!response.to_lowercase().contains("access-control-"), "{response}");
}

/// A page has pointed its own name at this machine: the browser takes the server for the page's.
fn rebinding(http: SocketAddr, admin: SocketAddr) -> usize {
    let mut asked = 0;
    for (address, request) in requests(http, admin) {
        let port = address.port();
        for name in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "localhos",
            "127.1",
            "0x7f000001",
            "2130706433",
            "push",
            "evil.example.",
        ] {
            for host in [name.to_owned(), format!("{name}:{port}")] {
                // Also without Origin: browsers send none with some requests.
                forbidden(address, &request, &host, &format!("http://{host}"));
                forbidden(address, &request, &host, "");
                asked += 2;
            }
        }
    }
    asked
}

/// The page stays where it is, and asks elsewhere.
fn cross_site(http: SocketAddr, admin: SocketAddr) -> usize {
    let mut asked = 0;
    for (address, request) in requests(http, admin) {
        let (port, next) = (address.port(), address.port() ^ 1);
        let origins = [
            "http://evil.example".into(),
            "null".into(),
            "http://127.0.0.1".into(),
            format!("http://127.0.0.1:{next}"),
            format!("http://localhost:{port}"),
            format!("http://127.0.0.1.evil.example:{port}"),
            format!("http://evil.example:{port}"),
            format!("http://127.0.0.1:{port}/"),
            format!("http://127.0.0.1:{port}@evil.example"),
            format!("ws://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{port} http://127.0.0.1:{port}"),
            "file://".into(),
            "chrome-extension://abcdef".into(),
        ];
        for origin in &origins {
            forbidden(address, &request, &address.to_string(), origin);
        }
        forbidden(address, &request, &address.to_string(), &format!("http://{address}\r\nOrigin: http://{address}"));
        asked += origins.len() + 1;
    }
    let own = format!("Origin: http://{http}\r\n");
    let (status, _) =
        knock(dial_from(loopback(1), http, None), "/ws?user_id=own", &own.replace(&http.to_string(), "127.0.0.1"));
    assert_eq!(status, 101, "a page of the server's own");
    asked
}

/// What a form can send to another server without asking it first. Without an Origin: some of them have none.
fn unfit_bodies(admin: SocketAddr) -> usize {
    let types = [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: text/plain; application/json\r\n",
        "Content-Type: application/jsonp\r\n",
    ];
    let body = r#"{"all":true,"message":{"type":"notice","content":1}}"#;
    for content_type in types {
        let request = format!(
            "POST /v1/push HTTP/1.1\r\nHost: {admin}\r\n{content_type}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let response = exchange(admin, &request);
        assert!(response.starts_with("HTTP/1.1 415 "), "{request}\n{response}");
    }
    types.len()
}

/// A page can make its browser send a request to any port, with lines of its own behind it.
fn requests_as_lines(tcp: SocketAddr) -> usize {
    let lines =
        "{\"type\":\"hello\",\"user_id\":\"page\"}\n{\"type\":\"message\",\"to\":[\"honest0\"],\"content\":1}\n";
    let requests = [
        format!(
            "POST / HTTP/1.1\r\nHost: {tcp}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{lines}",
            lines.len()
        ),
        format!("GET / HTTP/1.1\r\nHost: {tcp}\r\nX: \r\n\r\n{lines}"),
        format!("PUT /{} HTTP/1.1\r\nHost: {tcp}\r\n\r\n{lines}", "x".repeat(4_000)),
        format!("OPTIONS * HTTP/1.1\r\n\r\n{lines}"),
        format!("\x16\x03\x01\x02\x00\n{lines}"),
    ];
    for request in &requests {
        let response = exchange(tcp, request);
        assert!(response.contains(r#""code":4501"#) && !response.contains("register"), "{request:?}: {response}");
    }
    requests.len()
}

/// Where there is a key, being on this machine is not enough.
fn keyless(admin: SocketAddr) -> usize {
    let all = requests(admin, admin);
    let asked: Vec<_> =
        all.iter().filter(|(_, request)| request.contains(" /v1/") || request.contains(" /metrics ")).collect();
    for (_, request) in &asked {
        let response = exchange(admin, request.replace("HOST", &admin.to_string()).replace("ORIGIN", ""));
        assert!(response.starts_with("HTTP/1.1 401 "), "{request}\n{response}");
    }
    asked.len()
}

const PROXY: IpAddr = loopback(9);
const ELSEWHERE: IpAddr = loopback(8);

/// A thousand clients come through one address, each with its own; one of them wants more than its share, and somebody
/// who is no proxy says that it were one. Once by X-Forwarded-For, once by the PROXY protocol.
fn clients_behind_a_proxy(size: Size) -> Figures {
    let (count, most) = size.of((100, 60), (1_000, 256));
    let mut figures = Figures::default();
    for (protocol, announce) in [("off", forwarded as Announce), ("v2", proxied)] {
        let most_text = most.to_string();
        let mut command = serve_command(&["--accepts-per-second", "0", "--max-per-address", &most_text]);
        command.args(["--trusted-proxy", &PROXY.to_string(), "--proxy-protocol", protocol]);
        let scene = Scene::start(command);
        let (honest, watch) = (Honest::begin(scene.address), scene.watch());
        let come = |source, client, n: usize| announced(scene.address, source, announce(client), n);
        let clients: Vec<_> = (0..count).map(|n| come(PROXY, nth(n), n)).collect();
        assert!(clients.iter().all(|(status, _)| *status == 101), "each has an address of its own");
        let greedy: Vec<_> = (0..most + 20).map(|n| come(PROXY, nth(count), n)).collect();
        let of_greedy = greedy.iter().filter(|(status, _)| *status == 101).count();
        assert_eq!(of_greedy, most, "one client behind the proxy");
        let forged: Vec<_> = (0..most + 20).map(|n| come(ELSEWHERE, nth(n), n)).collect();
        let of_forger = forged.iter().filter(|(status, _)| *status == 101).count();
        // Where proxies announce clients, anybody else who does so speaks no HTTP.
        assert_eq!(of_forger, if protocol == "off" { most } else { 0 }, "somebody who is no proxy");
        let (strain, peace) = (watch.end(), honest.finish());
        scene.stop();
        figures = figures
            .with(&format!("proxy protocol {protocol}: {count} clients behind one address let in, {of_greedy} of {} of one client, {of_forger} of {} who forge", greedy.len(), forged.len()))
            .with(&strain)
            .with(&peace);
    }
    figures
}

/// What stands in front of the request, and what is in its head.
type Announce = fn(Ipv4Addr) -> (Vec<u8>, String);

/// The client has written something itself, in front of what the proxy wrote.
fn forwarded(client: Ipv4Addr) -> (Vec<u8>, String) {
    let [.., last] = client.octets();
    (Vec::new(), format!("X-Forwarded-For: 192.0.2.{last}, {client}\r\n"))
}

/// The header of the PROXY protocol, and one of HTTP that does not count.
fn proxied(client: Ipv4Addr) -> (Vec<u8>, String) {
    let addresses = [&client.octets()[..], &[127, 0, 0, 1, 0, 80, 0, 80]].concat();
    (
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &addresses[..]].concat(),
        format!("X-Forwarded-For: 198.51.100.{}\r\n", client.octets()[3]),
    )
}

fn announced(address: SocketAddr, source: IpAddr, (first, headers): (Vec<u8>, String), n: usize) -> (u16, Peer) {
    let mut stream = dial_from(source, address, None);
    stream.write_all(&first).unwrap();
    knock(stream, &format!("/ws?user_id=from-{source}-{n}"), &headers)
}

fn nth(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + n as u32)
}
