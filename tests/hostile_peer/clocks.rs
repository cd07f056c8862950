//! Time that does not pass as it should: a process that is stopped for a while, and a wall clock that jumps.

use crate::honest::Honest;
use crate::idlers::Idlers;
use crate::process::{Process, serve_command};
use crate::scene::{Scene, Watch};
use crate::suite::{Figures, Row, Size};
use crate::support::{Client, dial, upgrade_request};
use jsonwebtoken::{EncodingKey, Header, encode};
use rustix::process::Signal;
use serde_json::json;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const ROWS: &[Row] = &[
    Row { name: "stopped_process", threat: "stopped process", run: stopped_process },
    Row { name: "clock_step", threat: "a step of the wall clock", run: clock_step },
];

/// Stopped for less than the heartbeat's timeout, the server finds everybody where they were. Nobody is honest beside
/// it: for so long nothing is delivered to anyone.
fn stopped_process(size: Size) -> Figures {
    let (count, interval, timeout, stop) = size.of((100, 1_000, 4_000, 2_000), (1_000, 25_000, 60_000, 45_000));
    let [timeout, stop] = [timeout, stop].map(Duration::from_millis);
    let flags = heartbeat_flags(Duration::from_millis(interval), timeout);
    let scene = Scene::serve(&flags.each_ref().map(String::as_str));
    let idlers = Idlers::begin(scene.address, count);
    scene.signal(Signal::STOP);
    sleep(stop);
    scene.signal(Signal::CONT);
    // Whoever is to be dropped for it, is by then.
    sleep(timeout + Duration::from_millis(500));
    assert_eq!(idlers.dropped(), 0);
    let mut client = Client::open(scene.address, "/ws?user_id=1000000", "");
    assert_eq!(client.json()["type"], "register");
    assert_eq!(client.ask(json!({ "type": "message", "to": ["1"], "content": "awake?" }))["delivered"], 1);
    idlers.end();
    drop(client);
    scene.stop();
    Figures::default().with(&format!("stopped for {stop:?} of {timeout:?}: 0 of {count} silent clients dropped"))
}

/// An hour forth, an hour back, and right again: each for longer than the heartbeat's timeout.
fn clock_step(size: Size) -> Figures {
    let Some(mut clock) = WallClock::new() else { return Figures::not_run("libfaketime") };
    let (count, interval, timeout) = size.of((100, 500, 2_500), (1_000, 10_000, 25_000));
    let timeout = Duration::from_millis(timeout);
    let flags = heartbeat_flags(Duration::from_millis(interval), timeout);
    let flags = flags.each_ref().map(String::as_str);
    let mut plain = clock.serve(&[&["--max-per-address", "0"], &flags[..]].concat());
    let mut tokens = Tokens::serve(&clock);
    let (watch, idlers) = (Watch::begin(plain.id()), Idlers::begin(plain.address(), count));
    let honest = Honest::begin(plain.address());
    for hours in [1, -1, 0] {
        clock.step(hours);
        sleep(timeout + timeout / 4);
        assert_eq!(idlers.dropped(), 0, "{hours} h");
        let off = time_of_a_message(plain.address()) as i64 - now().as_millis() as i64;
        assert!((off - hours * 3_600_000).abs() < 60_000, "messages bear the time of the wall: {hours} h, {off} ms");
        tokens.assert_expiry(hours);
    }
    let peace = honest.finish();
    let strain = watch.end();
    idlers.end();
    drop(tokens);
    plain.stop();
    let figure = format!("the clock 1 h ahead, 1 h behind, and right, each for {timeout:?}: 0 of {count} dropped");
    Figures::default().with(&figure).with(&peace).with(&strain)
}

fn heartbeat_flags(interval: Duration, timeout: Duration) -> [String; 4] {
    let ms = |time: Duration| format!("{}ms", time.as_millis());
    ["--heartbeat-interval".into(), ms(interval), "--heartbeat-timeout".into(), ms(timeout)]
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// When the server says that it received a message, in milliseconds since 1970.
fn time_of_a_message(address: SocketAddr) -> u64 {
    let [mut sender, mut recipient] = ["sender", "recipient"].map(|name| {
        let mut client = Client::open(address, &format!("/ws?user_id={name}"), "");
        client.json();
        client
    });
    sender.ask(json!({ "type": "message", "to": ["recipient"], "content": null }));
    recipient.json()["time"].as_u64().unwrap()
}

/// The wall clock of the servers that it starts. `libfaketime` stands between them and the system's; the monotonic clock
/// is left as it is.
struct WallClock {
    library: PathBuf,
    /// How far it is off.
    file: PathBuf,
}

impl WallClock {
    fn new() -> Option<Self> {
        let folders = std::fs::read_dir("/usr/lib").ok()?;
        let libraries = folders.flatten().map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let library = libraries.into_iter().find(|library| library.exists())?;
        let mut clock = Self { library, file: own_file("clock") };
        clock.step(0);
        Some(clock)
    }

    fn serve(&self, flags: &[&str]) -> Process {
        let mut command = serve_command(flags);
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Process::start(command)
    }

    /// So many hours ahead of the system's clock.
    fn step(&mut self, hours: i64) {
        // Whole at any moment: each reading of the clock reads the file.
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{hours:+}h\n")).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// A server with JSON Web Tokens, and a client whose token expires in half an hour.
struct Tokens {
    server: Process,
    key_file: PathBuf,
    token: String,
    connected: Client,
}

const KEY: &str = "a secret of the tests that is long enough for HS256";
const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);

impl Tokens {
    fn serve(clock: &WallClock) -> Self {
        let key_file = own_file("jwt-key");
        std::fs::write(&key_file, KEY).unwrap();
        let mut server = clock.serve(&["--auth", "jwt", "--jwt-key-file", key_file.to_str().unwrap()]);
        let token = token(now() + HALF_AN_HOUR);
        let mut connected = Client::open(server.address(), &format!("/ws?token={token}"), "");
        connected.json();
        Self { server, key_file, token, connected }
    }

    /// Who comes is judged by the wall clock; who is there has the time that was left when it came.
    fn assert_expiry(&mut self, hours: i64) {
        assert_eq!(self.connected.ask(json!({ "type": "presence", "accounts": [] }))["type"], "presence");
        let fresh = token(Duration::from_secs((now().as_secs() as i64 + hours * 3_600 + 1_800) as u64));
        for (token, is_valid) in [(&self.token, hours < 1), (&fresh, true)] {
            let status = status(self.server.address(), token);
            assert_eq!(status, if is_valid { "101" } else { "401" }, "{hours} h");
        }
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.key_file);
    }
}

fn token(expires: Duration) -> String {
    let claims = json!({ "sub": "early", "exp": expires.as_secs() });
    encode(&Header::default(), &claims, &EncodingKey::from_secret(KEY.as_bytes())).unwrap()
}

/// The status with which who has this token is let in or refused.
fn status(address: SocketAddr, token: &str) -> String {
    let mut stream = dial(address);
    stream.write_all(upgrade_request(&format!("/ws?token={token}"), "").as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    String::from_utf8_lossy(&start[9..]).into_owned()
}

fn own_file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("heartwire-hostile-{name}-{}", std::process::id()))
}
