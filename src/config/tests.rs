//! What does not fit together, and what follows from what.

use super::*;

fn wrong(change: impl FnOnce(&mut Config)) -> String {
    let mut config = Config::default();
    change(&mut config);
    config.validate().map_or_else(|error| error.to_string(), |()| "nothing".into())
}

#[test]
fn no_time_can_overflow_an_instant() {
    let (day, month) = (Duration::from_secs(24 * 3600), Duration::from_secs(30 * 24 * 3600));
    assert_eq!(wrong(|_| {}), "nothing");
    assert_eq!(wrong(|c| c.heartbeat.timeout = Some(month)), "nothing");
    assert_eq!(wrong(|c| c.idle.all = Some(Duration::MAX)), "idle.all must not be longer than a year");
    assert_eq!(wrong(|c| c.drain = 400 * day), "drain must not be longer than a year");
    assert_eq!(wrong(|c| c.linger = Duration::ZERO), "linger must not be zero");
    assert_eq!(wrong(|c| c.drain = Duration::ZERO), "nothing");
}

#[test]
fn either_end_of_the_heartbeat_follows_from_the_other() {
    let times = |interval: Option<u64>, timeout: Option<u64>| {
        let seconds = |n: Option<u64>| n.map(Duration::from_secs);
        let times =
            Heartbeat { interval: seconds(interval), timeout: seconds(timeout), ..Heartbeat::default() }.times();
        (times.interval.as_secs(), times.timeout.as_secs())
    };
    assert_eq!(times(None, None), (25, 60));
    assert_eq!(times(None, Some(12)), (5, 12));
    assert_eq!(times(None, Some(600)), (25, 600));
    assert_eq!(times(Some(10), None), (10, 60));
    assert_eq!(times(Some(100), None), (100, 240));
}

#[test]
fn the_path_of_a_dialect_matters_only_where_it_is_spoken() {
    let at_chat = |protocol| wrong(|c| (c.protocol, c.path) = (protocol, "/chat".into()));
    assert_eq!(at_chat(Protocol::Native), "path and ginchat-path are both \"/chat\"");
    assert_eq!(at_chat(Protocol::Raw), "nothing");
}

#[test]
fn a_stack_is_neither_too_small_nor_beyond_reason() {
    assert!(wrong(|c| c.stack_bytes = 64 << 10).starts_with("stack-bytes must be 131072 to"));
    assert!(wrong(|c| c.stack_bytes = usize::MAX).starts_with("stack-bytes must be 131072 to"));
}

#[test]
fn the_past_that_is_kept_is_bounded() {
    assert_eq!(wrong(|c| c.closed_connections = 0), "nothing");
    assert_eq!(wrong(|c| c.closed_connections = 1_000_000), "nothing");
    assert_eq!(wrong(|c| c.closed_connections = usize::MAX), "closed-connections is at most 1000000");
}

#[test]
fn a_network_holds_the_addresses_that_share_its_leading_bits() {
    let network = |text: &str| text.parse::<Network>().unwrap();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    assert!(network("10.0.0.0/8").contains(address("10.255.0.1")));
    assert!(!network("10.0.0.0/8").contains(address("11.0.0.0")));
    assert!(network("192.0.2.1").contains(address("::ffff:192.0.2.1")));
    assert!(network("0.0.0.0/0").contains(address("203.0.113.9")));
    assert!(!network("0.0.0.0/0").contains(address("2001:db8::1")));
    assert!(network("2001:db8::/33").contains(address("2001:db8:7fff::1")));
    assert!(!network("2001:db8::/33").contains(address("2001:db8:8000::1")));
    for text in ["", "10.0.0.0/33", "::1/129", "10.0.0/8", "10.0.0.0/x", "name"] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
}
