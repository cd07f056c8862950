//! Pages of metrics, bodies of JSON, and what is made of them.

use super::super::tests::{METRICS, answer};
use super::*;
use serde_json::json;

#[test]
fn totals_are_read_from_the_page_of_metrics() {
    let metrics = Metrics::read(METRICS).unwrap();
    assert_eq!((metrics.connections, metrics.connections_limit), (3, 10));
    assert_eq!((metrics.inbox_batches, metrics.inbox_limit_batches), (1, 64));
    assert_eq!((metrics.queued_bytes, metrics.queued_limit_bytes), (2_048, 256 << 20), "not that of a connection");
    assert_eq!(metrics.counts, Counts { received: 120, sent: 1_500, dropped: 3, ended: 9 }, "over all labels");
}

#[test]
fn what_a_server_does_not_count_is_zero_but_another_page_is_no_answer() {
    let bare = Metrics::read("heartwire_connections 1\n# EOF\n").unwrap();
    assert_eq!((bare.connections, bare.connections_limit, bare.counts), (1, 0, Counts::default()));
    for page in ["", "<html>", "heartwire_connections_limit 10", "heartwire_connections many"] {
        assert!(Metrics::read(page).is_none(), "{page}");
    }
    for body in ["", "<html>", r#"{"connections":[]}"#, r#"{"connections":[{"id":"1"}],"total":1}"#] {
        let answer = Answer::read(body, METRICS, Instant::now(), 0);
        assert!(matches!(answer, Err(Failure::Run(why)) if why.contains("no answer of a heartwire server")), "{body}");
    }
}

#[test]
fn an_answer_has_a_row_for_each_connection() {
    let answer = answer(&["alice", "bob"], METRICS, Instant::now());
    assert_eq!((answer.connections.len(), answer.table.rows.len(), answer.matching), (2, 2, 102));
}

#[test]
fn a_server_that_started_anew_has_no_difference_to_what_it_was() {
    let before = Counts { received: 5, sent: 5, dropped: 5, ended: 5 };
    let after = Counts { received: 7, sent: 6, dropped: 5, ended: 8 };
    assert_eq!(after.since(&before), Some(Counts { received: 2, sent: 1, dropped: 0, ended: 3 }));
    assert_eq!(before.since(&after), None);
}

#[test]
fn all_that_is_said_of_a_connection_is_shown() {
    let connection = json!({
        "account": "e\u{1b}[31mvil\u{202e}", "background": null, "heartbeat": { "interval_ms": 25_000 },
        "rooms": ["a", "b\n"], "none": [], "rate": 1.5, "since": 1_795_371_104_424_u64, "closing": { "code": 1001 },
        "\u{7}": true
    });
    let expected = [
        ("\\u{7}", "true"),
        ("account", "e\\u{1b}[31mvil\\u{202e}"),
        ("background", "-"),
        ("closing.code", "1001"),
        ("heartbeat.interval_ms", "25000"),
        ("none", "-"),
        ("rate", "1.5"),
        ("rooms", "a"),
        ("rooms", "b\\n"),
        ("since", "1795371104424 (2026-11-22T18:11:44Z)"),
    ];
    assert_eq!(fields(&connection), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}
