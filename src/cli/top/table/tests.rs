//! Every cell, what fits, and what is aligned.

use super::super::tests::{METRICS, NOW_MS, answer, connection};
use super::*;
use std::time::Instant;

/// The cells of a connection with one field changed, by their titles.
fn cell(title: &str, field: &str, value: serde_json::Value) -> String {
    let mut connection = connection(1, "alice");
    connection[field] = value;
    let table = Table::of(&[serde_json::from_value(connection).unwrap()], NOW_MS);
    let at = COLUMNS.iter().position(|column| column.title == title).unwrap();
    table.rows[0][at].clone()
}

#[test]
fn every_column_shows_its_field() {
    for (title, field, value, shown) in [
        ("ACCOUNT", "account", "Grüße, 你好".into(), "Grüße, 你好"),
        ("ACCOUNT", "account", "".into(), "-"),
        ("ACCOUNT", "account", "\u{1b}]0;x\u{7}\u{202e}".into(), "\\u{1b}]0;x\\u{7}\\u{202e}"),
        ("QUEUED", "queued_bytes", 1_536.into(), "1.5K"),
        ("MSG/S", "messages_per_second", 1.25.into(), "1.2"),
        ("FRAMES/S", "frames_per_second", 1_000.into(), "1000.0"),
        ("RTT-MS", "round_trip_ms", serde_json::json!({ "p50": 0.25 }), "0.2"),
        ("RTT-MS", "round_trip_ms", serde_json::json!({ "p50": null }), "-"),
        ("HEARD", "last_heard_ms", 59_940.into(), "59.9s"),
        ("HEARD", "last_heard_ms", 60_000.into(), "1m"),
        ("AGE", "since", (NOW_MS - 3_725_999).into(), "1h2m"),
        ("AGE", "since", (NOW_MS + 1).into(), "0.0s"),
        ("AGE", "since", 0.into(), "56years10months"),
        ("DEVICE", "device", "phone\n".into(), "phone\\n"),
        ("ADDRESS", "address", "[::1]:5".into(), "[::1]:5"),
        ("PEAK", "queue_high_water_bytes", (3 << 20).into(), "3.0M"),
        ("DROPPED", "frames_dropped", 9.into(), "9"),
        ("PINGS", "pings_answered", 2.into(), "2/4"),
        ("RECEIVED", "messages_received", 8.into(), "8"),
        ("SENT", "frames_sent", 8.into(), "8"),
        ("DIALECT", "dialect", "ginchat".into(), "ginchat"),
        ("PAGE", "background", true.into(), "hidden"),
        ("PAGE", "background", false.into(), "shown"),
        ("PAGE", "background", serde_json::Value::Null, "-"),
        ("CLOSING", "closing", serde_json::json!({ "reason": "going_away" }), "going_away"),
        ("CLOSING", "closing", serde_json::Value::Null, "-"),
        ("ID", "id", "1-2".into(), "1-2"),
    ] {
        assert_eq!(cell(title, field, value), shown, "{title}");
    }
}

#[test]
fn a_narrow_terminal_has_the_most_important_columns() {
    let table = answer(&["alice", "a name of more than thirty bytes"], METRICS, Instant::now()).table;
    for (room, columns) in [(0, 1), (24, 1), (31, 1), (32, 2), (39, 3), (u16::MAX, COLUMNS.len())] {
        let widths = table.fitting(Some(room.into()));
        assert_eq!(widths.len(), columns, "{room}");
        assert_eq!(widths[0], MAX_WIDTH);
        let taken = widths.iter().sum::<usize>() + usize::from(GAP) * (columns - 1);
        assert!(columns == 1 || taken <= room.into(), "{taken} of {room}");
    }
    assert_eq!(table.fitting(None)[0], "a name of more than thirty bytes".len());
}

#[test]
fn text_is_aligned_by_what_a_terminal_makes_of_it() {
    let text = answer(&["你好", "a", "e\u{301}\u{9b}31m"], METRICS, Instant::now()).table.plain(Some(40));
    let expected = "\
ACCOUNT            QUEUED  MSG/S
你好                   0B    1.2
a                      0B    1.2
e\\u{301}\\u{9b}31m      0B    1.2
";
    assert_eq!(text, expected);
    let cut = answer(&["你好你好你好你好你好你好x"], METRICS, Instant::now()).table.plain(Some(24));
    assert_eq!(cut.lines().last(), Some("你好你好你好你好你好你好"), "and no half a character");
    assert_eq!(answer(&[], METRICS, Instant::now()).table.plain(Some(20)), "ACCOUNT  QUEUED\n");
}
