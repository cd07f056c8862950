//! Requests that dribble, are too large, or come from a foreign page.

use crate::crowd::{self, dial_from, loopback};
use crate::honest::{self, Honest, P99_BOUND, percentiles};
use crate::scene::Scene;
use crate::suite::{Figures, Row, Size};
use crate::support::{Client, Patience, eventually, upgrade_request};
use crate::swarm::{Attacker, GLANCE, knock, look, span, until_over};
use crate::vitals::Vitals;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[
    Row { name: "slow_handshake", threat: "slow handshake", run: slow_handshake },
    Row { name: "header_bomb", threat: "header bomb", run: header_bomb },
    Row { name: "cross_site_connect", threat: "cross-site connect", run: cross_site_connect },
];

const SECOND: Duration = Duration::from_secs(1);

/// Half-open handshakes that say a byte a second, each of which comes back after it was closed; meanwhile others arrive.
fn slow_handshake(size: Size) -> Figures {
    let (count, deadline, time) = size.of((200, 1, 3 * SECOND), (2_000, 5, 30 * SECOND));
    let deadline_flag = format!("{deadline}s");
    let scene = Scene::serve(&["--handshake-deadline", &deadline_flag]);
    let (honest, watch) = (Honest::begin(scene.address), scene.watch());
    let mut dribble = Dribble::begin(scene.address, count);
    let mut arrivals = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        dribble.go_on(true);
        arrivals.push(arrive(scene.address, arrivals.len()));
        sleep(GLANCE);
    }
    let patience = Patience::begin();
    loop {
        let came_back = dribble.came() >= 2 * count;
        if came_back && dribble.is_over() {
            break;
        }
        patience.assert("the end of every handshake");
        dribble.go_on(!came_back);
        sleep(GLANCE);
    }
    let (strain, peace) = (watch.end(), honest.finish());
    let closed = dribble.closed;
    let bound = SECOND * (deadline + size.of(5, 1));
    assert!(closed.iter().all(|lasted| *lasted <= bound), "{}", span(closed));
    let [slow] = percentiles(&mut arrivals, [99]);
    assert!(slow < P99_BOUND, "{slow:?}");
    assert!(strain.memory_bytes < 100 << 20, "{strain}");
    scene.stop();
    Figures::default()
        .with(&format!("{} closed with 408 after {}", closed.len(), span(closed.iter().copied())))
        .with(&format!("99% of {} others arrived within {:.0} ms", arrivals.len(), slow.as_secs_f64() * 1_000.0))
        .with(&their_share(size))
        .with(&strain)
        .with(&peace)
}

/// A client connects, upgrades and is registered; how long that took.
fn arrive(address: SocketAddr, n: usize) -> Duration {
    let begun = Instant::now();
    assert_eq!(Client::open(address, &format!("/ws?user_id=arrival{n}"), "").json()["type"], "register");
    begun.elapsed()
}

/// Peers that say a byte of their request a second.
struct Dribble {
    address: SocketAddr,
    peers: Vec<Attacker>,
    /// Those that were closed, until they come back.
    away: Vec<Instant>,
    /// How long each was borne with.
    closed: Vec<Duration>,
    next_byte: Instant,
    request: String,
}

impl Dribble {
    fn begin(address: SocketAddr, count: usize) -> Self {
        let peers = (0..count).map(|_| Attacker::dial(address)).collect();
        let request = upgrade_request("/ws?user_id=slow", "");
        Self { address, peers, away: Vec::new(), closed: Vec::new(), next_byte: Instant::now(), request }
    }

    fn go_on(&mut self, come_back: bool) {
        let now = Instant::now();
        let is_due = now >= self.next_byte;
        if is_due {
            self.next_byte = now + SECOND;
        }
        look(&mut self.peers, |peer| peer.say(self.request.as_bytes(), usize::from(is_due)));
        let (over, open) = std::mem::take(&mut self.peers).into_iter().partition(Attacker::is_over);
        self.peers = open;
        for peer in over {
            let heard = String::from_utf8_lossy(&peer.heard);
            assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
            self.closed.extend(peer.lasted);
            // A moment for the server to join their threads: what it refuses must be somebody else's doing.
            self.away.push(now + SECOND / 2);
        }
        let back = self.away.extract_if(.., |at| *at <= now).filter(|_| come_back).count();
        self.peers.extend((0..back).map(|_| Attacker::dial(self.address)));
    }

    /// How often one of them has connected.
    fn came(&self) -> usize {
        self.closed.len() + self.peers.len()
    }

    fn is_over(&self) -> bool {
        self.peers.is_empty()
    }
}

/// A quarter of the places is all that strangers get; those who are in do not notice.
fn their_share(size: Size) -> String {
    let places = size.of(400, 4_000);
    let (share, beyond) = (places / 4, 50);
    let places = places.to_string();
    let scene = Scene::serve(&["--max-connections", &places, "--handshake-deadline", "60s"]);
    let threads = || Vitals::of(scene.id()).threads;
    let without = threads();
    let honest = Honest::begin(scene.address);
    eventually("the honest ones are no strangers", || threads() == without + honest::COUNT);
    let mut strangers: Vec<Attacker> = (0..share).map(|_| Attacker::dial(scene.address)).collect();
    eventually("each stranger has its place", || threads() == without + honest::COUNT + share);
    let mut excess: Vec<Attacker> = (0..beyond).map(|_| Attacker::dial(scene.address)).collect();
    until_over(&mut excess, |_| {});
    for peer in excess {
        assert!(peer.heard.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&peer.heard));
    }
    look(&mut strangers, |_| {});
    assert!(!strangers.iter().any(Attacker::is_over), "a place is kept until the deadline");
    drop(strangers);
    eventually("there is room again", || {
        crowd::knock(dial_from(loopback(1), scene.address, None), "/ws?user_id=newcomer", "").0 == 101
    });
    honest.finish();
    scene.stop();
    format!("of {places} places {share} for strangers, the next {beyond} refused")
}

/// Heads of 64 KiB, and of 5,000 headers.
fn header_bomb(size: Size) -> Figures {
    let count = size.of(100, 1_000);
    let start = "GET /ws?user_id=bomb HTTP/1.1\r\nHost: 127.0.0.1\r\n";
    let bombs =
        [format!("{start}X: {}\r\n\r\n", "x".repeat(64 << 10)), format!("{start}{}\r\n", "X: 1\r\n".repeat(5_000))];
    let scene = Scene::serve(&[]);
    let (honest, watch) = (Honest::begin(scene.address), scene.watch());
    let mut longest = Duration::ZERO;
    for bomb in &bombs {
        let mut peers: Vec<Attacker> = (0..count).map(|_| Attacker::dial(scene.address)).collect();
        until_over(&mut peers, |peer| peer.say(bomb.as_bytes(), bomb.len()));
        for peer in &peers {
            let heard = String::from_utf8_lossy(&peer.heard);
            assert!(heard.starts_with("HTTP/1.1 431 ") && heard.ends_with('}') && !peer.reset, "{heard:?}");
        }
        longest = peers.iter().filter_map(|peer| peer.lasted).fold(longest, Duration::max);
    }
    let (strain, peace) = (watch.end(), honest.finish());
    assert!(strain.cpu < SECOND, "{strain}");
    scene.stop();
    let all = 2 * count;
    Figures::default()
        .with(&format!("{all} bombs: {all} × 431, the last after {:.1} s", longest.as_secs_f64()))
        .with(&strain)
        .with(&peace)
}

/// Pages of other origins, on servers that list the origins that may connect, and that go by `Host`.
fn cross_site_connect(size: Size) -> Figures {
    let (rounds, many) = size.of((1, 200), (50, 5_000));
    let listing = Scene::serve(&["--origin", "https://app.example,http://localhost:3000"]);
    let by_host = Scene::serve(&[]);
    let honest = Honest::begin(listing.address);
    let mut refused = 0;
    for (scene, scheme, host, same) in [
        (&listing, "https", "app.example", ["https://APP.example", "https://app.example:443", "http://localhost:3000"]),
        (&by_host, "http", "127.0.0.1", ["http://127.0.0.1", "http://127.0.0.1:80", "HTTP://127.0.0.1"]),
    ] {
        for origin in same {
            assert_eq!(status(scene.address, "/ws?user_id=a", &format!("Origin: {origin}\r\n")), 101, "{origin}");
        }
        for headers in foreign(scheme, host).iter().cycle().take(20 * rounds) {
            for target in ["/ws?user_id=a", "/ws?user_id=a&refuse=close", "/chat?userId=1"] {
                assert_eq!(status(scene.address, target, headers), 403, "{target} {headers}");
                refused += 1;
            }
        }
    }
    for n in 0..many {
        assert_eq!(status(listing.address, "/ws?user_id=a", &format!("Origin: https://{n}.example\r\n")), 403);
    }
    let peace = honest.finish();
    by_host.stop();
    let said = listing.stop().iter().filter(|line| line.contains("refused a page of origin")).count();
    assert!((20..=200).contains(&said), "each value is logged once a minute, and not all that there are: {said}");
    Figures::default()
        .with(&format!("20 variants on two servers and three targets: {refused} × 403"))
        .with(&format!("{many} further origins: {many} × 403, {said} lines of log"))
        .with(&peace)
}

/// The headers of twenty pages that are not of this origin, though some look like it.
fn foreign(scheme: &str, host: &str) -> [String; 20] {
    let own = format!("{scheme}://{host}");
    [
        format!("{own}.evil.example"),
        format!("{scheme}://evil-{host}"),
        format!("{scheme}://evil.{host}"),
        format!("{own}@evil.example"),
        format!("{scheme}://user@{host}"),
        format!("{scheme}://user:password@{host}"),
        format!("{scheme}://evil.example/{host}"),
        format!("{scheme}://evil.example#{host}"),
        format!("{scheme}://evil.example?{host}"),
        format!("{own}/"),
        format!("{own}:8443"),
        format!("{own}:+443"),
        format!("{own}:"),
        format!("file://{host}"),
        format!("//{host}"),
        host.to_owned(),
        "null".to_owned(),
        "NULL".to_owned(),
        format!("{own}, {own}"),
        format!("{own}\r\nOrigin: {own}"),
    ]
    .map(|origin| format!("Origin: {origin}\r\n"))
}

/// The status of the answer to an upgrade.
fn status(address: SocketAddr, target: &str, headers: &str) -> u16 {
    let response = knock(address, &upgrade_request(target, headers));
    response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{response}"))
}
