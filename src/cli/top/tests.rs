//! The flags, the plain text, and answers to try the rest with.

use super::*;
use clap::{Command, FromArgMatches};

/// The metrics of a server with 3 of 10 connections.
pub(super) const METRICS: &str = r#"# HELP heartwire_connections Connections that are registered.
# TYPE heartwire_connections gauge
heartwire_connections 3
heartwire_connections_limit 10
heartwire_router_inbox_batches 1
heartwire_router_inbox_limit_batches 64
heartwire_outbound_queued_bytes 2048
heartwire_outbound_queued_limit_bytes 268435456
heartwire_outbound_queue_limit_bytes 1048576
heartwire_messages_received_total 120
heartwire_frames_sent_total 1.5e+03 # {trace="1"} 1.0 1.7e9
heartwire_dropped_total{kind="outbound_frames"} 2
heartwire_dropped_total{kind="commands"} 1
heartwire_connections_closed_total{reason="normal",code="1000"} 7
heartwire_connections_closed_total{reason="application",code="other"} 2
# EOF
"#;

/// When the answers of these tests are given, in ms since 1970.
pub(super) const NOW_MS: u64 = 1_795_371_104_424;

/// An answer with these accounts, of which each has the same to show.
pub(super) fn answer(accounts: &[&str], metrics: &str, at: Instant) -> Answer {
    let connections: Vec<_> = accounts.iter().enumerate().map(|(at, account)| connection(at, account)).collect();
    let body = serde_json::json!({ "connections": connections, "total": accounts.len() + 100, "next": null });
    Answer::read(&body.to_string(), metrics, at, NOW_MS).unwrap()
}

/// A connection as the server tells of it.
pub(super) fn connection(number: usize, account: &str) -> serde_json::Value {
    serde_json::json!({
        "id": format!("1ec21a191511442f-{number}"), "account": account, "device": "", "dialect": "native",
        "address": "203.0.113.7:51234", "since": NOW_MS - 3_725_000, "background": true,
        "heartbeat": { "interval_ms": 25_000, "timeout_ms": 60_000 }, "last_heard_ms": 1_250,
        "messages_received": 12, "bytes_received": 1_234, "frames_sent": 20, "bytes_sent": 3_456, "frames_dropped": 0,
        "messages_per_second": 1.25, "frames_per_second": 3.4, "queued_bytes": 0, "queue_high_water_bytes": 1_536,
        "pings_sent": 4, "pings_answered": 3, "round_trip_ms": { "last": null, "p50": null, "max": null },
        "closing": null
    })
}

fn command() -> Command {
    Flags::augment_args(Command::new("top").no_binary_name(true).term_width(80))
}

fn flags(arguments: &[&str]) -> Result<Flags, clap::Error> {
    Flags::from_arg_matches(&command().try_get_matches_from(arguments)?)
}

#[test]
fn without_flags_it_shows_the_busiest_hundred_every_two_seconds() {
    let flags = flags(&[]).unwrap();
    assert_eq!((flags.sort, flags.limit, flags.search.as_str()), (Sort::Busiest, 100, ""));
    assert_eq!((flags.interval, flags.once), (Time(Duration::from_secs(2)), false));
    assert_eq!(flags.server.address(), "http://127.0.0.1:8081");
}

#[test]
fn what_the_server_would_refuse_is_refused_here() {
    for (arguments, essence) in [
        (["--limit", "0"], "1..=1000"),
        (["--limit", "1001"], "1..=1000"),
        (["--sort", "loudest"], "busiest, slowest, oldest"),
        (["--interval", "99ms"], "at least 100ms"),
        (["--interval", "2"], "time unit needed"),
        (["--admin", "potato"], "http://"),
    ] {
        let Err(error) = flags(&arguments) else { panic!("{arguments:?} passed") };
        assert!(error.to_string().contains(essence), "{arguments:?}: {error}");
    }
    assert!(flags(&["--interval", "100ms", "--limit", "1000"]).is_ok());
}

#[test]
fn the_short_help_fits_a_screen() {
    let help = command().render_help().to_string();
    assert!(help.lines().count() <= 24 && help.contains("--once"), "{help}");
}

#[test]
fn the_text_is_a_line_of_totals_and_the_table() {
    let text = plain(&answer(&["alice", "bob"], METRICS, Instant::now()), None);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "connections 3 of 10  messages 120 in, 1500 out  since the start: 3 dropped, 9 ended  \
             queued 2.0K of 256.0M  router inbox 1 of 64",
            ""
        ]
    );
    assert!(lines[2].starts_with("ACCOUNT  QUEUED") && lines[3].starts_with("alice ") && lines[4].starts_with("bob  "));
    assert_eq!((lines.len(), text.ends_with('\n')), (5, true));
}
