//! The file of settings: what comes before it, how it is checked and printed, and what of it SIGHUP puts in force.

use crate::process::{Process, heartwire, serve_command};
use crate::support::*;
use crate::webhook::receiver::{Answer, Receiver};
use heartwire::authenticators::TokenFile;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own for a test, which is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("heartwire-configuration-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Writes a file and returns its path.
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What remains lies where such things are expected.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A command that reads this file.
fn with_file(arguments: &[&str], file: &Path) -> Command {
    let mut command = heartwire(arguments);
    command.arg("--config").arg(file);
    command
}

/// What a command that succeeds prints.
fn printed(mut command: Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap()
}

/// The only line of a command that refuses its settings.
fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.lines().count(), output.stdout.len()), (Some(2), 1, 0), "{text}");
    text
}

/// Sends SIGHUP and returns the line that says what became of it.
fn reload(process: &mut Process) -> String {
    let outcome =
        |process: &Process, number| process.log().into_iter().filter(|line| line.contains("SIGHUP: ")).nth(number);
    let before = (0..).take_while(|number| outcome(process, *number).is_some()).count();
    process.signal(Signal::HUP);
    eventually("an outcome of SIGHUP", || {
        assert!(process.is_running(), "it ended: {:?}", process.log());
        outcome(process, before).is_some()
    });
    outcome(process, before).unwrap()
}

fn assert_alive(client: &mut Client) {
    assert_eq!(client.ask(json!({"type": "presence", "accounts": ["alice"]}))["type"], "presence");
}

/// The status of a request to connect.
fn status(address: SocketAddr, target: &str, headers: &str) -> u16 {
    let mut stream = dial(address);
    stream.write_all(upgrade_request(target, headers).as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    String::from_utf8_lossy(&start[9..]).parse().unwrap()
}

#[test]
fn the_command_line_comes_before_the_environment_and_that_before_the_file() {
    let folder = Folder::new();
    for (key, written, of_the_file, in_environment, on_command_line) in [
        ("drain", "'1s'", "\"1s\"", "2s", "3s"),
        ("rate", "1", "1", "2", "3"),
        ("host", "['a', 'b']", "[\"a\", \"b\"]", "c,d", "e"),
        ("single", "'replace'", "\"replace\"", "refuse", "allow"),
        ("allow-anonymous", "true", "true", "false", "true"),
        ("page", "'off'", "false", "on", "off"),
    ] {
        let file = folder.write("heartwire.toml", &format!("{key} = {written}\n"));
        let variable = format!("HEARTWIRE_{}", key.to_uppercase().replace('-', "_"));
        let value = |command: Command| {
            let text = printed(command);
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).expect(&text);
            let (value, origin) = line.split_once("  # ").unwrap();
            (value.to_owned(), origin.to_owned())
        };
        let shown = |given: &str| match (given.parse::<i64>(), given) {
            (Ok(number), _) => number.to_string(),
            (_, "on" | "true") => "true".into(),
            (_, "off" | "false") => "false".into(),
            _ if key == "host" => format!("[\"{}\"]", given.replace(',', "\", \"")),
            _ => format!("\"{given}\""),
        };
        let mut command = with_file(&["print-config"], &file);
        assert_eq!(value(command), (of_the_file.to_owned(), file.display().to_string()));
        command = with_file(&["print-config"], &file);
        command.env(&variable, in_environment);
        assert_eq!(value(command), (shown(in_environment), variable.clone()));
        command = with_file(&["print-config", &format!("--{key}={on_command_line}")], &file);
        command.env(&variable, in_environment);
        assert_eq!(value(command), (shown(on_command_line), "command line".to_owned()));
    }
    // A key that cannot stand beside what comes before it is not an error, but silent.
    let file = folder.write("heartwire.toml", "heartbeat-preset = '3m'\n");
    let mut command = with_file(&["print-config"], &file);
    command.env("HEARTWIRE_HEARTBEAT_INTERVAL", "9s");
    let text = printed(command);
    assert!(
        text.contains("\n# heartbeat-preset is not set\n") && text.contains("\nheartbeat-interval = \"9s\""),
        "{text}"
    );
}

#[test]
fn a_server_goes_by_its_file_which_the_environment_may_name() {
    let folder = Folder::new();
    let file = folder.write("heartwire.toml", "listen = '127.0.0.1:0'\nmax-per-account = 1\npage = false\n");
    let mut command = heartwire(&["serve"]);
    command.env("HEARTWIRE_CONFIG", &file);
    let mut process = Process::start(command);
    let address = process.address();
    assert!(exchange(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 404 "));
    let _one = Client::open(address, "/ws?user_id=alice", "");
    assert_eq!(status(address, "/ws?user_id=alice", ""), 429);
}

#[test]
fn a_wrong_file_is_one_line_with_the_place_and_exit_code_2() {
    let folder = Folder::new();
    for (content, expected) in [
        (
            "page = true\nmax-connection = 5\n",
            ":2:1: unknown key \"max-connection\"; a similar one is \"max-connections\"",
        ),
        ("drain = 'soon'\n", ":1:1: invalid value 'soon' for '--drain <TIME>'"),
        ("drain = \n", ":1:9: "),
        ("\"two\\nlines\" = 1\n", ":1:1: unknown key \"two\\nlines\""),
    ] {
        let file = folder.write("heartwire.toml", content);
        for command in ["serve", "check-config", "print-config"] {
            let line = refused(with_file(&[command], &file));
            assert!(line.starts_with(&format!("error: {}{expected}", file.display())), "{line}");
        }
    }
    let absent = refused(with_file(&["serve"], &folder.0.join("absent.toml")));
    assert!(absent.contains("absent.toml: No such file"), "{absent}");
}

#[test]
fn check_config_finds_what_a_start_would_and_makes_nothing() {
    let folder = Folder::new();
    let file = folder.write("heartwire.toml", "listen = '0.0.0.0:8080'\n");
    let in_folder = |flags: &[&str]| {
        let mut command = with_file(&[&["check-config"], flags].concat(), &file);
        command.current_dir(&folder.0).env("HEARTWIRE_ADMIN_LISTEN", "127.0.0.1:0");
        command
    };
    let ok = printed(in_folder(&["--allow-anonymous"]));
    assert_eq!(ok, format!("{}: ok\n", file.display()));
    assert_eq!(printed(heartwire(&["check-config"])), "the flags: ok\n");
    for (flags, essence) in [
        (&[][..], "allow-anonymous"),
        (&["--auth", "token-file"], "heartwire.tokens"),
        (&["--auth", "jwt", "--jwt-key-file", "absent.key"], "absent.key"),
        (&["--auth", "http", "--auth-url", "ftp://a.example/"], "URL"),
        (&["--allow-anonymous", "--webhook", "http://a.example/", "--webhook-secret-file", "absent"], "absent"),
        (&["--allow-anonymous", "--webhook", "potato", "--webhook-secret-file", "/dev/null"], "webhook"),
        (&["--allow-anonymous", "--admin-key", "short"], "admin-key"),
        (&["--allow-anonymous", "--admin-key", "none", "--admin-listen", "0.0.0.0:0"], "needs a key"),
        (&["--allow-anonymous", "--heartbeat-timeout", "1s", "--heartbeat-interval", "1s"], "must be less"),
    ] {
        let line = refused(in_folder(flags));
        assert!(line.to_lowercase().contains(&essence.to_lowercase()), "{flags:?}: {line}");
    }
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["heartwire.toml"], "keys would be made by a start only");
}

#[test]
fn what_print_config_prints_is_a_file_that_means_the_same() {
    let folder = Folder::new();
    let mut command = heartwire(&["print-config", "--drain", "3s", "--origin", "https://a.example,https://b.example"]);
    command.env("HEARTWIRE_HOST", "a\tb");
    let first = printed(command);
    let file = folder.write("printed.toml", &first);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&printed(with_file(&["print-config"], &file))), values(&first));
}

#[test]
fn sighup_changes_who_may_come_and_drops_nobody() {
    let folder = Folder::new();
    let origins = |origin: &str| folder.write("heartwire.toml", &format!("origin = '{origin}'\n"));
    let file = origins("https://a.example");
    let mut process = Process::start(serve_command(&["--config", file.to_str().unwrap()]));
    let address = process.address();
    let mut kept = Client::open(address, "/ws?user_id=alice", "Origin: https://a.example\r\n");
    assert_eq!(kept.json()["type"], "register");
    assert!(reload(&mut process).ends_with("SIGHUP: no setting changed"));

    origins("https://b.example");
    assert!(reload(&mut process).ends_with("SIGHUP: changed origin"));
    let comes = |origin: &str| status(address, "/ws?user_id=bob", &format!("Origin: {origin}\r\n"));
    assert_eq!((comes("https://a.example"), comes("https://b.example")), (403, 101));
    assert_alive(&mut kept);
    process.stop();
}

#[test]
fn sighup_says_what_only_a_restart_changes() {
    let folder = Folder::new();
    let file = folder.write("heartwire.toml", "queue-messages = 5\ndrain = '1s'\n");
    let mut process = Process::start(serve_command(&["--config", file.to_str().unwrap()]));
    let _address = process.address();
    folder.write("heartwire.toml", "queue-messages = 6\ndrain = '2s'\nlog-format = 'json'\n");
    let line = reload(&mut process);
    assert!(line.ends_with("SIGHUP: changed drain; only a restart changes log-format, queue-messages"), "{line}");
    // It is still so when nothing has changed since.
    let line = reload(&mut process);
    assert!(line.ends_with("SIGHUP: no setting changed; only a restart changes log-format, queue-messages"), "{line}");
    folder.write("heartwire.toml", "queue-messages = 5\ndrain = '2s'\n");
    assert!(reload(&mut process).ends_with("SIGHUP: no setting changed"), "it is what it was all the time");
    let log = process.stop();
    assert!(log.iter().any(|line| line.contains("stopping within 2s")), "{log:?}");
}

#[test]
fn sighup_reads_the_tokens_again() {
    let folder = Folder::new();
    let tokens = folder.0.join("tokens");
    let first = TokenFile::add(&tokens, &account("alice")).unwrap();
    let flags = ["--auth", "token-file", "--token-file", tokens.to_str().unwrap()];
    let mut process = Process::start(serve_command(&flags));
    let address = process.address();
    let mut kept = Client::open(address, &format!("/ws?token={first}"), "");
    assert_eq!(kept.json()["account"], "alice");

    fs::remove_file(&tokens).unwrap();
    let line = reload(&mut process);
    assert!(line.contains(" ERROR ") && line.ends_with("; everything stays as it was"), "{line}");
    assert_eq!(status(address, &format!("/ws?token={first}"), ""), 101);

    let second = TokenFile::add(&tokens, &account("bob")).unwrap();
    assert!(reload(&mut process).ends_with("SIGHUP: no setting changed; read token-file again"));
    assert_eq!(status(address, &format!("/ws?token={first}"), ""), 401);
    process.line("refused a client from 127.0.0.1: the token is not known");
    assert_eq!(status(address, &format!("/ws?token={second}"), ""), 101);
    assert_alive(&mut kept);
    let log = process.stop();
    assert!(!log.iter().any(|line| line.contains(&first) || line.contains(&second)), "{log:?}");
}

#[test]
fn a_wrong_reload_changes_nothing() {
    let folder = Folder::new();
    let tokens = folder.0.join("tokens");
    let token = TokenFile::add(&tokens, &account("alice")).unwrap();
    let whole = |rest: &str| format!("listen = '0.0.0.0:0'\ntoken-file = '{}'\n{rest}", tokens.display());
    let right = "auth = 'token-file'\nmax-per-account = 1\n";
    let file = folder.write("heartwire.toml", &whole(right));
    let mut process = Process::start(with_file(&["serve"], &file));
    let address = SocketAddr::from(([127, 0, 0, 1], process.address().port()));
    let mut kept = Client::open(address, &format!("/ws?token={token}"), "");
    kept.json();
    for (wrong, essence) in [
        ("max-per-account = 2\npotato = 1\n", ":4:1: unknown key \"potato\""),
        ("auth = 'token-file'\nmax-per-account = 2\ndrain = 'soon'\n", "invalid value 'soon'"),
        ("auth = 'token-file'\nmax-per-account = 2\nburst = 0\n", "burst must not be zero"),
        ("auth = 'jwt'\njwt-key-file = '/nonexistent'\nmax-per-account = 2\n", "/nonexistent"),
        (
            "auth = 'http'\nauth-url = 'http://127.0.0.1:1/'\nauth-concurrency = 0\nmax-per-account = 2\n",
            "auth-concurrency",
        ),
        ("max-per-account = 2\n", "it needs auth token-file"),
        ("max-per-account = 2\nlisten = '127.0.0.1:0'\n", ":4:1: "),
    ] {
        folder.write("heartwire.toml", &whole(wrong));
        let line = reload(&mut process);
        assert!(line.contains(essence) && line.ends_with("; everything stays as it was"), "{line}");
        assert_eq!(status(address, &format!("/ws?token={token}"), ""), 429, "{wrong}");
        assert_eq!(status(address, "/ws?user_id=alice", ""), 401, "{wrong}");
    }
    // Without authentication it would be open to all.
    folder.write("heartwire.toml", "listen = '0.0.0.0:0'\nauth = 'none'\n");
    let line = reload(&mut process);
    assert!(line.contains("allow-anonymous") && line.ends_with("; everything stays as it was"), "{line}");
    assert_eq!(status(address, "/ws?user_id=alice", ""), 401);
    folder.write("heartwire.toml", &whole(&right.replace('1', "2")));
    assert!(reload(&mut process).contains("changed max-per-account"));
    assert_eq!(status(address, &format!("/ws?token={token}"), ""), 101);
    assert_alive(&mut kept);
}

/// A file that can be read only while somebody writes it keeps the start waiting.
#[test]
fn sighup_during_the_start_waits_for_its_end() {
    let folder = Folder::new();
    let keys = folder.0.join("keys");
    assert!(Command::new("mkfifo").arg(&keys).status().unwrap().success());
    let write = |mut pipe: File| write!(pipe, "operator admin {}", "s".repeat(32)).unwrap();
    let flags = ["--admin-listen", "127.0.0.1:0", "--admin-key-file", keys.to_str().unwrap()];
    let mut process = Process::start(serve_command(&flags));
    // Opening it takes until somebody reads.
    let pipe = OpenOptions::new().write(true).open(&keys).unwrap();
    process.signal(Signal::HUP);
    write(pipe);
    process.line("listening on ");
    write(OpenOptions::new().write(true).open(&keys).unwrap());
    process.line("SIGHUP: no setting changed; read admin-key-file again");
    process.stop();
}

#[test]
fn what_is_wrong_with_the_environment_is_told_by_its_name() {
    let refused = |flags: &[&str], variable: &str, value: &str| {
        let mut command = heartwire(&[&["check-config"], flags].concat());
        command.env(variable, value);
        refused(command)
    };
    for value in ["", "many"] {
        let line = refused(&[], "HEARTWIRE_RATE", value);
        assert!(line.starts_with("error: HEARTWIRE_RATE: invalid value"), "{line}");
    }
    let line = refused(&["--admin-key-file", "f"], "HEARTWIRE_ADMIN_KEY", "SECRET-SECRET-SECRET");
    assert!(line.starts_with("error: HEARTWIRE_ADMIN_KEY: ") && line.contains("--admin-key-file"), "{line}");
    assert!(!line.contains("SECRET"), "{line}");
    for flags in [&["--rate=many"][..], &["--rate", "many"]] {
        let line = refused(flags, "HEARTWIRE_RATE", "7");
        assert!(line.starts_with("error: invalid value"), "{line}");
    }
}

#[test]
fn keys_are_made_at_the_start_and_no_secret_is_shown() {
    let folder = Folder::new();
    let secret = "SECRET-SECRET-SECRET-SECRET-SECRET";
    let hook = folder.write("hook.secret", &format!("{secret}\n"));
    let settings = |command: &str| {
        let mut command = heartwire(&[command, "--listen", "0.0.0.0:0", "--allow-anonymous", "--drain", "100ms"]);
        command.current_dir(&folder.0).env("HEARTWIRE_ADMIN_LISTEN", "127.0.0.1:0").env("RUST_LOG", "trace");
        command.args(["--webhook", "http://127.0.0.1:1/?key=SECRET", "--webhook-secret-file"]).arg(&hook);
        command
    };
    let keys = folder.0.join("heartwire-admin.keys");
    let mut process = Process::start(settings("serve"));
    process.address();
    let made = fs::read_to_string(&keys).unwrap();
    let log = process.stop();
    assert!(log.iter().any(|line| line.ends_with(&format!("they are in {}", keys.display()))), "{log:?}");
    let secrets: Vec<_> =
        made.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit(' ').next()).collect();
    assert!(secrets.len() > 1, "{made}");
    for secret in secrets.into_iter().chain(["SECRET"]) {
        assert!(!log.iter().any(|line| line.contains(secret)), "{log:?}");
    }
    // It asks the same of everybody after a restart.
    let mut process = Process::start(settings("serve"));
    process.address();
    assert_eq!(fs::read_to_string(&keys).unwrap(), made);
    // Those who have the keys are not locked out by a reload.
    fs::remove_file(&keys).unwrap();
    assert!(reload(&mut process).ends_with("and only a start makes it; everything stays as it was"));
    process.stop();

    let mut command = settings("print-config");
    command.env("HEARTWIRE_ADMIN_KEY", secret);
    let text = printed(command);
    assert!(!text.contains("SECRET"), "{text}");
    assert!(text.contains("# admin-key is secret, set by HEARTWIRE_ADMIN_KEY\n"), "{text}");
    let mut process = settings("serve");
    process.env("HEARTWIRE_ADMIN_KEY", secret);
    let mut process = Process::start(process);
    process.address();
    assert!(!process.stop().iter().any(|line| line.contains("SECRET")));
}

#[test]
fn the_webhook_is_told_what_the_flags_say() {
    let folder = Folder::new();
    let secret = folder.write("secret", "a secret of more than 16 bytes\n");
    let receiver = Receiver::start(|_, _| Answer::status(204));
    let told = |count: usize| -> Vec<Value> {
        let events = || receiver.posts().into_iter().flat_map(|post| post.json["events"].as_array().unwrap().clone());
        eventually("the webhook's events", || events().count() >= count);
        events().collect()
    };
    let mut command = serve_command(&["--offline-grace", "0s", "--webhook-events", "presence,message"]);
    command.args(["--webhook", &receiver.url(), "--webhook-secret-file"]).arg(&secret);
    let mut process = Process::start(command);
    let mut alice = Client::open(process.address(), "/ws?user_id=alice", "");
    alice.json();
    let sent = alice.ask(json!({"type": "message", "to": ["bob"], "content": {"a": 1}}));
    assert_eq!(sent["type"], "ack");
    drop(alice);
    told(4);
    process.stop();
    let events = told(5);
    assert_eq!((&events[0]["type"], &events[4]["type"]), (&json!("started"), &json!("stopping")));
    let mut between: Vec<_> = events[1..4].iter().map(|event| event["type"].as_str().unwrap()).collect();
    between.sort_unstable();
    assert_eq!(between, ["message", "offline", "online"], "presence has a thread of its own");
    let message = events.iter().find(|event| event["type"] == "message").unwrap();
    assert_eq!(
        (&message["from"], &message["to"], &message["content"]),
        (&json!("alice"), &json!(["bob"]), &json!({"a": 1}))
    );
    assert!(receiver.posts().iter().all(|post| post.is_signed_with(b"a secret of more than 16 bytes")));
}

#[test]
fn completions_and_manual_know_every_subcommand() {
    for (shell, essence) in [("bash", "complete -F"), ("zsh", "#compdef heartwire"), ("fish", "complete -c heartwire")]
    {
        let script = printed(heartwire(&["completions", shell]));
        assert!(script.contains(essence) && script.contains("check-config") && script.contains("max-connections"));
        if shell == "bash" {
            let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
            bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(bash.wait().unwrap().success());
        }
    }
    let manual = printed(heartwire(&["man"]));
    for page in ["heartwire", "heartwire-serve", "heartwire-print-config", "heartwire-chat", "heartwire-bench-relay"] {
        assert!(manual.contains(&format!(".TH {page} 1")), "{page}");
    }
    assert!(manual.contains("max\\-connections") && manual.contains("HEARTWIRE_MAX_PER_ACCOUNT"));
}

/// Every setting with a value other than its default, but for `heartbeat-preset` and `admin-key-file`, which cannot stand
/// beside an interval or a key.
const OTHERWISE: &str = "\
    --listen 127.0.0.1:1 --tcp-listen 127.0.0.1:3 --ginchat-path off --page off --allow-anonymous \
    --origin https://a.example --host a --trusted-proxy 10.0.0.0/8 --proxy-protocol v2 --auth token-file \
    --token-file tokens --jwt-algorithm EdDSA --jwt-key-file k --jwt-audience a --jwt-issuer i \
    --auth-url http://a.example/ --auth-timeout 1s --auth-concurrency 7 --closed-connections 7 --auth-failures 7 --auth-failures-burst 7 \
    --admin-listen 127.0.0.1:4 --admin-key none --offline-grace 1m --webhook http://b.example/ \
    --webhook-events message --webhook-secret-file secret --heartbeat-interval 20s --heartbeat-timeout 90s \
    --liveness heartbeat --negotiable-timeout 1s..1h --handshake-deadline 1s --tcp-first-byte 10s \
    --assembly-deadline 500ms --write-deadline 1m --max-lifetime 1h --idle-reader 30s --idle-writer 40s --idle-all 50s \
    --max-connections 7 --max-per-account 7 --max-per-address 7 --single replace --single-by device \
    --accepts-per-second 7 --max-message-bytes 2MiB --max-fragments 7 --rate 7 --burst 7 --control-rate 7 \
    --control-burst 7 --deliveries-per-second 7 --delivered-bytes-per-second 7 --broadcast on --queue-bytes 2000 \
    --queue-messages 7 --queue-total-bytes 1GiB --drain 1s --linger 1s --stack-bytes 512KiB \
    --router helped --scheduling batch --log-format json";

#[test]
fn the_documentation_knows_what_changes_when() {
    let folder = Folder::new();
    folder.write("secret", "a secret of more than 16 bytes");
    TokenFile::add(folder.0.join("tokens"), &account("alice")).unwrap();
    let file = folder.write("heartwire.toml", "listen = '127.0.0.1:0'\nadmin-listen = 'off'\n");
    let mut command = with_file(&["serve"], &file);
    command.current_dir(&folder.0).env_remove("HEARTWIRE_ADMIN_LISTEN");
    let mut process = Process::start(command);
    process.address();
    let flags: Vec<_> = ["print-config"].into_iter().chain(OTHERWISE.split_whitespace()).collect();
    let everything = printed(heartwire(&flags));
    folder.write("heartwire.toml", &everything);
    let outcome = reload(&mut process);

    let (changed, rest) = outcome.split_once("changed ").unwrap().1.split_once("; ").expect(&outcome);
    let (_, waiting) = rest.split_once("only a restart changes ").expect(&outcome);
    let listed = |text: &str| -> BTreeSet<String> { text.split(", ").map(str::to_owned).collect() };
    let (mut changed, waiting) = (listed(changed), listed(waiting));
    changed.extend(["heartbeat-preset", "admin-key-file"].map(str::to_owned));
    let text = documentation();
    let documented = |row: &str| -> BTreeSet<String> {
        let row = text.lines().find_map(|line| line.strip_prefix(&format!("| {row} | "))).expect(row);
        row.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    assert_eq!(changed, documented("change at SIGHUP"));
    assert_eq!(waiting, documented("change at a restart"));
    let keys = everything.lines().filter_map(|line| {
        let key = line.strip_suffix(" is not set").and_then(|line| line.strip_prefix("# "));
        key.or_else(|| line.split_once(" = ").map(|(key, _)| key))
    });
    assert_eq!(
        changed.union(&waiting).map(String::as_str).collect::<Vec<_>>(),
        keys.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
}

#[test]
fn the_file_in_the_documentation_is_one() {
    let text = documentation();
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = Folder::new();
    let file = folder.write("heartwire.toml", example);
    assert!(printed(with_file(&["print-config"], &file)).contains("\nmax-connections = 5000  # "));
}

fn documentation() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md")).unwrap()
}

#[test]
fn a_start_that_is_refused_makes_no_keys_and_an_address_in_use_says_which_flag_moves_it() {
    let folder = Folder::new();
    let keys = folder.0.join("keys");
    let start = |arguments: &[&str]| {
        let output = heartwire(&[&["serve"], arguments].concat()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let key_file = keys.to_str().unwrap();
    let (code, text) = start(&["--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0", "--admin-key-file", key_file]);
    assert!(code == Some(2) && text.contains("allow-anonymous"), "{text}");
    assert!(!keys.exists());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) = start(&["--listen", "127.0.0.1:0", "--admin-listen", &address]);
    assert!(code == Some(1) && text.contains("--admin-listen takes another address"), "{text}");
}
