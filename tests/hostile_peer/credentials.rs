//! Who has no right to come in: tokens and keys that are guessed, and JSON Web Tokens that somebody has made up.

use crate::crowd::{dial_from, knock, loopback, status};
use crate::honest::Honest;
use crate::jwt::{Algorithm, KeyRing};
use crate::scene::Scene;
use crate::suite::{Figures, Row, Size};
use crate::support::{Client, account, eventually};
use heartwire::authenticators::TokenFile;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[
    Row { name: "token_probing", threat: "token probing", run: token_probing },
    Row { name: "bad_json_web_tokens", threat: "JWT", run: bad_json_web_tokens },
];

const KEY: &str = "0123456789abcdef0123456789abcdef";
const GUESSES_PER_SECOND: u32 = 100;
/// What one address may have wrong: ten at once, and one a second.
const BURST: u64 = 10;

/// A hundred guesses a second at each door. All but a few must be refused unseen, and nobody else must feel it.
fn token_probing(size: Size) -> Figures {
    let time = Duration::from_secs(size.of(3, 20));
    let folder = Folder::new("probing");
    let file = folder.join("tokens");
    let token_of = |name: &str| TokenFile::add(&file, &account(name)).unwrap();
    let tokens: Vec<String> = (0..crate::honest::COUNT).map(|n| token_of(&format!("honest{n}"))).collect();
    let late = token_of("late");
    let doors = ["--tcp-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--admin-key", KEY];
    let auth = ["--auth", "token-file", "--token-file", file.to_str().unwrap()];
    let mut scene = Scene::serve(&[&doors[..], &auth].concat());
    let (http, tcp, admin) = (scene.address, scene.tcp_address(), scene.admin_address());
    let honest = Honest::begin_with(|name| {
        let token = &tokens[name.strip_prefix("honest").unwrap().parse::<usize>().unwrap()];
        Client::open(http, &format!("/ws?token={token}"), "")
    });
    let watch = scene.watch();
    let guesses = scope(|scope| {
        let by_upgrade = scope.spawn(|| guess(time, |token| upgrade(loopback(1), http, token)));
        let by_hello = scope.spawn(|| guess(time, |token| hello(loopback(2), tcp, token)));
        let by_key = scope.spawn(|| guess(time, |key| list_accounts(loopback(3), admin, key)));
        sleep(time / 2);
        assert_eq!(upgrade(loopback(4), http, &late), 101, "somebody at another address");
        // Now and then it is the right one that finds what came back since the last guess.
        let refused = (0..20).filter(|_| upgrade(loopback(1), http, &late) == 429).count();
        assert!(refused > 10, "where guesses come from, also the right one is not looked at: {refused} of 20");
        [by_upgrade, by_hello, by_key].map(|guesses| guesses.join().unwrap())
    });
    eventually("the right token is looked at again", || upgrade(loopback(1), http, &late) == 101);
    let (strain, peace) = (watch.end(), honest.finish());
    let log = scene.stop();
    assert!(
        !log.iter().any(|line| line.contains("guess-") || tokens.iter().any(|token| line.contains(token))),
        "{log:?}"
    );
    let doors = ["upgrade", "hello", "admin"].iter().zip(guesses);
    let looked_at =
        doors.map(|(door, (judged, all))| format!("{door} {judged} of {all}")).collect::<Vec<_>>().join(", ");
    Figures::default().with(&format!("guesses that were looked at in {time:?}: {looked_at}")).with(&strain).with(&peace)
}

/// How many guesses were looked at, which must be few, and how many there were.
fn guess(time: Duration, ask: impl Fn(&str) -> u16) -> (u64, u64) {
    let begun = Instant::now();
    let (mut judged, mut all) = (0, 0);
    while begun.elapsed() < time {
        match ask(&format!("guess-{all}")) {
            401 => judged += 1,
            429 => {}
            other => panic!("answered {other}"),
        }
        all += 1;
        sleep(
            (begun + Duration::from_secs(1) * all as u32 / GUESSES_PER_SECOND)
                .saturating_duration_since(Instant::now()),
        );
    }
    let permitted = BURST + begun.elapsed().as_secs() + 1;
    assert!(judged <= permitted, "{judged} of {all} were looked at, {permitted} may be");
    assert!(all > 2 * permitted, "{all} guesses are too few to say that {permitted} may be looked at");
    assert!(judged >= BURST, "{judged}: the first ones are looked at");
    (judged, all)
}

fn upgrade(source: IpAddr, address: SocketAddr, token: &str) -> u16 {
    knock(dial_from(source, address, None), &format!("/ws?token={token}"), "").0
}

/// The status that stands for the code of the last line, where there is no HTTP.
fn hello(source: IpAddr, address: SocketAddr, token: &str) -> u16 {
    let mut stream = dial_from(source, address, None);
    writeln!(stream, r#"{{"type":"hello","token":"{token}"}}"#).unwrap();
    let mut line = [0; 64];
    let read = stream.read(&mut line).unwrap();
    match std::str::from_utf8(&line[..read]).unwrap() {
        line if line.contains(r#""code":4500"#) => 401,
        line if line.contains(r#""code":4102"#) => 429,
        line if line.contains(r#""register""#) => 101,
        line => panic!("{line}"),
    }
}

fn list_accounts(source: IpAddr, address: SocketAddr, key: &str) -> u16 {
    let mut stream = dial_from(source, address, None);
    let request = format!("GET /v1/accounts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    status(&mut stream)
}

/// Tokens with another algorithm, another key, claims that are missing or mean something else: for each algorithm that a
/// server may be told to accept, in each place where a token may stand.
fn bad_json_web_tokens(size: Size) -> Figures {
    let folder = Folder::new("jwt");
    let keys = KeyRing::make(&folder);
    let (mut tokens, mut attempts) = (0, 0);
    let mut peace = Vec::new();
    for algorithm in Algorithm::ALL {
        let key_file = keys.verifying(algorithm);
        let name = algorithm.to_string();
        let auth = ["--auth", "jwt", "--jwt-algorithm", &name, "--jwt-key-file", key_file.to_str().unwrap()];
        let claims = ["--jwt-audience", "chat", "--jwt-issuer", "issuer", "--auth-failures", "0"];
        let mut scene = Scene::serve(&[&auth[..], &claims, &["--tcp-listen", "127.0.0.1:0"]].concat());
        let (http, tcp) = (scene.address, scene.tcp_address());
        let good = |name: &str| keys.good(algorithm, name);
        let honest = Honest::begin_with(|name| Client::open(http, &format!("/ws?token={}", good(name)), ""));
        let here = loopback(1);
        let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
        let offer = |token: &str| format!("Sec-WebSocket-Protocol: bearer.{token}\r\n");
        let in_header = |token: &str| knock(dial_from(here, http, None), "/ws", &bearer(token)).0;
        let in_offer = |token: &str| knock(dial_from(here, http, None), "/ws", &offer(token)).0;
        let in_query = |token: &str| upgrade(here, http, token);
        let in_hello = |token: &str| hello(here, tcp, token);
        let places: [&dyn Fn(&str) -> u16; 4] = [&in_header, &in_query, &in_hello, &in_offer];
        for place in places {
            assert_eq!(place(&good("alice")), 101, "{algorithm}");
        }
        let bad = keys.bad(algorithm);
        for (what, token) in &bad {
            for place in &places[..size.of(1, places.len())] {
                assert_eq!(place(token), 401, "{algorithm}: {what}: {token}");
                attempts += 1;
            }
        }
        tokens += bad.len();
        assert_eq!(in_header(&good("alice")), 101, "{algorithm}");
        peace.push(honest.finish());
        scene.stop();
    }
    assert!(tokens >= 200, "{tokens}");
    let worst = peace.into_iter().max_by_key(|peace| peace.p99).unwrap();
    Figures::default().with(&format!("none of {tokens} tokens passes in {attempts} attempts")).with(&worst)
}

/// A folder that is gone with the row, also when that fails.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("heartwire-hostile-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
