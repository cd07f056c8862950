//! How many batches waited for the router, from the server's metrics.

use super::measured::Depth;
use crate::cli::admin_client::Server;

const METRIC: &str = "heartwire_router_turn_batches";

/// What the histogram of waiting batches held at one moment: how many turns found up to so many.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Queue {
    sum: f64,
    /// Upper bound and count of the turns within it, cumulative, the last without a bound.
    buckets: Vec<(f64, f64)>,
}

impl Queue {
    /// Asks a server; none where it does not answer.
    pub(super) fn of(server: &Server) -> Option<Self> {
        Self::read(&server.get("/metrics", &[]).ok()?)
    }

    fn read(page: &str) -> Option<Self> {
        let mut queue = Self { sum: 0.0, buckets: Vec::new() };
        for line in page.lines().filter_map(|line| line.strip_prefix(METRIC)) {
            if let Some(sum) = line.strip_prefix("_sum ") {
                queue.sum = sum.parse().ok()?;
            } else if let Some(bucket) = line.strip_prefix("_bucket{le=\"") {
                let (bound, count) = bucket.split_once("\"} ")?;
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
                queue.buckets.push((bound, count.parse().ok()?));
            }
        }
        (!queue.buckets.is_empty()).then_some(queue)
    }

    /// What waited between an earlier moment and this one; none where nothing did.
    pub(super) fn since(&self, earlier: &Self) -> Option<Depth> {
        let counts = self.buckets.iter().zip(&earlier.buckets);
        let buckets: Vec<_> = counts.map(|((bound, now), (_, then))| (*bound, now - then)).collect();
        let turns = buckets.last().map(|(_, count)| *count).filter(|turns| *turns > 0.0)?;
        let within = |(_, count): &&(f64, f64)| *count >= turns * 0.99;
        // The last bound that is a number, where there were more.
        let largest = buckets.iter().rev().map(|(bound, _)| *bound).find(|bound| bound.is_finite())?;
        let p99 = buckets.iter().find(within).map_or(largest, |(bound, _)| bound.min(largest));
        Some(Depth { mean: (self.sum - earlier.sum) / turns, p99 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(sum: u64, counts: [u64; 3]) -> Queue {
        let [one, two, all] = counts;
        let page = format!(
            "# TYPE {METRIC} histogram\n{METRIC}_sum {sum}\n{METRIC}_count {all}\n{METRIC}_bucket{{le=\"1.0\"}} {one}\n\
             {METRIC}_bucket{{le=\"2.0\"}} {two}\n{METRIC}_bucket{{le=\"+Inf\"}} {all}\nother_sum 7\n# EOF\n"
        );
        Queue::read(&page).unwrap()
    }

    #[test]
    fn what_waited_in_between_is_the_difference() {
        let before = page(1_000, [100, 100, 1_000]);
        let depth = page(1_110, [190, 200, 1_100]).since(&before).unwrap();
        assert!((depth.mean - 1.1).abs() < 1e-9 && depth.p99 == 2.0, "{depth:?}");
        let beyond = page(2_000, [100, 100, 1_100]).since(&before).unwrap();
        assert!(beyond.p99 == 2.0, "no number is beyond the last bound: {beyond:?}");
        assert!(before.since(&before).is_none(), "no turns");
        assert_eq!(Queue::read("other_sum 7\n"), None);
    }
}
