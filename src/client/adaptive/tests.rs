//! The search on simulated paths, what counts as evidence, and the document that shows both.

use super::*;
use path::{Manner, Path, ROUND_TRIP};
use std::fs;

mod path;
mod picture;
mod random;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than any search, shorter than the time to the next one.
const SEARCH: Duration = Duration::from_secs(12 * 60 * 60);

const CEILING: Duration = Duration::from_secs(10 * 60);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn adaptive() -> Adaptive {
    Adaptive::new(AdaptiveOptions::default())
}

/// What the paths of the document's table tolerate: every minute up to a quarter of an hour, and some odd times.
fn tolerances() -> impl Iterator<Item = Duration> {
    let mut all: Vec<_> = (1..=15).map(|minutes| minutes * MINUTE).chain([35, 100, 350].map(seconds)).collect();
    all.sort_unstable();
    all.into_iter()
}

fn searched(tolerates: Duration) -> Path {
    let mut path = Path::new(adaptive(), tolerates);
    path.run_for(SEARCH);
    path
}

/// Where the search on such a path has ended. It has cost one loss.
fn settled_at(seconds: u64) -> Path {
    let path = searched(Duration::from_secs(seconds + 50));
    assert_eq!((path.adaptive.interval().as_secs(), path.losses()), (seconds, 1));
    path
}

#[test]
fn it_settles_below_what_the_path_tolerates_and_then_loses_nothing() {
    for tolerates in tolerances() {
        let mut path = searched(tolerates);
        let settled = path.adaptive.interval();
        assert!(settled < tolerates || settled == CEILING, "{settled:?} of {tolerates:?}");
        assert!(tolerates - settled < seconds(80) || settled == CEILING, "{settled:?} of {tolerates:?}");
        let losses = path.losses();
        assert!(losses <= 1, "{losses} losses for {tolerates:?}");
        if settled == CEILING {
            path.run_for(3 * DAY);
            assert_eq!((path.losses(), path.adaptive.interval()), (losses, CEILING));
            continue;
        }
        let since = path.changed;
        path.run_until_changed();
        assert_eq!(path.losses(), losses, "lost before the next probe: {tolerates:?}");
        // The silences are shorter than the interval by the time that an answer takes.
        let held = path.changed - since;
        assert!((DAY..DAY + 2 * CEILING).contains(&held), "probed after {held:?}");
    }
}

#[test]
fn a_probe_costs_one_loss_at_most_and_does_not_make_the_interval_shorter() {
    for tolerates in tolerances() {
        let mut path = searched(tolerates);
        for _ in 0..20 {
            let (settled, losses) = (path.adaptive.interval(), path.losses());
            if settled == CEILING {
                break;
            }
            path.run_until_changed();
            path.run_for(SEARCH);
            assert!(
                path.adaptive.interval() >= settled,
                "{tolerates:?}: from {settled:?} to {:?}",
                path.adaptive.interval()
            );
            assert!(path.losses() <= losses + 1, "{tolerates:?}: more than one loss");
        }
    }
}

#[test]
fn the_document_shows_what_a_search_leads_to() {
    let row = |tolerates| {
        let path = searched(tolerates);
        let shown = [tolerates, path.adaptive.interval(), path.changed].map(spoken);
        format!("| {} | {} | {} | {} |\n", shown[0], shown[1], path.losses(), shown[2])
    };
    let head = "| the path tolerates less than | settled interval | losses | found after |\n|---|---|---|---|\n";
    let table: String = [head.to_owned()].into_iter().chain(tolerances().map(row)).collect();
    println!("{table}");
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/adaptive-heartbeats.md")).unwrap();
    assert!(text.contains(&table), "docs/adaptive-heartbeats.md does not contain the table above");
}

/// As `4 min 10 s`; from an hour on as `1 h 5 min`.
fn spoken(time: Duration) -> String {
    let all = time.as_secs();
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    let parts = if hours > 0 { [(hours, "h"), (minutes, "min")] } else { [(minutes, "min"), (seconds, "s")] };
    parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_network_has_an_interval_of_its_own() {
    let mut path = settled_at(250);
    path.adaptive.use_network("home");
    assert_eq!((path.adaptive.interval(), path.adaptive.next_beat()), (seconds(30), None));
    path.connect();
    path.tolerates = seconds(100);
    path.run_for(SEARCH);
    assert_eq!(path.adaptive.interval(), seconds(70));

    path.adaptive.use_network("");
    assert_eq!(path.adaptive.interval(), seconds(250));
    path.adaptive.use_network("home");
    assert_eq!(path.adaptive.interval(), seconds(70));
}

#[test]
fn the_end_of_a_connection_over_another_network_is_no_evidence() {
    let mut path = settled_at(250);
    path.adaptive.use_network("home");
    path.adaptive.lost(Instant::now() + 100 * DAY);
    path.adaptive.use_network("");
    assert_eq!(path.adaptive.interval(), seconds(250));
    path.connect();
    path.adaptive.use_network("");
    assert!(path.adaptive.next_beat().is_some(), "the network is the same as before");
}

#[test]
fn the_network_unused_for_longest_is_forgotten() {
    let mut options = AdaptiveOptions { networks: 3, ..AdaptiveOptions::default() };
    let mut adaptive = Adaptive::new(options.clone());
    let names = |adaptive: &Adaptive| adaptive.networks().map(|network| network.name.clone()).collect::<Vec<_>>();
    for name in ["a", "b", "c", "b", "a", "d"] {
        adaptive.use_network(name);
    }
    assert_eq!(names(&adaptive), ["b", "a", "d"]);
    options.networks = 0;
    let only = Adaptive::restore(options, adaptive.networks().cloned());
    assert_eq!(names(&only), ["d"], "the present one is always remembered");
}

#[test]
fn what_was_learnt_survives_the_program() {
    let mut path = settled_at(250);
    path.adaptive.use_network("home");
    path.connect();
    path.run_for(seconds(50));
    let stored = serde_json::to_string(&path.adaptive.networks().collect::<Vec<_>>()).unwrap();
    let networks: Vec<AdaptiveNetwork> = serde_json::from_str(&stored).unwrap();
    let restored = Adaptive::restore(AdaptiveOptions::default(), networks);
    assert!(restored.networks().eq(path.adaptive.networks()), "{stored}");
    assert_eq!(restored.networks().last().unwrap().answers_needed, 1, "two of three");

    let options = AdaptiveOptions { ceiling: seconds(200), ..AdaptiveOptions::default() };
    let mut restored = Adaptive::restore(options, path.adaptive.networks().cloned());
    restored.use_network("");
    assert_eq!(restored.interval(), seconds(200), "other options hold from now on");
}

#[test]
fn in_the_foreground_it_beats_at_the_floor_and_learns_nothing() {
    let mut path = settled_at(250);
    let known: Vec<_> = path.adaptive.networks().cloned().collect();
    path.adaptive.foreground(true);
    assert_eq!(path.adaptive.interval(), seconds(30));
    path.run_for(2 * DAY);
    path.tolerates = seconds(20);
    path.run_for(MINUTE);
    path.tolerates = DAY;
    assert!(path.losses() > 1 && path.adaptive.networks().eq(&known));

    // Not even where a silence began in the background.
    let start = Instant::now();
    path.adaptive.connected(start);
    assert_eq!(path.adaptive.beat(start + seconds(250)), seconds(30));
    path.adaptive.acknowledged(start + seconds(250));
    path.adaptive.lost(start + seconds(500));
    path.adaptive.foreground(false);
    assert!(path.adaptive.networks().eq(&known));
    assert_eq!(path.adaptive.interval(), seconds(250));
}

#[test]
fn a_promise_is_kept_when_the_interval_grows_and_a_shorter_interval_holds_at_once() {
    let mut adaptive = settled_at(250).adaptive;
    let start = Instant::now();
    adaptive.foreground(true);
    adaptive.connected(start);
    adaptive.foreground(false);
    assert_eq!(adaptive.next_beat(), Some(start + seconds(30)), "that was promised");
    assert_eq!(adaptive.beat(start + seconds(30)), seconds(250));
    assert_eq!(adaptive.next_beat(), Some(start + seconds(280)));
    adaptive.foreground(true);
    assert_eq!(adaptive.next_beat(), Some(start + seconds(60)));
    adaptive.sent(start + seconds(50));
    adaptive.received(start + seconds(55));
    assert_eq!(adaptive.next_beat(), Some(start + seconds(60)), "the server may count beats only");
}

#[test]
fn a_path_that_becomes_less_patient_is_recovered_from() {
    for manner in [Manner::Forgets, Manner::Cuts] {
        for (before, tolerates) in (2..=15).flat_map(|before| (1..before.min(10)).map(move |after| (before, after))) {
            let mut path = searched(before * MINUTE);
            let losses = path.losses();
            (path.tolerates, path.manner) = (tolerates * MINUTE, manner);
            path.run_for(SEARCH);
            let (settled, losses) = (path.adaptive.interval(), path.losses() - losses);
            let case =
                format!("{settled:?} after {losses} losses; {manner:?}, {before} min before, {tolerates} min now");
            assert!(settled < path.tolerates && path.tolerates - settled < seconds(100), "{case}");
            assert!(losses <= 3, "{case}");
        }
    }
}

#[test]
fn a_proxy_that_cuts_is_found_out_too() {
    for tolerates in tolerances() {
        let mut path = Path::new(adaptive(), tolerates);
        path.manner = Manner::Cuts;
        path.run_for(SEARCH);
        let settled = path.adaptive.interval();
        assert!(settled < tolerates || settled == CEILING, "{settled:?} of {tolerates:?}");
        assert!(path.losses() <= 1, "{} losses for {tolerates:?}", path.losses());
    }
}

/// What is known after a connection at 250 s that was silent for this long, and then ended so.
fn after(silence: Duration, end: impl FnOnce(&mut Adaptive, Instant)) -> Adaptive {
    let mut adaptive = settled_at(250).adaptive;
    let start = Instant::now();
    adaptive.connected(start);
    end(&mut adaptive, start + silence);
    adaptive
}

#[test]
fn only_a_loss_that_the_interval_can_have_caused_counts() {
    let interval_after = |silence, end: fn(&mut Adaptive, Instant)| after(seconds(silence), end).interval().as_secs();
    assert_eq!(interval_after(250, Adaptive::lost), 170);
    assert_eq!(interval_after(191, Adaptive::lost), 170, "cut off where nothing was known yet");
    assert_eq!(interval_after(190, Adaptive::lost), 250, "that was tolerated before");
    assert_eq!(interval_after(1, Adaptive::lost), 250);
    assert_eq!(interval_after(310, Adaptive::lost), 170, "somewhat late");
    assert_eq!(interval_after(311, Adaptive::lost), 250, "the machine slept: no path is held to that");
    assert_eq!(interval_after(250, |adaptive, _| adaptive.closed()), 250);
    assert_eq!(interval_after(200, |adaptive, now| [(); 2].iter().for_each(|()| adaptive.lost(now))), 170, "lost once");
}

#[test]
fn two_losses_in_a_row_begin_the_search_anew() {
    let cut = |adaptive: &mut Adaptive, at: u64| {
        let start = Instant::now();
        adaptive.connected(start);
        adaptive.lost(start + seconds(at));
        adaptive.interval().as_secs()
    };
    let mut adaptive = settled_at(250).adaptive;
    assert_eq!([cut(&mut adaptive, 20), cut(&mut adaptive, 20)], [250, 250], "the floor is as long as that");
    assert_eq!([cut(&mut adaptive, 40), cut(&mut adaptive, 40)], [250, 30]);
    assert_eq!(adaptive.networks().last().unwrap().answers_needed, 3);

    let mut adaptive = settled_at(250).adaptive;
    cut(&mut adaptive, 40);
    let start = Instant::now();
    adaptive.connected(start);
    adaptive.beat(start + seconds(250));
    adaptive.acknowledged(start + seconds(250));
    assert_eq!(cut(&mut adaptive, 40), 250, "not in a row");
}

#[test]
fn a_silence_that_was_broken_is_no_evidence() {
    let half = |adaptive: &mut Adaptive, now: Instant| {
        adaptive.received(now);
        adaptive.beat(now + seconds(125));
        adaptive.lost(now + seconds(135));
    };
    assert_eq!(after(seconds(125), half).interval(), seconds(250));
    // A message that was sent into the void does not undo the silence before it, only cuts it short; one that came does.
    let message = |adaptive: &mut Adaptive, now: Instant| {
        adaptive.sent(now);
        adaptive.beat(now + seconds(100));
        adaptive.lost(now + seconds(110));
    };
    assert_eq!(after(seconds(150), message).interval(), seconds(250));
    assert_eq!(after(seconds(200), message).interval(), seconds(170));
    let came = |adaptive: &mut Adaptive, now: Instant| {
        adaptive.beat(now);
        adaptive.received(now + ROUND_TRIP);
        adaptive.lost(now + seconds(10));
    };
    assert_eq!(after(seconds(250), came).interval(), seconds(250));
    let answered = |adaptive: &mut Adaptive, now: Instant| {
        adaptive.beat(now);
        adaptive.acknowledged(now + ROUND_TRIP);
        adaptive.lost(now + seconds(10));
    };
    assert_eq!(after(seconds(250), answered).interval(), seconds(250));
}

#[test]
fn beats_count_in_a_row_and_after_silences_of_full_length() {
    let mut adaptive = adaptive();
    let mut now = Instant::now();
    adaptive.connected(now);
    let mut answered = |adaptive: &mut Adaptive, chatty: bool| {
        if chatty {
            adaptive.received(now + seconds(25));
        }
        now = adaptive.next_beat().unwrap();
        adaptive.beat(now);
        adaptive.acknowledged(now + ROUND_TRIP);
        adaptive.interval().as_secs()
    };
    assert_eq!([(); 5].map(|()| answered(&mut adaptive, true)), [30; 5], "nobody was silent");
    assert_eq!([(); 2].map(|()| answered(&mut adaptive, false)), [30; 2]);
    adaptive.lost(Instant::now());
    adaptive.connected(now);
    let mut answered_anew = |adaptive: &mut Adaptive| {
        now = adaptive.next_beat().unwrap();
        adaptive.beat(now);
        adaptive.acknowledged(now);
        adaptive.interval().as_secs()
    };
    assert_eq!([(); 3].map(|()| answered_anew(&mut adaptive)), [30, 30, 90], "the loss began the row anew");
}
