//! Who is let in by a file of tokens, by JSON Web Tokens, and by a back end; `heartwire token`.

mod back_end;
mod http_server;

use crate::process::heartwire;
use crate::support::{Client, account, address, config, exchange, serve_with, upgrade_request};
use heartwire::authenticators::{Authenticator, Jwt, JwtAlgorithm, JwtOptions, TokenFile};
use heartwire::{Connection, Handler, Identity, Push, Refusal, Request, Room, Server};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

/// Lets an authenticator decide, which can be replaced.
#[derive(Clone)]
struct Guard(Arc<RwLock<Box<dyn Authenticator>>>);

impl Guard {
    fn new(authenticator: impl Authenticator) -> Self {
        Self(Arc::new(RwLock::new(Box::new(authenticator))))
    }

    fn replace(&self, authenticator: impl Authenticator) {
        *self.0.write().unwrap() = Box::new(authenticator);
    }
}

impl Handler for Guard {
    fn authenticates(&self) -> bool {
        true
    }

    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        self.0.read().unwrap().authenticate(request)
    }

    fn renew(&self, connection: &Connection, token: &str) -> Result<Identity, Refusal> {
        self.0.read().unwrap().renew(connection.info(), token)
    }
}

/// Whether a connection is renewed by this token.
fn renewed(client: &mut Client, token: &str) -> bool {
    client.ask(json!({ "type": "token", "token": token }))["type"] == "ack"
}

/// The status of the answer to a request to connect with this token; 101 when it is let in.
fn status(server: &Server, target: &str, token: &str) -> u16 {
    let authorization = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    // A Close behind the request, so that who is let in leaves at once.
    let request = [upgrade_request(target, &authorization).as_bytes(), &[0x88, 0x80, 0, 0, 0, 0]].concat();
    let response = exchange(address(server), request);
    response.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A folder for one test.
fn folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("heartwire-authentication-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    folder
}

#[test]
fn a_file_of_tokens_says_who_comes_in() {
    let path = folder().join("tokens");
    let [alice, bob] = ["alice", "bob"].map(|name| TokenFile::add(&path, &account(name)).unwrap());
    let guard = Guard::new(TokenFile::open(&path).unwrap());
    let server = serve_with(config(), guard.clone());
    for target in ["/ws", "/ws?user_id=alice"] {
        assert_eq!(status(&server, target, &alice), 101);
        assert_eq!(status(&server, target, ""), 401);
        assert_eq!(status(&server, target, &format!("{alice}0")), 401);
    }
    assert_eq!(status(&server, "/ws?user_id=alice", &bob), 403);

    let mut client = Client::open(address(&server), &format!("/ws?token={alice}"), "");
    assert_eq!(client.json()["account"], "alice");
    assert!(renewed(&mut client, &alice));
    assert_eq!([renewed(&mut client, &bob), renewed(&mut client, "x")], [false; 2]);

    // Whoever reads the file again may find that somebody has left, and keeps those who are connected.
    let lines = fs::read_to_string(&path).unwrap();
    fs::write(&path, lines.lines().nth(1).unwrap()).unwrap();
    guard.replace(TokenFile::open(&path).unwrap());
    assert_eq!([status(&server, "/ws", &alice), status(&server, "/ws", &bob)], [401, 101]);
    assert!(!renewed(&mut client, &alice));
}

#[test]
fn a_json_web_token_names_the_account_and_its_rooms() {
    let key_file = folder().join("secret");
    fs::write(&key_file, "0123456789abcdef0123456789abcdef\n").unwrap();
    let mut options = JwtOptions::new(JwtAlgorithm::Hs256, &key_file);
    options.audience = Some("chat".into());
    let issue = |name: &str, lifetime: Duration, now: SystemTime| {
        Jwt::issue(&options, &account(name), &[Room::new("lobby").unwrap()], lifetime, now).unwrap()
    };
    let (hour, now) = (Duration::from_secs(3600), SystemTime::now());
    let server = serve_with(config(), Guard::new(Jwt::open(&options).unwrap()));
    let mut alice = Client::open(address(&server), &format!("/ws?token={}", issue("alice", hour, now)), "");
    assert_eq!(alice.json()["account"], "alice");
    server.handle().send(Room::new("lobby").unwrap(), &Push::new("notice", &1).unwrap()).unwrap();
    assert_eq!(alice.json()["type"], "notice");
    assert!(renewed(&mut alice, &issue("alice", hour, now)));
    assert!(!renewed(&mut alice, &issue("bob", hour, now)));

    let expired = issue("alice", hour, now - 2 * hour);
    assert_eq!([status(&server, "/ws", &expired), status(&server, "/ws", ""), status(&server, "/ws", "x")], [401; 3]);
    assert!(!renewed(&mut alice, &expired));

    let short = format!("/ws?token={}", issue("alice", Duration::from_secs(2), SystemTime::now()));
    let mut both = [(); 2].map(|()| Client::open(address(&server), &short, ""));
    both.iter_mut().for_each(|client| assert!(client.json()["expires_in_ms"].as_u64().unwrap() <= 2_000));
    let [stays, ends] = &mut both;
    assert!(renewed(stays, &issue("alice", hour, now)));
    assert_eq!(ends.close_frame(), (4500, "authentication failed: the token has expired".into()));
    assert!(renewed(stays, &issue("alice", hour, now)), "it lives on");
}

/// What `heartwire token` prints on stdout and stderr, and its exit code.
fn token(arguments: &[&str], environment: &[(&str, &str)]) -> (String, String, Option<i32>) {
    let mut command = heartwire(&[&["token"], arguments].concat());
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn the_command_adds_a_token_to_the_file_and_prints_it_alone() {
    let folder = folder();
    let path = folder.join("tokens");
    let file = path.to_str().unwrap();
    let (alice, note, code) = token(&["--for", "alice", "--token-file", file], &[]);
    assert_eq!((code, alice.lines().count(), note.lines().count()), (Some(0), 1, 1), "{note}");
    assert!(note.contains(file) && note.contains("SIGHUP") && !note.contains(alice.trim()), "{note}");
    let (bob, ..) = token(&["--for=bob"], &[("HEARTWIRE_TOKEN_FILE", file)]);
    let server = serve_with(config(), Guard::new(TokenFile::open(&path).unwrap()));
    assert_eq!(status(&server, "/ws?user_id=alice", alice.trim()), 101);
    assert_eq!(status(&server, "/ws?user_id=bob", bob.trim()), 101);

    fs::write(&path, "SECRET\n").unwrap();
    let (nothing, error, code) = token(&["--for", "alice", "--token-file", file], &[]);
    assert_eq!((nothing.as_str(), code, error.lines().count()), ("", Some(1), 1), "{error}");
    assert!(error.starts_with("error: ") && error.contains("line 1") && !error.contains("SECRET"), "{error}");
}

#[test]
fn the_command_signs_a_json_web_token() {
    let key_file = folder().join("secret");
    fs::write(&key_file, "0123456789abcdef0123456789abcdef").unwrap();
    let mut options = JwtOptions::new(JwtAlgorithm::Hs256, &key_file);
    (options.audience, options.issuer) = (Some("chat".into()), Some("me".into()));
    let environment = [("HEARTWIRE_JWT_AUDIENCE", "chat"), ("HEARTWIRE_JWT_ISSUER", "me")];
    let key = ["--jwt-key-file", key_file.to_str().unwrap()];
    let (alice, note, code) =
        token(&[&["--for=alice", "--room=a,b", "--expires-in=2h"], &key[..]].concat(), &environment);
    assert_eq!((code, note.as_str()), (Some(0), "valid for 2h\n"));
    let server = serve_with(config(), Guard::new(Jwt::open(&options).unwrap()));
    assert_eq!(status(&server, "/ws?user_id=alice", alice.trim()), 101);
    assert_eq!(status(&server, "/ws?user_id=bob", alice.trim()), 403);
    let (other, ..) = token(&[&["--for=alice"], &key[..]].concat(), &[("HEARTWIRE_JWT_AUDIENCE", "other")]);
    assert_eq!(status(&server, "/ws?user_id=alice", other.trim()), 401);

    for (arguments, wanted) in [
        (&["--for=alice", "--token-file=x"][..], 2),
        (&["--for=alice", "--jwt-algorithm=none"], 2),
        (&["--for="], 2),
        (&[], 2),
        (&["--for=alice", "--jwt-algorithm=ES256"], 1),
        (&["--for=alice", "--expires-in=1ms"], 1),
    ] {
        let (nothing, error, code) = token(&[arguments, &key].concat(), &[]);
        assert_eq!((nothing.as_str(), code, error.lines().count()), ("", Some(wanted), 1), "{arguments:?}: {error}");
        assert!(!error.contains("0123456789abcdef"), "{error}");
    }
    for flag in ["--room=a", "--jwt-algorithm=ES256", "--jwt-audience=chat", "--jwt-issuer=me"] {
        assert_eq!(token(&["--for=alice", flag], &[]).2, Some(2), "{flag} is a JSON Web Token's");
    }
}
