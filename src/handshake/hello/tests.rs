//! The deadlines of a client without an account, and what is taken for another protocol.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_nanos(1);

/// The deadlines of a client that was accepted at `start`.
fn clock(start: Instant, must_say_hello: bool, change: impl FnOnce(&mut Config)) -> Clock {
    let mut config = Config::default();
    change(&mut config);
    Clock::new(&config, start, must_say_hello)
}

/// Why it is ended at this moment, and that it is not a moment earlier.
#[track_caller]
fn ended_at(clock: &Clock, at: Instant) -> String {
    assert_eq!(clock.due(at - TICK), Ok(at));
    clock.due(at).unwrap_err().to_string()
}

#[test]
fn the_first_byte_has_the_handshakes_deadline_unless_it_has_its_own() {
    let start = Instant::now();
    let usual = clock(start, false, |_| {});
    assert_eq!(ended_at(&usual, start + 5 * SECOND), "4104 too slow: nothing came within 5s");
    let own = clock(start, false, |config| config.tcp_first_byte = Some(10 * SECOND));
    assert_eq!(ended_at(&own, start + 10 * SECOND), "4104 too slow: nothing came within 10s");
}

#[test]
fn every_byte_extends_the_deadline() {
    let start = Instant::now();
    let mut clock = clock(start, false, |config| config.heartbeat.timeout = Some(4 * SECOND));
    assert!(clock.heard(start + SECOND));
    for second in 2..20 {
        assert!(!clock.heard(start + second * SECOND));
    }
    let text = "4201 heartbeat timeout: heard nothing for 4.0 s";
    assert_eq!(ended_at(&clock, start + 23 * SECOND), text);
}

#[test]
fn a_lifetime_ends_whatever_arrives() {
    let start = Instant::now();
    let mut clock = clock(start, false, |config| config.max_lifetime = Some(10 * SECOND));
    assert!(clock.heard(start + 9 * SECOND));
    assert_eq!(ended_at(&clock, start + 10 * SECOND), "4202 lifetime reached");
}

#[test]
fn where_clients_are_authenticated_hello_has_a_deadline() {
    let start = Instant::now();
    let mut clock = clock(start, true, |config| config.tcp_first_byte = Some(10 * SECOND));
    assert_eq!(ended_at(&clock, start + 5 * SECOND), "4104 too slow: nothing came within 5s");
    clock.heard(start + 4 * SECOND);
    assert_eq!(ended_at(&clock, start + 5 * SECOND), "4104 too slow: no hello came in time");
}

#[test]
fn a_late_hello_has_time_for_the_rest_unless_it_had_a_deadline_itself() {
    let (start, config) = (Instant::now(), Config::default());
    let late = start + 4 * SECOND;
    assert_eq!(clock(start, false, |_| {}).admission_due(&config, late), start + 9 * SECOND);
    assert_eq!(clock(start, true, |_| {}).admission_due(&config, late), start + 5 * SECOND);
}

#[test]
fn a_promise_moves_the_deadline() {
    let (start, config) = (Instant::now(), Config::default());
    let mut clock = clock(start, false, |_| {});
    clock.heard(start);
    clock.promise(&config, Some(120 * SECOND));
    clock.promise(&config, None);
    assert_eq!(ended_at(&clock, start + 180 * SECOND), "4201 heartbeat timeout: heard nothing for 180.0 s");
}

#[test]
fn what_a_web_page_can_have_sent_is_not_taken_for_json() {
    for line in ["GET / HTTP/1.1", "POST /x HTTP/1.0", "PRI * HTTP/2.0", "\u{16}\u{3}\u{1}\u{2}"] {
        assert!(is_foreign(line.as_bytes()), "{line}");
    }
    for line in ["", "HTTP/1.1", r#"{"type":"hello","user_id":"HTTP/1.1"}"#, "0 Hello I'm MyHeartbeat Client."] {
        assert!(!is_foreign(line.as_bytes()), "{line}");
    }
}
