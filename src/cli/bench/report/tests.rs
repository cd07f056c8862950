//! What is written of a run, word by word.

use super::super::measured::{ClientCost, Depth, Latency, Measured, ServerCost};
use super::*;
use serde_json::Value;
use std::collections::BTreeMap;

/// A relay with everything known of it.
pub(in crate::cli::bench) fn relay(connections: usize, senders: usize) -> Measured {
    Measured {
        workload: "relay",
        server: String::new(),
        connections,
        senders,
        window: 1,
        offered_per_second: None,
        payload_bytes: 16,
        stack_bytes: None,
        seconds: 2.0,
        sent: 162_450,
        delivered: 162_446,
        lost: 0,
        latency_us: Some(Latency { p50: 120.7, p90: 200.0, p99: 1_234.7, p999: 5_000.0, max: 12_000.25 }),
        server_cost: Some(ServerCost {
            cpu_us_per_delivery: Some(13.875),
            processors: 1.5,
            voluntary_switches_per_delivery: Some(1.02),
            involuntary_switches_per_delivery: Some(0.0125),
            threads: 58,
            resident_bytes: 9 << 20,
            resident_bytes_per_connection: 12_186.0,
            kernel_bytes_per_connection: Some(6_349.0),
            router_queue: Some(Depth { mean: 1.5, p99: 8.0 }),
        }),
        client: ClientCost { processors: 0.4, bottleneck: false },
        interrupted: false,
    }
}

/// Nothing but idle connections, on a system that tells nothing of a process.
fn idle() -> Measured {
    Measured {
        workload: "idle",
        server: "ws://127.0.0.1:1/ws".into(),
        window: 0,
        sent: 0,
        delivered: 0,
        latency_us: None,
        server_cost: None,
        ..relay(10_000, 0)
    }
}

#[test]
fn one_run_is_told_line_by_line() {
    let expected = "\
relay, connections 50, senders 50, window 1, payload 16 B, measured 2 s

delivered         81,223 /s
p50                  121 µs
p90                  200 µs
p99                1,235 µs
p99.9              5,000 µs
longest           12,000 µs
CPU                 13.9 µs each
CPU                 1.50 processors
waits               1.02 each
preempted          0.013 each
router queue        1.50 batches
router queue p99       8 batches
threads               58
resident           9 MiB
client             0.400 processors
";
    assert_eq!(table(&[relay(50, 50)]), expected);
    let expected = "\
idle, server ws://127.0.0.1:1/ws, connections 10,000, payload 16 B, measured 2 s

client  0.400 processors
";
    assert_eq!(table(&[idle()]), expected);
}

#[test]
fn many_connections_show_what_one_of_them_takes() {
    let of_many = table(&[relay(200, 200)]);
    assert!(
        of_many.contains("\nresident            11.9 KiB/conn.\nkernel              6.20 KiB/conn.\n"),
        "{of_many}"
    );
    assert!(!table(&[relay(199, 199)]).contains("conn."));
}

#[test]
fn several_runs_are_a_line_each_and_what_they_have_in_common_is_told_once() {
    let helped = Measured { server: "--router helped".into(), server_cost: None, ..relay(10_000, 2) };
    let expected = "\
relay, senders 2, window 1, payload 16 B, measured 2 s

server           connections  delivered  p50    p99      CPU  waits  router queue   resident     kernel
                                     /s   µs     µs  µs each   each       batches  KiB/conn.  KiB/conn.
-                        500     81,223  121  1,235     13.9   1.02          1.50       11.9       6.20
--router helped       10,000     81,223  121  1,235        -      -             -          -          -
";
    assert_eq!(table(&[relay(500, 2), helped]), expected);
}

#[test]
fn what_casts_doubt_on_a_run_stands_below() {
    let mut bad = Measured { lost: 4, interrupted: true, ..relay(50, 50) };
    bad.client.bottleneck = true;
    let notes = |runs: &[Measured]| table(runs).rsplit_once("\n\n").unwrap().1.to_owned();
    let expected = "\
lost: 4 deliveries never came
client bottleneck: the load had no time left; the figures are its own rather than the server's
interrupted: ended before its time
";
    assert_eq!(notes(std::slice::from_ref(&bad)), expected);
    let of_several = notes(&[relay(50, 2), bad]);
    assert!(of_several.starts_with("lost (50 senders): 4 deliveries"), "{of_several}");
    assert_eq!(of_several.lines().count(), 3, "{of_several}");
}

#[test]
fn nobody_s_text_drives_the_terminal() {
    let run = Measured { server: "--path \u{1b}[31m\n/x".into(), ..relay(2, 2) };
    assert!(table(&[run]).starts_with("relay, server --path \\u{1b}[31m\\n/x, connections 2,"));
}

#[test]
fn nothing_measured_is_an_empty_table() {
    assert_eq!(table(&[]).trim(), "");
    assert_eq!(csv(&[]).lines().count(), 1);
}

#[test]
fn json_is_one_line_with_the_names_of_the_measurements() {
    let text = json(&relay(50, 50));
    assert_eq!(text.matches('\n').count(), 1);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["workload"], "relay");
    assert_eq!(value["latency_us"]["p99"], 1_234.7);
    assert_eq!(value["server_cost"]["router_queue"]["p99"], 8.0);
    assert_eq!(value["stack_bytes"], Value::Null);
}

#[test]
fn the_csv_holds_what_the_json_does() {
    let run = Measured { stack_bytes: Some(65_536), offered_per_second: Some(1e4), ..relay(50, 50) };
    let text = csv(std::slice::from_ref(&run));
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let [names, fields] = &*lines else { panic!("{text}") };
    let mut told: BTreeMap<String, String> =
        names.iter().zip(fields).map(|(name, field)| ((*name).to_owned(), (*field).to_owned())).collect();
    assert_eq!(told.len(), COLUMNS.len(), "a name twice, or fields that do not match the names");
    assert_eq!(told.remove("delivered_per_second").as_deref(), Some("81223"));
    let mut expected = BTreeMap::new();
    flatten(&serde_json::to_value(&run).unwrap(), "", &mut expected);
    assert_eq!(told, expected);
}

/// Every value with its path as its name.
fn flatten(value: &Value, name: &str, into: &mut BTreeMap<String, String>) {
    let Value::Object(object) = value else {
        let text = match value {
            Value::String(text) => text.clone(),
            // JSON marks whole numbers of the other kind by a fraction.
            Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
            other => other.to_string(),
        };
        assert!(into.insert(name.to_owned(), text).is_none());
        return;
    };
    for (key, value) in object {
        let name = if name.is_empty() { key.clone() } else { format!("{name}_{key}") };
        flatten(value, &name, into);
    }
}

#[test]
fn a_field_of_the_csv_is_empty_where_nothing_is_known_and_quoted_where_it_must_be() {
    let run = Measured { server: "--origin \"a\",b".into(), ..idle() };
    let text = csv(&[run]);
    let (names, fields) = text.split_once('\n').unwrap();
    let expected = "idle,\"--origin \"\"a\"\",b\",10000,0,0,,16,,2,0,0,0,,,,,,,,,,,,,,,,0.4,false,false,0\n";
    assert_eq!(fields, expected);
    // The field in quotes holds a comma of its own.
    assert_eq!(names.matches(',').count() + 2, fields.matches(',').count() + 1);
}
