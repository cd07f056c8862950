//! Random options, events and paths.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Connected,
    Beat,
    Acknowledged,
    Sent,
    Received,
    Lost,
    Closed,
    Network(u8),
    Foreground(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Connected),
        8 => Just(Event::Beat),
        8 => Just(Event::Acknowledged),
        1 => Just(Event::Sent),
        1 => Just(Event::Received),
        2 => Just(Event::Lost),
        1 => Just(Event::Closed),
        1 => (0_u8..4).prop_map(Event::Network),
        1 => any::<bool>().prop_map(Event::Foreground),
    ]
}

fn options() -> impl Strategy<Value = AdaptiveOptions> {
    let upto = |most| (0_u64..=most).prop_map(seconds);
    (upto(100), upto(1_000), upto(200), upto(50), 0_u32..5, upto(10_000), 0_usize..4).prop_map(
        |(floor, ceiling, step, margin, beats, probe_after, networks)| AdaptiveOptions {
            floor,
            ceiling,
            step,
            margin,
            beats,
            probe_after,
            networks,
        },
    )
}

proptest! {
    #[test]
    fn the_interval_stays_in_its_range_and_no_promise_is_broken(
        options in options(),
        events in prop::collection::vec((event(), 0_u64..1_500), 0..300),
    ) {
        let floor = options.floor.max(seconds(1));
        let ceiling = options.ceiling.max(floor);
        let bound = options.networks.max(1);
        let mut adaptive = Adaptive::new(options);
        let mut now = Instant::now();
        let mut promised = (now, Duration::MAX);
        for (event, pause) in events {
            now += seconds(pause);
            match event {
                Event::Connected => {
                    promised = (now, adaptive.interval());
                    adaptive.connected(now);
                }
                Event::Beat => {
                    now = adaptive.next_beat().unwrap_or(now);
                    promised = (now, adaptive.beat(now));
                }
                Event::Acknowledged => adaptive.acknowledged(now),
                Event::Sent => adaptive.sent(now),
                Event::Received => adaptive.received(now),
                Event::Lost => adaptive.lost(now),
                Event::Closed => adaptive.closed(),
                Event::Network(name) => adaptive.use_network(&name.to_string()),
                Event::Foreground(foreground) => adaptive.foreground(foreground),
            }
            prop_assert!((floor..=ceiling).contains(&adaptive.interval()), "{adaptive:?}");
            if let Some(next) = adaptive.next_beat() {
                prop_assert!(next <= promised.0 + promised.1, "{adaptive:?}");
            }
            prop_assert!(adaptive.networks().count() <= bound);
            prop_assert!(adaptive.networks().all(|network| (floor..=network.interval).contains(&network.fallback)));
        }
    }

    #[test]
    fn whatever_the_options_a_search_costs_one_loss_and_ends_below_what_the_path_tolerates(
        options in options(),
        tolerates in 1_u64..2_000,
    ) {
        let mut options = options;
        // Otherwise every silence is a loss, or the answers take longer than the margin, or it never settles for long.
        options.floor = options.floor.min(seconds(tolerates.saturating_sub(1))).max(seconds(12));
        options.margin = options.margin.max(seconds(1));
        options.probe_after = 30 * DAY;
        prop_assume!(options.floor < seconds(tolerates));
        let ceiling = options.ceiling.max(options.floor);
        let mut path = Path::new(Adaptive::new(options), seconds(tolerates));
        path.run_for(10 * DAY);
        let settled = path.adaptive.interval();
        prop_assert!(settled < seconds(tolerates) || settled == ceiling, "{settled:?}");
        prop_assert!(path.losses() <= 1, "{} losses", path.losses());
        let lost_lately = path.history.iter().rev().take(10).any(|silence| silence.lost);
        prop_assert!(!lost_lately);
    }
}
