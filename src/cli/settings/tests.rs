//! Files of settings: what they may hold, what they give way to, and that what is printed can be read.

use super::*;
use crate::cli::print_config;
use std::env::temp_dir;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that is removed in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(content: impl AsRef<[u8]>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("heartwire-{}-{}.toml", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = temp_dir().join(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn load<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<Settings, Failure> {
    let arguments: Vec<_> = ["heartwire", "serve"].into_iter().chain(flags).map(OsString::from).collect();
    Settings::load(&arguments)
}

fn load_file(content: impl AsRef<[u8]>, flags: &str) -> Result<Settings, Failure> {
    let file = Temporary::new(content);
    load(flags.split_whitespace().chain(["--config", file.0.to_str().unwrap()]))
}

/// What is wrong with a file, without its name.
fn wrong(content: impl AsRef<[u8]>) -> String {
    match load_file(&content, "") {
        Err(Failure::Usage(message)) => {
            assert_eq!(message.lines().count(), 1, "{message}");
            let (_, what) = message.split_once(".toml:").expect(&message);
            what.to_owned()
        }
        Err(Failure::Run(message)) => panic!("not a wrong use: {message}"),
        Ok(_) => panic!("it was accepted: {}", String::from_utf8_lossy(content.as_ref())),
    }
}

#[test]
fn keys_are_the_names_of_flags_and_values_those_of_toml() {
    let content = "
        max-connections = 7
        listen = ['127.0.0.1:1', \"[::1]:2\"]
        host = 'a,b'
        origin = []
        page = false
        allow-anonymous = true
        broadcast = 'on'
        drain = '1m30s'
        burst = 0x10
        heartbeat-preset = '3m'
    ";
    let config = load_file(content, "").unwrap().setup().unwrap().config;
    assert_eq!(config.max_connections, Some(7));
    assert_eq!(config.listen.iter().map(SocketAddr::port).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((config.hosts, config.origins.len()), (vec!["a".to_owned(), "b".to_owned()], 0));
    assert_eq!((config.page, config.allow_anonymous, config.broadcast), (false, true, true));
    assert_eq!((config.drain.as_secs(), config.message_rate.unwrap().burst), (90, 16));
    assert_eq!(config.heartbeat.times().interval.as_secs(), 180);
    load_file("", "").unwrap();
}

#[test]
fn the_command_line_comes_first() {
    let content = "drain = '1s'\nhost = ['a', 'b']\nallow-anonymous = true\nheartbeat-preset = '3m'\nlinger = '7s'";
    let flags = "--drain 2s --host c --allow-anonymous=off --heartbeat-interval 9s";
    let settings = load_file(content, flags).unwrap();
    let config = settings.setup().unwrap().config;
    assert_eq!((config.drain.as_secs(), config.linger.as_secs()), (2, 7));
    assert_eq!((config.hosts, config.allow_anonymous), (vec!["c".to_owned()], false));
    assert_eq!(config.heartbeat.times().interval.as_secs(), 9, "what excludes the file's key was given");
    let origin = |key| {
        let flag = settings.known.get_arguments().find(|flag| flag.get_long() == Some(key)).unwrap();
        settings.origin(flag)
    };
    assert_eq!(origin("drain"), Origin::CommandLine);
    assert_eq!(origin("linger"), Origin::File(settings.file().unwrap().clone()));
    assert_eq!(origin("heartbeat-preset"), Origin::Default);
}

#[test]
fn what_is_wrong_is_told_in_one_line_with_its_place() {
    for (content, expected) in [
        (
            "drain = '1s'\nmax-connection = 5",
            "2:1: unknown key \"max-connection\"; a similar one is \"max-connections\"",
        ),
        ("max_connections = 5", "1:1: unknown key \"max_connections\"; a similar one is \"max-connections\""),
        ("potato = 5", "1:1: unknown key \"potato\""),
        ("\"page=off --host\" = 'a'", "1:1: unknown key \"page=off --host\""),
        ("help = true", "1:1: unknown key \"help\""),
        ("config = 'other.toml'", "1:1: unknown key \"config\""),
        ("[drain]\nseconds = 5", "1:2: drain takes text, a whole number, true or false, and this is of type table"),
        ("drain = 1.5", "1:1: drain takes text, a whole number, true or false, and this is of type float"),
        ("host = [['a']]", "1:1: host takes text, a whole number"),
        ("drain = ['1s', '2s']", "1:1: drain takes one value, not an array"),
        ("listen = []", "1:1: listen needs at least one value"),
        ("drain = 10", "1:1: invalid value '10' for '--drain <TIME>'"),
        ("drain = true", "1:1: invalid value 'true' for '--drain <TIME>'"),
        ("page = 'maybe'", "1:1: invalid value 'maybe' for '--page <on|off>' [possible values: on, off]"),
        ("max-connections = -1", "1:1: invalid value '-1' for '--max-connections <N>'"),
        ("burst = 99999999999999999999999999999999999999999999", "1:1: burst: 9999"),
        ("heartbeat-preset = '3m'\nheartbeat-interval = '1m'", " the argument '--heartbeat-preset <3m|5m|10m>' cannot"),
        ("# ä\nä = 1", "2:1: "),
        ("drain = 'a\nlinger = '1s'", "1:11: "),
        ("drain = '1s'\ndrain = '1s'", "2:1: "),
    ] {
        let what = wrong(content);
        assert!(what.starts_with(expected), "{content}: {what}");
    }
    assert_eq!(wrong([0xff]), " it is not UTF-8");
    assert_eq!(wrong(vec![b'#'; (1 << 20) + 1]), " it has more than 1 MiB");
    load_file(vec![b'#'; 1 << 20], "").unwrap();
    let Err(Failure::Usage(message)) = load(["--config", "/"]) else { panic!("it was not refused") };
    assert_eq!(message, "/: it is not a file");
}

#[test]
fn a_wrong_value_is_wrong_also_where_another_one_comes_first() {
    assert!(matches!(load_file("drain = 'soon'", "--drain 1s"), Err(Failure::Usage(_))));
}

/// Every flag, with a value other than its default; what excludes one another apart.
const ALL: [&str; 2] = [
    "--listen 127.0.0.1:1,[::1]:2 --tcp-listen 127.0.0.1:3 --ginchat-path off --page=off --allow-anonymous \
     --origin https://a.example,https://b.example --host 42 --trusted-proxy 10.0.0.0/8 --proxy-protocol v2 \
     --auth jwt --token-file t --jwt-algorithm EdDSA --jwt-key-file 7 --jwt-audience a\"'\\b --jwt-issuer i=# \
     --auth-url http://a.example/ --auth-timeout 1s --auth-concurrency 7 --auth-failures 0 --auth-failures-burst 7 \
     --admin-listen 127.0.0.1:4 --admin-key none --closed-connections 7 --offline-grace 1m --webhook http://b.example/ \
     --webhook-events message,presence --webhook-secret-file s --heartbeat-interval 20s --heartbeat-timeout 90s \
     --liveness heartbeat --negotiable-timeout 1s..1h --handshake-deadline 1s --tcp-first-byte 10s \
     --assembly-deadline 500ms --write-deadline 1m30s --max-lifetime 1h --idle-reader 30s --idle-writer 40s \
     --idle-all 50s --max-connections 7 --max-per-account 0 --max-per-address 7 --single replace --single-by device \
     --accepts-per-second 7 --max-message-bytes 2MiB --max-fragments 7 --rate 7 --burst 7 --control-rate 7 \
     --control-burst 7 --deliveries-per-second 7 --delivered-bytes-per-second 7 --broadcast on --queue-bytes 2000 \
     --queue-messages 7 --queue-total-bytes 1GiB --drain 0s --linger 1s --stack-bytes 512KiB \
     --router helped --scheduling batch --log-format json",
    "--heartbeat-preset 5m --admin-key-file k",
];

#[test]
fn what_is_printed_is_a_file_that_means_the_same() {
    let given = |settings: &Settings, flag: &Arg| matches!(settings.origin(flag), Origin::CommandLine);
    for flags in ["", ALL[0], ALL[1]] {
        let settings = load(flags.split_whitespace()).unwrap();
        let text = print_config::text(&settings);
        let again = load_file(&text, "").unwrap_or_else(|why| panic!("{why:?}:\n{text}"));
        for flag in settings.known.get_arguments() {
            let same = match settings.switch(flag) {
                Some(switch) => again.switch(flag) == Some(switch),
                None => again.values(flag) == settings.values(flag),
            };
            assert!(same || flag.get_long() == Some("config"), "{flag}: {:?}\n{text}", again.values(flag));
        }
        assert_eq!(text.lines().filter(|line| line.ends_with("# command line")).count(), flags.matches("--").count());
    }
    let all: Vec<_> = ALL.iter().map(|flags| load(flags.split_whitespace()).unwrap()).collect();
    for flag in all[0].known.get_arguments().filter(|flag| flag.get_long() != Some("config")) {
        assert!(all.iter().any(|settings| given(settings, flag)), "{flag} is not tested");
    }
}

#[test]
fn what_is_printed_says_where_it_comes_from() {
    let settings = load_file("drain = '3s'\nhost = 'a'", "--page off --linger 1s").unwrap();
    let text = print_config::text(&settings);
    let file = settings.file().unwrap().display();
    for line in [
        "# Who may connect, and where",
        "listen = [\"127.0.0.1:8080\"]  # default",
        "page = false  # command line",
        &format!("host = [\"a\"]  # {file}"),
        &format!("drain = \"3s\"  # {file}"),
        "max-connections = 10000  # default",
        "origin = []  # default",
        "# admin-key is not set",
        "# tcp-first-byte is not set",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line}\n{text}");
    }
}

#[test]
fn no_secret_is_printed() {
    let settings = load([
        "--admin-key=SECRET",
        "--auth-url=http://user:SECRET@a.example/",
        "--webhook=http://a.example/?key=SECRET",
    ]);
    let text = print_config::text(&settings.unwrap());
    assert!(!text.contains("SECRET"), "{text}");
    assert!(text.contains("\n# admin-key is secret, set by command line\n"), "{text}");
    assert!(text.contains("\n# webhook is secret,") && text.contains("\n# auth-url is secret,"), "{text}");
    assert!(load_file(text, "").is_ok());
}
