//! Every clock on an injected `now`: no test here sleeps, and each boundary is checked to the nanosecond.

use super::*;

mod random;

const TICK: Duration = Duration::from_nanos(1);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The clocks of a connection accepted and alive at the returned instant: by default pings at 25 s, the end at 60 s.
fn clocks(change: impl FnOnce(&mut Config)) -> (Heartbeat, Instant) {
    let (mut config, start) = (Config::default(), Instant::now());
    change(&mut config);
    (Heartbeat::new(&config, start, None, start), start)
}

/// Drives the clocks by the instants they name themselves, from `from` until just before `until` or the end; returns
/// what they asked for, and how long after `from`.
fn drive(heartbeat: &mut Heartbeat, from: Instant, until: Duration) -> Vec<(Duration, Step)> {
    let (mut now, mut asked) = (from, Vec::new());
    loop {
        match heartbeat.step(now, from) {
            Step::Wait(next) => {
                assert!(next > now, "a wait that is over already");
                if next >= from + until {
                    return asked;
                }
                now = next;
            }
            step => {
                let end = matches!(step, Step::Close(_));
                asked.push((now - from, step));
                if end {
                    return asked;
                }
            }
        }
    }
}

fn promise(heartbeat: &mut Heartbeat, promise: Duration) {
    heartbeat.set_times(times_for(&Config::default().heartbeat, Some(promise)));
}

fn closes(step: &Step) -> Option<CloseKind> {
    match step {
        Step::Close(reason) => Some(reason.kind()),
        _ => None,
    }
}

fn close_text(heartbeat: &mut Heartbeat, now: Instant) -> String {
    match heartbeat.step(now, now) {
        Step::Close(reason) => reason.to_string(),
        step => panic!("{step:?}"),
    }
}

fn ping(step: Step) -> [u8; 4] {
    match step {
        Step::Ping(payload) => payload,
        step => panic!("{step:?}"),
    }
}

fn idle(kind: IdleKind, first: bool, silent_for: u64) -> Step {
    Step::Idle(Idle::new(kind, first, seconds(silent_for)))
}

#[test]
fn silence_is_met_with_pings_and_then_with_the_end() {
    let (mut heartbeat, start) = clocks(|_| ());
    let asked = drive(&mut heartbeat, start, seconds(1_000));
    let at: Vec<_> = asked.iter().map(|(after, _)| *after).collect();
    assert_eq!(at, [seconds(25), seconds(50), seconds(60)]);
    assert_ne!(asked[0].1, asked[1].1, "each ping has a payload of its own");
    let reason = CloseReason::new(CloseKind::HeartbeatTimeout, "heard nothing for 60.0 s; 2 pings unanswered");
    assert_eq!(asked[2].1, Step::Close(reason));
    assert_eq!(*heartbeat.pulse(), Pulse { pings_sent: 2, ..Pulse::default() });
}

#[test]
fn each_deadline_holds_to_the_nanosecond() {
    let (mut heartbeat, start) = clocks(|_| ());
    let holds = |heartbeat: &mut Heartbeat, deadline: Instant| {
        assert_eq!(heartbeat.step(deadline - TICK, start), Step::Wait(deadline));
        heartbeat.step(deadline, start)
    };
    ping(holds(&mut heartbeat, start + seconds(25)));
    ping(holds(&mut heartbeat, start + seconds(50)));
    assert_eq!(closes(&holds(&mut heartbeat, start + seconds(60))), Some(CloseKind::HeartbeatTimeout));

    let (mut heartbeat, _) = clocks(|config| config.assembly_deadline = seconds(7));
    heartbeat.assembling(Some(start + seconds(1)));
    assert_eq!(closes(&holds(&mut heartbeat, start + seconds(8))), Some(CloseKind::TooSlow));

    let (mut heartbeat, accepted) = clocks(|config| config.max_lifetime = Some(seconds(9)));
    assert_eq!(heartbeat.step(accepted + seconds(9) - TICK, start), Step::Wait(accepted + seconds(9)));
    assert_eq!(closes(&heartbeat.step(accepted + seconds(9), start)), Some(CloseKind::LifetimeReached));

    let (mut heartbeat, alive) = clocks(|config| config.idle.reader = Some(seconds(3)));
    assert_eq!(heartbeat.step(alive + seconds(3) - TICK, alive), Step::Wait(alive + seconds(3)));
    assert_eq!(heartbeat.step(alive + seconds(3), alive), idle(IdleKind::Reader, true, 3));
}

#[test]
fn the_reason_says_for_how_long_nothing_was_heard_and_counts_the_pings_since() {
    let (mut heartbeat, start) = clocks(|_| ());
    assert!(close_text(&mut heartbeat, start + seconds(60)).ends_with("heard nothing for 60.0 s; 0 pings unanswered"));
    ping(heartbeat.step(start + seconds(25), start));
    let late = start + Duration::from_millis(61_300);
    assert_eq!(close_text(&mut heartbeat, late), "4201 heartbeat timeout: heard nothing for 61.3 s; 1 ping unanswered");
    heartbeat.heard(Sign::Bytes, start + seconds(30));
    let text = close_text(&mut heartbeat, start + seconds(90));
    assert!(text.ends_with("for 60.0 s; 0 pings unanswered"), "{text}");
}

#[test]
fn any_byte_is_a_sign_of_life_unless_only_heartbeats_are() {
    for (liveness, sign, lives) in [
        (Liveness::Any, Sign::Bytes, true),
        (Liveness::Any, Sign::Beat, true),
        (Liveness::Heartbeat, Sign::Bytes, false),
        (Liveness::Heartbeat, Sign::Beat, true),
    ] {
        let (mut heartbeat, start) = clocks(|config| config.heartbeat.liveness = liveness);
        ping(heartbeat.step(start + seconds(25), start));
        heartbeat.heard(sign, start + seconds(30));
        assert_eq!(heartbeat.last_heard(), start + seconds(30), "the statistics count every byte");
        let at: Vec<_> = drive(&mut heartbeat, start, seconds(1_000)).into_iter().map(|(after, _)| after).collect();
        let expected = if lives { [55, 80, 90].as_slice() } else { &[50, 60] };
        assert_eq!(at, expected.iter().copied().map(seconds).collect::<Vec<_>>(), "{liveness:?} {sign:?}");
    }
}

#[test]
fn a_client_that_chats_but_never_beats_is_told_so() {
    let (mut heartbeat, start) = clocks(|config| config.heartbeat.liveness = Liveness::Heartbeat);
    for n in 1..60 {
        heartbeat.heard(Sign::Bytes, start + seconds(n));
    }
    let text = close_text(&mut heartbeat, start + seconds(60));
    assert_eq!(text, "4201 heartbeat timeout: heard no heartbeat for 60.0 s; 0 pings unanswered");
}

#[test]
fn what_the_server_sends_never_counts() {
    let (mut heartbeat, start) = clocks(|config| config.idle.reader = Some(seconds(40)));
    let mut asked = Vec::new();
    for now in (0..).map(|n| start + seconds(n)) {
        match heartbeat.step(now, now) {
            Step::Wait(_) => {}
            Step::Close(reason) => {
                asked.push((now - start, "close"));
                assert_eq!(reason.kind(), CloseKind::HeartbeatTimeout);
                break;
            }
            Step::Ping(_) => asked.push((now - start, "ping")),
            Step::Idle(_) => asked.push((now - start, "idle")),
        }
    }
    let expected = [(25, "ping"), (40, "idle"), (50, "ping"), (60, "close")];
    assert_eq!(asked, expected.map(|(at, what)| (seconds(at), what)));
}

#[test]
fn a_pong_measures_the_round_trip_of_the_ping_it_answers() {
    let (mut heartbeat, start) = clocks(|_| ());
    let first = ping(heartbeat.step(start + seconds(25), start));
    heartbeat.pong(&first, start + seconds(28));
    let second = ping(heartbeat.step(start + seconds(53), start));
    heartbeat.pong(&second, start + seconds(54));
    heartbeat.pong(&second, start + seconds(70));
    let mut expected = Pulse { pings_sent: 2, ..Pulse::default() };
    [3, 1].into_iter().for_each(|round_trip| expected.answered(seconds(round_trip)));
    assert_eq!(*heartbeat.pulse(), expected);
    assert_eq!(heartbeat.step(start + seconds(70), start), Step::Wait(start + seconds(95)));
}

#[test]
fn a_pong_of_a_foreign_payload_is_a_sign_of_life_but_no_round_trip() {
    for liveness in [Liveness::Any, Liveness::Heartbeat] {
        let (mut heartbeat, start) = clocks(|config| config.heartbeat.liveness = liveness);
        let outdated = ping(heartbeat.step(start + seconds(25), start));
        let current = ping(heartbeat.step(start + seconds(50), start));
        let longer = [current.as_slice(), &[0]].concat();
        for payload in [outdated.as_slice(), b"", b"foreign", &longer] {
            heartbeat.pong(payload, start + seconds(55));
        }
        assert_eq!(*heartbeat.pulse(), Pulse { pings_sent: 2, ..Pulse::default() });
        assert_eq!(heartbeat.step(start + seconds(80) - TICK, start), Step::Wait(start + seconds(80)));
        assert!(close_text(&mut heartbeat, start + seconds(115)).contains("60.0 s; 0 pings unanswered"));
    }
}

#[test]
fn a_ping_on_account_of_idleness_is_one_like_any_other() {
    let (mut heartbeat, start) = clocks(|config| config.idle.reader = Some(seconds(10)));
    assert_eq!(heartbeat.step(start + seconds(10), start), idle(IdleKind::Reader, true, 10));
    let payload = heartbeat.ping(start + seconds(10));
    heartbeat.pong(&payload, start + seconds(12));
    assert_eq!((heartbeat.pulse().pings_answered, heartbeat.pulse().last_round_trip), (1, Some(seconds(2))));
    assert_eq!(heartbeat.step(start + seconds(22), start), idle(IdleKind::Reader, true, 10), "a new silence");
    heartbeat.ping(start + seconds(22));
    let asked = drive(&mut heartbeat, start, seconds(1_000));
    let pings: Vec<_> = asked.iter().filter(|(_, step)| matches!(step, Step::Ping(_))).map(|(at, _)| *at).collect();
    assert_eq!(pings, [seconds(47)], "an interval after the last, whatever that was for");
    let text = "4201 heartbeat timeout: heard nothing for 60.0 s; 2 pings unanswered";
    assert_eq!(close_text(&mut heartbeat, start + seconds(72)), text);
}

#[test]
fn where_there_are_no_pongs_the_next_sign_of_life_is_the_answer() {
    for (liveness, sign, answers) in [
        (Liveness::Any, Sign::Bytes, true),
        (Liveness::Heartbeat, Sign::Bytes, false),
        (Liveness::Heartbeat, Sign::Beat, true),
    ] {
        let (mut heartbeat, start) = clocks(|config| config.heartbeat.liveness = liveness);
        heartbeat.heard(sign, start);
        heartbeat.answered_by_life(start);
        ping(heartbeat.step(start + seconds(25), start));
        for second in [28, 29] {
            heartbeat.heard(sign, start + seconds(second));
            heartbeat.answered_by_life(start + seconds(second));
        }
        let mut pulse = Pulse { pings_sent: 1, ..Pulse::default() };
        if answers {
            pulse.answered(seconds(3));
        }
        assert_eq!(*heartbeat.pulse(), pulse, "{liveness:?} {sign:?}");
        let next = start + seconds(if answers { 29 } else { 25 } + 25);
        assert_eq!(heartbeat.step(start + seconds(29), start), Step::Wait(next), "{liveness:?} {sign:?}");
    }
}

#[test]
fn a_promise_is_given_half_as_much_again_and_a_probe_in_between() {
    let ms = Duration::from_millis;
    for (promised, interval, timeout) in [
        (seconds(20), seconds(22), seconds(30)),
        (seconds(300), seconds(330), seconds(450)),
        (seconds(600), seconds(660), seconds(900)),
        (seconds(601), seconds(660), seconds(900)),
        (Duration::MAX, seconds(660), seconds(900)),
        (ms(6_667), Duration::from_nanos(7_333_700_000), Duration::from_nanos(10_000_500_000)),
        (ms(6_666), Duration::from_nanos(7_333_333_333), seconds(10)),
        (Duration::ZERO, Duration::from_nanos(7_333_333_333), seconds(10)),
    ] {
        let (mut heartbeat, start) = clocks(|_| ());
        promise(&mut heartbeat, promised);
        assert_eq!(heartbeat.times(), HeartbeatTimes { interval, timeout }, "{promised:?}");
        let promised_at_once = Heartbeat::new(&Config::default(), start, Some(promised), start);
        assert_eq!(promised_at_once.times(), heartbeat.times());
        assert_eq!(heartbeat.step(start, start), Step::Wait(start + interval));
        let asked = drive(&mut heartbeat, start, seconds(10_000));
        let at: Vec<_> = asked.iter().map(|(after, _)| *after).collect();
        assert_eq!(at, [interval, timeout], "{promised:?}");
    }
}

#[test]
fn a_shorter_promise_counts_from_the_last_sign_of_life() {
    let (mut heartbeat, start) = clocks(|_| ());
    promise(&mut heartbeat, seconds(200));
    heartbeat.heard(Sign::Beat, start + seconds(100));
    promise(&mut heartbeat, seconds(10));
    assert_eq!(heartbeat.step(start + seconds(100), start), Step::Wait(start + seconds(111)));
    assert_eq!(closes(&heartbeat.step(start + seconds(115), start)), Some(CloseKind::HeartbeatTimeout));
}

#[test]
fn of_several_things_due_the_weightiest_comes_first() {
    let all_due = |lifetime: bool, assembling: bool, timeout: u64| {
        let (mut heartbeat, start) = clocks(|config| {
            config.max_lifetime = lifetime.then_some(seconds(30));
            config.assembly_deadline = seconds(30);
            config.heartbeat.timeout = Some(seconds(timeout));
            config.heartbeat.interval = Some(seconds(29));
            config.idle = IdleThresholds { reader: Some(seconds(30)), ..Default::default() };
        });
        heartbeat.assembling(assembling.then_some(start));
        (heartbeat.step(start + seconds(30), start), heartbeat.step(start + seconds(30), start))
    };
    assert_eq!(closes(&all_due(true, true, 30).0), Some(CloseKind::LifetimeReached));
    assert_eq!(closes(&all_due(false, true, 30).0), Some(CloseKind::TooSlow));
    assert_eq!(closes(&all_due(false, false, 30).0), Some(CloseKind::HeartbeatTimeout));
    let (first, second) = all_due(false, false, 60);
    ping(first);
    assert_eq!(second, idle(IdleKind::Reader, true, 30));
}

#[test]
fn nothing_that_is_received_extends_the_assembly_of_a_message() {
    let (mut heartbeat, start) = clocks(|_| ());
    heartbeat.assembling(Some(start));
    for n in 1..10 {
        heartbeat.heard(Sign::Bytes, start + seconds(n));
        heartbeat.pong(b"", start + seconds(n));
        heartbeat.assembling(Some(start));
    }
    assert_eq!(heartbeat.step(start + seconds(9), start), Step::Wait(start + seconds(10)));
    assert_eq!(close_text(&mut heartbeat, start + seconds(10)), "4104 too slow: a message took longer than 10s");
    heartbeat.assembling(None);
    assert_eq!(heartbeat.step(start + seconds(10), start), Step::Wait(start + seconds(34)));
}

#[test]
fn a_lifetime_counts_from_accept_and_is_never_extended() {
    let config = Config { max_lifetime: Some(seconds(30)), ..Config::default() };
    let accepted = Instant::now();
    let mut heartbeat = Heartbeat::new(&config, accepted, None, accepted + seconds(4));
    for n in 5..30 {
        heartbeat.heard(Sign::Beat, accepted + seconds(n));
        promise(&mut heartbeat, seconds(600));
        assert_eq!(heartbeat.step(accepted + seconds(n), accepted), Step::Wait(accepted + seconds(30)));
    }
    assert_eq!(close_text(&mut heartbeat, accepted + seconds(30)), "4202 lifetime reached");
}

#[test]
fn idleness_is_told_first_once_and_again_after_every_further_threshold() {
    let (mut heartbeat, start) = clocks(|config| config.idle.reader = Some(seconds(4)));
    let mut expected: Vec<_> =
        [(4, true), (8, false), (12, false)].map(|(at, first)| (seconds(at), idle(IdleKind::Reader, first, at))).into();
    assert_eq!(drive(&mut heartbeat, start, seconds(14)), expected);
    let heard = start + seconds(14);
    heartbeat.heard(Sign::Bytes, heard);
    expected.pop();
    assert_eq!(drive(&mut heartbeat, heard, seconds(12)), expected, "a new silence");
}

#[test]
fn each_direction_has_its_own_silence() {
    let (mut heartbeat, start) = clocks(|config| {
        config.idle = IdleThresholds { reader: Some(seconds(6)), writer: Some(seconds(5)), all: Some(seconds(4)) };
    });
    let (read, written) = (start + seconds(3), start + seconds(2));
    heartbeat.heard(Sign::Bytes, read);
    let mut told = Vec::new();
    for now in (0..=12).map(|n| start + seconds(n)) {
        while let Step::Idle(event) = heartbeat.step(now, written.min(now)) {
            assert_eq!(event.silent_for, now - if event.kind == IdleKind::Writer { written } else { read });
            told.push(((now - start).as_secs(), event.kind, event.first));
        }
    }
    let expected = [
        (7, IdleKind::Writer, true),
        (7, IdleKind::All, true),
        (9, IdleKind::Reader, true),
        (11, IdleKind::All, false),
        (12, IdleKind::Writer, false),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_thread_that_wakes_late_is_told_of_a_silence_once() {
    let (mut heartbeat, start) = clocks(|config| config.idle.writer = Some(seconds(1)));
    assert_eq!(heartbeat.step(start + seconds(20), start), idle(IdleKind::Writer, true, 20));
    assert_eq!(heartbeat.step(start + seconds(20), start), Step::Wait(start + seconds(21)));
}
