//! Every flag, what it does to the configuration, and how the help and the refusals read.

use super::settings::Settings;
use super::setup::{Absent, AdminKeys, Authentication, Setup, WebhookEvent};
use super::*;
use heartwire::Config;
use heartwire::authenticators::{BackEndOptions, JwtAlgorithm, JwtOptions};
use heartwire::config::{Liveness, ProxyProtocol, RouterWork, Scheduling, SingleBy, SingleConnection};
use std::net::SocketAddr;
use std::time::Duration;

/// Whether a flag did to the configuration what it should.
type Check = fn(&Config) -> bool;

/// Flags of the server, each with a value other than its default.
const EFFECTS: &[(&str, &str, Check)] = &[
    ("listen", "[::1]:81,127.0.0.1:82", |c| c.listen.iter().map(ToString::to_string).eq(["[::1]:81", "127.0.0.1:82"])),
    ("tcp-listen", "127.0.0.1:7373,[::1]:7373", |c| c.tcp_listen.len() == 2 && c.tcp_listen[0].port() == 7373),
    ("ginchat-path", "/user/sendUserMsg", |c| c.ginchat_path.as_deref() == Some("/user/sendUserMsg")),
    ("page", "off", |c| !c.page),
    ("allow-anonymous", "", |c| c.allow_anonymous),
    ("origin", "https://a.example,https://b.example", |c| c.origins == ["https://a.example", "https://b.example"]),
    ("host", "a.example", |c| c.hosts == ["a.example"]),
    ("trusted-proxy", "10.0.0.0/8,::1", |c| {
        c.trusted_proxies.len() == 2 && c.trusted_proxies[0].contains([10, 1, 2, 3].into())
    }),
    ("proxy-protocol", "v2", |c| c.proxy_protocol == ProxyProtocol::V2),
    ("auth-failures", "7", |c| c.auth_failures.is_some_and(|rate| rate.per_second == 7 && rate.burst == 10)),
    ("auth-failures-burst", "7", |c| c.auth_failures.is_some_and(|rate| rate.per_second == 1 && rate.burst == 7)),
    ("admin-listen", "127.0.0.1:90,[::1]:90", |c| c.admin.listen.len() == 2 && c.admin.listen[1].is_ipv6()),
    ("closed-connections", "7", |c| c.closed_connections == 7),
    ("offline-grace", "1m", |c| c.offline_grace == Duration::from_secs(60)),
    ("heartbeat-interval", "20s", |c| c.heartbeat.interval == Some(Duration::from_secs(20))),
    ("heartbeat-preset", "5m", |c| {
        c.heartbeat.times().interval == Duration::from_secs(300)
            && c.heartbeat.times().timeout == Duration::from_secs(720)
    }),
    ("heartbeat-timeout", "90s", |c| c.heartbeat.timeout == Some(Duration::from_secs(90))),
    ("liveness", "heartbeat", |c| c.heartbeat.liveness == Liveness::Heartbeat),
    ("negotiable-timeout", "1s..1h", |c| {
        c.heartbeat.negotiable == (Duration::from_secs(1)..=Duration::from_secs(3600))
    }),
    ("handshake-deadline", "1s", |c| c.handshake_deadline == Duration::from_secs(1)),
    ("tcp-first-byte", "10s", |c| c.tcp_first_byte == Some(Duration::from_secs(10))),
    ("assembly-deadline", "500ms", |c| c.assembly_deadline == Duration::from_millis(500)),
    ("write-deadline", "1m30s", |c| c.write_deadline == Duration::from_secs(90)),
    ("max-lifetime", "1h", |c| c.max_lifetime == Some(Duration::from_secs(3600))),
    ("idle-reader", "30s", |c| c.idle.reader == Some(Duration::from_secs(30)) && c.idle.writer.is_none()),
    ("idle-writer", "40s", |c| c.idle.writer == Some(Duration::from_secs(40)) && c.idle.all.is_none()),
    ("idle-all", "50s", |c| c.idle.all == Some(Duration::from_secs(50)) && c.idle.reader.is_none()),
    ("max-connections", "7", |c| c.max_connections == Some(7)),
    ("max-per-account", "7", |c| c.max_per_account == Some(7)),
    ("max-per-address", "7", |c| c.max_per_address == Some(7)),
    ("single", "replace", |c| c.single == SingleConnection::Replace),
    ("single-by", "device", |c| c.single_by == SingleBy::Device),
    ("accepts-per-second", "7", |c| c.accepts_per_second == Some(7)),
    ("max-message-bytes", "2MiB", |c| c.max_message_bytes == 2 << 20),
    ("max-fragments", "7", |c| c.max_fragments == Some(7)),
    ("rate", "7", |c| c.message_rate.is_some_and(|rate| rate.per_second == 7 && rate.burst == 200)),
    ("control-rate", "7", |c| c.control_rate.is_some_and(|rate| rate.per_second == 7 && rate.burst == 100)),
    ("control-burst", "7", |c| c.control_rate.is_some_and(|rate| rate.per_second == 50 && rate.burst == 7)),
    ("deliveries-per-second", "7", |c| c.deliveries_per_second == Some(7)),
    ("delivered-bytes-per-second", "7", |c| c.delivered_bytes_per_second == Some(7)),
    ("burst", "7", |c| c.message_rate.is_some_and(|rate| rate.per_second == 100 && rate.burst == 7)),
    ("broadcast", "on", |c| c.broadcast),
    ("queue-bytes", "2000", |c| c.queue_bytes == 2_000),
    ("queue-messages", "7", |c| c.queue_messages == 7),
    ("queue-total-bytes", "1GiB", |c| c.queue_total_bytes == 1 << 30),
    ("drain", "0", |c| c.drain.is_zero()),
    ("linger", "1s", |c| c.linger == Duration::from_secs(1)),
    ("stack-bytes", "512KiB", |c| c.stack_bytes == 512 << 10),
    ("router", "helped", |c| c.router == RouterWork::Helped),
    ("scheduling", "batch", |c| c.scheduling == Scheduling::Batch),
    ("log-format", "json", |_| true),
];

/// Whether a flag did to what surrounds the server what it should.
type SetupCheck = fn(&Setup) -> bool;

/// Flags of what surrounds the server, with those without which they say nothing.
const SETUP_EFFECTS: &[(&str, &str, &str, SetupCheck)] = &[
    (
        "auth",
        "token-file",
        "",
        |s| matches!(&s.authentication, Authentication::TokenFile(path) if path.ends_with("heartwire.tokens")),
    ),
    (
        "token-file",
        "t",
        "--auth token-file",
        |s| matches!(&s.authentication, Authentication::TokenFile(path) if path.ends_with("t")),
    ),
    ("jwt-key-file", "k", "--auth jwt", |s| {
        jwt(s).is_some_and(|jwt| jwt.key_file.ends_with("k") && jwt.algorithm == JwtAlgorithm::Hs256)
    }),
    ("jwt-algorithm", "EdDSA", "--auth jwt --jwt-key-file k", |s| {
        jwt(s).is_some_and(|jwt| jwt.algorithm == JwtAlgorithm::EdDsa && jwt.audience.is_none() && jwt.issuer.is_none())
    }),
    ("jwt-audience", "a", "--auth jwt --jwt-key-file k", |s| {
        jwt(s).is_some_and(|jwt| jwt.audience.as_deref() == Some("a") && jwt.issuer.is_none())
    }),
    ("jwt-issuer", "i", "--auth jwt --jwt-key-file k", |s| {
        jwt(s).is_some_and(|jwt| jwt.issuer.as_deref() == Some("i") && jwt.audience.is_none())
    }),
    ("auth-url", "http://a.example/", "--auth http", |s| {
        let usual = (Duration::from_secs(2), 32);
        back_end(s).is_some_and(|b| b.url == "http://a.example/" && (b.timeout, b.concurrency) == usual)
    }),
    ("auth-timeout", "1s", "--auth http --auth-url http://a.example/", |s| {
        back_end(s).is_some_and(|b| b.timeout == Duration::from_secs(1))
    }),
    ("auth-concurrency", "7", "--auth http --auth-url http://a.example/", |s| {
        back_end(s).is_some_and(|b| b.concurrency == 7)
    }),
    ("admin-key", "KEY", "", |s| s.admin_keys == AdminKeys::One("KEY".into())),
    ("admin-key-file", "f", "", |s| s.admin_keys == AdminKeys::File("f".into())),
    ("webhook", "http://a.example/", "--webhook-secret-file f", |s| {
        s.webhook.as_ref().is_some_and(|w| w.url == "http://a.example/" && w.events == [WebhookEvent::Presence])
    }),
    ("webhook-secret-file", "f", "--webhook http://a.example/", |s| {
        s.webhook.as_ref().is_some_and(|w| w.secret_file.ends_with("f"))
    }),
    ("webhook-events", "message,presence", "--webhook http://a.example/ --webhook-secret-file f", |s| {
        s.webhook.as_ref().is_some_and(|w| w.events == [WebhookEvent::Message, WebhookEvent::Presence])
    }),
];

fn jwt(setup: &Setup) -> Option<&JwtOptions> {
    if let Authentication::Jwt(options) = &setup.authentication { Some(options) } else { None }
}

fn back_end(setup: &Setup) -> Option<&BackEndOptions> {
    if let Authentication::BackEnd(options) = &setup.authentication { Some(options) } else { None }
}

/// The flags that `0` turns off, and whether it did.
const TURNED_OFF: &[(&str, Check)] = &[
    ("max-connections", |c| c.max_connections.is_none()),
    ("max-per-account", |c| c.max_per_account.is_none()),
    ("max-per-address", |c| c.max_per_address.is_none()),
    ("max-fragments", |c| c.max_fragments.is_none()),
    ("rate", |c| c.message_rate.is_none()),
    ("control-rate", |c| c.control_rate.is_none()),
    ("deliveries-per-second", |c| c.deliveries_per_second.is_none()),
    ("delivered-bytes-per-second", |c| c.delivered_bytes_per_second.is_none()),
    ("max-lifetime", |c| c.max_lifetime.is_none()),
    ("idle-reader", |c| c.idle.reader.is_none()),
    ("idle-writer", |c| c.idle.writer.is_none()),
    ("idle-all", |c| c.idle.all.is_none()),
    ("accepts-per-second", |c| c.accepts_per_second.is_none()),
    ("auth-failures", |c| c.auth_failures.is_none()),
];

fn config(flags: &[String]) -> Result<Config, Failure> {
    let config = setup(flags)?.config;
    config.validate().map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(config)
}

fn setup(flags: &[String]) -> Result<Setup, Failure> {
    let arguments: Vec<_> = ["heartwire", "serve"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let arguments: Vec<_> = arguments.into_iter().map(OsString::from).collect();
    Settings::load(&arguments)?.setup()
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// The flags of `serve`, without `--help`.
fn flags() -> Vec<clap::Arg> {
    let command = command();
    let serve = command.find_subcommand("serve").unwrap();
    serve.get_arguments().cloned().collect()
}

fn help(flag: &str) -> String {
    let mut command = command().term_width(80);
    let Err(help) = command.try_get_matches_from_mut(["heartwire", "serve", flag]) else { panic!("{flag} is no help") };
    assert_eq!(help.exit_code(), 0);
    help.render().to_string()
}

#[test]
fn the_command_is_well_formed() {
    command().debug_assert();
}

#[test]
fn without_flags_the_configuration_is_the_default_with_the_page() {
    let mut default = Config::default();
    default.page = true;
    default.admin.listen = vec![SocketAddr::from(([127, 0, 0, 1], 8081))];
    assert_eq!(format!("{:?}", config(&[]).unwrap()), format!("{default:?}"));
}

#[test]
fn every_flag_reaches_the_configuration() {
    for (flag, value, took_effect) in EFFECTS {
        let given = if value.is_empty() { format!("--{flag}") } else { format!("--{flag}={value}") };
        let needed = if *flag == "proxy-protocol" { "--trusted-proxy=::1" } else { "--page=off" };
        let needed = if *flag == "page" { Vec::new() } else { words(needed) };
        let config = config(&[needed, vec![given.clone()]].concat()).unwrap();
        assert!(took_effect(&config), "{given} left no trace");
    }
    for (flag, value, needed, took_effect) in SETUP_EFFECTS {
        let setup = setup(&words(&format!("--{flag}={value} {needed}"))).unwrap();
        assert!(took_effect(&setup), "--{flag}={value} left no trace");
    }
    let of_the_server = EFFECTS.iter().map(|(flag, ..)| *flag);
    let around_it = SETUP_EFFECTS.iter().map(|(flag, ..)| *flag);
    let tested: Vec<_> = of_the_server.chain(around_it).chain(["config"]).collect();
    for flag in flags() {
        assert!(tested.contains(&flag.get_long().unwrap()), "{flag} is not tested");
    }
}

#[test]
fn zero_turns_limits_off() {
    for (flag, is_off) in TURNED_OFF {
        assert!(is_off(&config(&words(&format!("--{flag} 0"))).unwrap()), "--{flag} 0");
    }
}

#[test]
fn a_switch_is_written_in_several_ways() {
    for (words_for_it, expected) in [("on", true), ("true", true), ("YES", true), ("off", false), ("False", false)] {
        let config = config(&words(&format!("--page {words_for_it} --allow-anonymous={words_for_it}"))).unwrap();
        assert_eq!((config.page, config.allow_anonymous), (expected, expected), "{words_for_it}");
    }
}

#[test]
fn who_can_reach_the_server_decides_whether_a_key_is_asked_for() {
    let default = || AdminKeys::File("heartwire-admin.keys".into());
    for (flags, keys) in [
        ("", AdminKeys::None),
        ("--admin-listen off --listen 0.0.0.0:80", AdminKeys::None),
        ("--listen 0.0.0.0:80", default()),
        ("--tcp-listen [::]:80", default()),
        ("--admin-listen 0.0.0.0:80", default()),
        ("--listen 0.0.0.0:80 --admin-key none", AdminKeys::None),
        ("--listen 0.0.0.0:80 --admin-key-file f", AdminKeys::File("f".into())),
    ] {
        assert_eq!(setup(&words(flags)).unwrap().admin_keys, keys, "{flags}");
    }
    assert!(setup(&words("--admin-key-file f --admin-key none")).is_err(), "it is one or the other");
    let open = setup(&words("--admin-listen 0.0.0.0:80 --admin-key none")).unwrap();
    let Err(Failure::Usage(message)) = open.open(Absent::Ignore) else { panic!("it was not refused") };
    assert!(message.contains("needs a key"), "{message}");
}

#[test]
fn repeatable_flags_add_up() {
    let config = config(&words("--host a --host b,c --listen 127.0.0.1:0 --listen localhost:0")).unwrap();
    assert_eq!(config.hosts, ["a", "b", "c"]);
    assert_eq!(config.listen.len(), 2);
    assert!(config.listen[1].ip().is_loopback());
}

#[test]
fn every_flag_is_an_environment_variable_of_the_same_name() {
    for flag in flags() {
        let name = flag.get_long().unwrap().to_uppercase().replace('-', "_");
        assert_eq!(flag.get_env().unwrap().to_str(), Some(format!("HEARTWIRE_{name}").as_str()));
    }
}

#[test]
fn the_name_of_a_choice_lists_its_values() {
    let choices: Vec<_> = flags().into_iter().filter(|flag| flag.get_action().takes_values()).collect();
    for flag in choices.iter().filter(|flag| !flag.get_possible_values().is_empty()) {
        let values: Vec<_> = flag.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        assert_eq!(flag.get_value_names().unwrap(), [values.join("|")]);
    }
}

#[test]
fn the_long_help_shows_every_flag_and_default() {
    let help = help("--help");
    let mut sections = help.split("\n      --").skip(1);
    for flag in flags() {
        let section = sections.next().unwrap();
        assert!(section.starts_with(flag.get_long().unwrap()), "{section}");
        for default in flag.get_default_values().iter().filter(|_| flag.get_action().takes_values()) {
            assert!(section.contains(&format!("[default: {}]", default.display())), "{section}");
        }
    }
    assert!(help.contains("[default: 25s, or") && help.contains("[default: 1m, or"));
    assert!(!help.contains("[env:"));
}

#[test]
fn the_short_help_fits_a_screen() {
    let help = help("-h");
    assert!(help.lines().count() <= 24, "{help}");
    assert!(help.contains("[default: 1m]") && help.contains("--config") && !help.contains("--linger"));
}

#[test]
fn nonsense_is_refused_in_one_line() {
    for (flags, essence) in [
        ("--nonsense", "unexpected argument '--nonsense'"),
        ("--max-connection 5", "a similar argument exists: '--max-connections'"),
        ("--max-connections -1", "invalid value '-1' for '--max-connections <N>'"),
        ("--max-connections many", "invalid value 'many'"),
        ("--page", "a value is required for '--page <on|off>'"),
        ("--page maybe", "[possible values: on, off]"),
        ("--drain 10", "time unit needed"),
        ("--queue-bytes 1potato", "a size is written as"),
        ("--trusted-proxy 10.0.0.0/33", "neither an address nor a range"),
        ("--listen 8080", "\"8080\" is not of the form HOST:PORT"),
        ("--listen :8080", "\":8080\" is not of the form HOST:PORT"),
        ("--listen 127.0.0.1:65536", "is not of the form HOST:PORT"),
        ("--origin example.org", "scheme://host[:port]"),
        ("--heartbeat-interval 60s --heartbeat-timeout 60s", "heartbeat-interval (60s) must be less"),
        ("--heartbeat-preset 4m", "[possible values: 3m, 5m, 10m]"),
        ("--heartbeat-preset 3m --heartbeat-interval 1m", "cannot be used with"),
        ("--heartbeat-preset 3m --heartbeat-timeout 1m", "must be less than heartbeat-timeout"),
        ("--tcp-listen 7373", "tcp-listen: \"7373\" is not of the form HOST:PORT"),
        ("--tcp-first-byte 0s", "tcp-first-byte must not be zero"),
        ("--ginchat-path chat", "must begin with /"),
        ("--ginchat-path /ws", "are both \"/ws\""),
        ("--heartbeat-timeout 0s", "must not be zero"),
        ("--negotiable-timeout 2m..1m", "negotiable-timeout"),
        ("--negotiable-timeout 2m", "a range of times is written as"),
        ("--handshake-deadline 0", "handshake-deadline must not be zero"),
        ("--max-message-bytes 0", "max-message-bytes must not be zero"),
        ("--queue-messages 0", "queue-messages must not be zero"),
        ("--rate 1 --burst 0", "burst must not be zero"),
        ("--stack-bytes 64KiB", "stack-bytes"),
        ("--proxy-protocol v2", "needs at least one trusted-proxy"),
        ("--allow-anonymous=maybe", "[possible values: on, off]"),
        ("--auth jwt", "auth jwt needs a jwt-key-file"),
        ("--auth http", "auth http needs an auth-url"),
        ("--jwt-key-file k", "jwt-key-file has no effect while auth is none"),
        ("--auth-url http://a.example/", "it needs auth http"),
        ("--token-file t", "it needs auth token-file"),
        ("--auth-failures-burst 0", "auth-failures-burst must not be zero"),
        ("--admin-listen off,127.0.0.1:0", "admin-listen: \"off\" is not of the form HOST:PORT"),
        ("--webhook http://a.example/", "webhook needs a webhook-secret-file"),
        ("--webhook-events nonsense", "[possible values: presence, message]"),
        ("--config /nonexistent/file", "/nonexistent/file: No such file"),
    ] {
        let Err(Failure::Usage(message)) = config(&words(flags)) else { panic!("{flags} was not refused") };
        assert!(message.contains(essence), "{flags}: {message}");
        assert_eq!(message.lines().count(), 1, "{flags}: {message}");
        assert!(!message.starts_with("error"), "{message}");
    }
}
