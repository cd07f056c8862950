//! `heartwire why`: for each reason a scripted connection that really ends so, and what is said of it.

mod ends;
mod refusals;

use crate::process::{Process, heartwire, serve_command};
use crate::raw::Peer;
use crate::support::*;
use heartwire::config::AdminConfig;
use heartwire::{CloseReason, Config, Connection, Handler, Message, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Output;

/// A script, and what is said of it.
struct Scene {
    /// The reason's name.
    reason: &'static str,
    /// The server's flags, by which it comes to that soon.
    flags: &'static str,
    /// Comes as alice, unless it never gets as far as to say so, and ends. What it returns stays open.
    act: fn(&Stage) -> Vec<TcpStream>,
    /// Of whom it is asked why: alice, or everybody.
    of: &'static [&'static str],
    /// Words of the cause, and of the remedy.
    cause: &'static str,
    remedy: &'static str,
}

/// Of an account that came in, or said who it was.
const ALICE: &[&str] = &["alice"];
/// Of whoever came no further than the door.
const ALL: &[&str] = &[];

/// A server to come to.
struct Stage {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Stage {
    fn new(flags: &str) -> Self {
        let flags: Vec<_> =
            ["--admin-listen", "127.0.0.1:0", "--linger", "100ms"].into_iter().chain(flags.split(' ')).collect();
        let flags: Vec<_> = flags.into_iter().filter(|flag| !flag.is_empty()).collect();
        let mut process = Process::start(serve_command(&flags));
        let (address, admin) = (process.address(), process.admin_address());
        Self { process, address, admin }
    }

    /// Comes in as alice.
    fn alice(&self) -> Peer {
        self.enter("alice")
    }

    fn enter(&self, query: &str) -> Peer {
        let mut client = Client::open(self.address, &format!("/ws?user_id={query}"), "");
        assert_eq!(client.json()["type"], "register");
        Peer { stream: client.socket.into_inner() }
    }

    /// What a request for a WebSocket is answered by, up to the end.
    fn ask(&self, target: &str, headers: &str) -> String {
        exchange(self.address, upgrade_request(target, headers))
    }

    fn post(&self, path: &str, body: &Value) {
        post(self.admin, path, body);
    }

    /// Pushes as much as a request may hold to alice, and says how many connections she had.
    fn push(&self) -> Value {
        let message = json!({ "type": "much", "content": "x".repeat(900 << 10) });
        post(self.admin, "/v1/push", &json!({ "accounts": ["alice"], "message": message }))["connections"].clone()
    }
}

/// `heartwire why` of the server whose HTTP interface is there.
fn why(admin: SocketAddr, arguments: &[&str]) -> Output {
    heartwire(&[&["why", "--admin", &format!("http://{admin}")], arguments].concat()).output().unwrap()
}

/// What it prints, once it holds all of these: an end is known only when its connection's thread has ended.
#[track_caller]
fn eventually_why(admin: SocketAddr, arguments: &[&str], words: &[&str]) -> String {
    let mut printed = String::new();
    let patience = Patience::begin();
    while !words.iter().all(|words| printed.contains(words)) {
        patience.assert(&format!("{words:?} in why {arguments:?}, which said\n{printed}"));
        let output = why(admin, arguments);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        printed = String::from_utf8(output.stdout).unwrap();
    }
    printed
}

#[track_caller]
fn play(scene: &Scene) {
    let stage = Stage::new(scene.flags);
    let open = (scene.act)(&stage);
    let arguments = [scene.of, &["--reason", scene.reason]].concat();
    eventually_why(stage.admin, &arguments, &[scene.cause, scene.remedy]);
    drop(open);
    stage.process.stop();
}

#[test]
fn each_end_is_named_with_its_cause_and_its_remedy() {
    ends::SCENES.iter().for_each(play);
}

#[test]
fn each_refusal_is_named_with_its_cause_and_its_remedy() {
    refusals::SCENES.iter().for_each(play);
}

/// A program that panics at one word, and closes at another with a code of its own.
struct Moody;

impl Handler for Moody {
    fn message(&self, connection: &Connection, message: &mut Message<'_>) -> Verdict {
        match message.content() {
            r#""panic""# => panic!("asked to"),
            _ => connection.close(CloseReason::application(4321, "your turn is over").unwrap()),
        }
        Verdict::Consume
    }
}

/// What only a program with a handler of its own can cause.
const OF_A_PROGRAM: [(&str, &str, &str, &str); 2] = [
    ("panic", "internal_error", "a handler of the program that embeds it panicked", "\"panicked at\" names the place"),
    ("close", "application", "with a code of their own", "do not come back"),
];

#[test]
fn a_program_of_ones_own_is_told_from_the_server() {
    for (word, reason, cause, remedy) in OF_A_PROGRAM {
        let server = serve_with(configured(with_admin), Moody);
        let mut alice = Peer::connect(&server, "alice");
        alice.send(crate::raw::text(&json!({ "type": "message", "to": ["bob"], "content": word })));
        alice.ending();
        drop(alice);
        eventually_why(server.local_admin_addrs()[0], &["alice", "--reason", reason], &[cause, remedy]);
    }
}

fn with_admin(config: &mut Config) {
    config.admin = AdminConfig::default();
    config.admin.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
}

/// The names as `CloseKind::name` has them: whoever adds one adds a scene.
#[test]
fn every_reason_has_its_scene() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol/close.rs")).unwrap();
    let (_, names) = source.split_once("pub fn name(self)").unwrap();
    let (names, _) = names.split_once("\n    }\n").unwrap();
    let names: BTreeSet<_> = names.split('"').skip(1).step_by(2).collect();
    let scripted = ends::SCENES.iter().chain(refusals::SCENES).map(|scene| scene.reason);
    let scripted: BTreeSet<_> = scripted.chain(OF_A_PROGRAM.iter().map(|(_, reason, ..)| *reason)).collect();
    assert!(names.len() > 20, "{names:?}");
    assert_eq!(scripted, names);
}

/// The flags of the words between them are those of the command line.
#[test]
fn every_flag_that_is_named_exists() {
    let help = |command| String::from_utf8(heartwire(&[command, "--help"]).output().unwrap().stdout).unwrap();
    let helps = ["serve", "token", "why"].map(help).concat();
    let mut named = BTreeSet::new();
    for file in ["explain/closed.rs", "explain/refused.rs", "explain/silence.rs"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/record").join(file);
        let source = fs::read_to_string(path).unwrap();
        let flags =
            source.split("--").skip(1).map(|rest| rest.split(|c: char| c != '-' && !c.is_ascii_lowercase()).next());
        named.extend(flags.flatten().filter(|flag| !flag.is_empty()).map(str::to_owned));
    }
    assert!(named.len() > 25, "{named:?}");
    for flag in named {
        let is_there = helps.lines().any(|line| {
            let words = line.trim_start().strip_prefix("--").unwrap_or_default();
            words.split([' ', '[']).next() == Some(&flag)
        });
        assert!(is_there, "there is no --{flag}");
    }
}

#[test]
fn of_an_account_it_says_whether_it_is_there_and_folds_repeats() {
    let stage = Stage::new("--single replace");
    let mut first = stage.enter("alice&device=a");
    let mut second = stage.enter("alice&device=b");
    first.ending();
    drop(first);
    eventually_why(stage.admin, &["alice"], &[", device a\n"]);
    let mut third = stage.alice();
    second.ending();
    drop(second);
    let printed = eventually_why(stage.admin, &["alice"], &["The same 2 times since "]);
    assert!(printed.starts_with("alice is connected:\n  since 20"), "{printed}");
    assert!(printed.contains("\n2 ends of its connections, the newest first:\n") && printed.contains(", device b\n"));
    assert!(printed.contains("\n  4505 replaced by a newer connection\n"), "{printed}");
    third.send(crate::raw::close(1000));
    third.ending();
    drop(third);
    let printed =
        eventually_why(stage.admin, &["alice"], &["alice is not connected.\n", "\n  1000 closed by the peer\n"]);
    assert!(printed.contains("3 ends of its connections"), "{printed}");
    let summary = eventually_why(stage.admin, &[], &["2 × replaced (4505)", "1 × peer_closed (1000)"]);
    assert!(summary.contains("3 connections ended since ") && summary.contains("Accounts: alice 2\n"), "{summary}");
    let only = |arguments: &[&str]| String::from_utf8(why(stage.admin, arguments).stdout).unwrap();
    assert!(!only(&["alice", "--reason", "4505"]).contains("1000"));
    assert!(only(&["alice", "--limit", "2"]).contains("2 ends"));
    assert!(only(&["alice", "--since", "1h"]).contains("3 ends"));
    assert!(only(&["--since", "0s"]).starts_with("No end of a connection"));
}

#[test]
fn in_json_it_prints_what_the_server_answers() {
    let stage = Stage::new("");
    let mut gone = stage.alice();
    let _here = stage.alice();
    gone.send(crate::raw::close(1001));
    gone.ending();
    drop(gone);
    let printed = eventually_why(stage.admin, &["alice", "--json"], &["\"reason\":\"peer_closed\""]);
    assert_eq!(printed.lines().count(), 1, "{printed}");
    let answer: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((answer["closed"][0]["code"].clone(), answer["refused"].clone()), (json!(1001), json!([])));
    assert_eq!(answer["connections"][0]["account"], "alice");
}

#[test]
fn nothing_known_is_exit_code_1() {
    let stage = Stage::new("");
    let outcome = |arguments: &[&str]| {
        let output = why(stage.admin, arguments);
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, printed, _) = outcome(&["mal&lory/?=+ \u{fc}"]);
    assert_eq!(code, Some(1));
    assert!(printed.starts_with("Nothing is known of mal&lory/?=+ \u{fc}: "), "{printed}");
    let (code, printed, _) = outcome(&["mallory"]);
    assert_eq!(code, Some(1));
    assert!(printed.starts_with("Nothing is known of mallory: "), "{printed}");
    assert_eq!(outcome(&["mallory", "--json"]).1, "{\"closed\":[],\"connections\":[],\"refused\":[]}\n");
    let (code, printed, error) = outcome(&["--reason", "nonsense"]);
    assert_eq!((code, &*printed), (Some(1), ""));
    assert!(error.contains("answered 400: reason must be"), "{error}");
}
