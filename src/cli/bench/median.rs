//! Several runs of the same kind as one: a run that something disturbed does not count.

use super::measured::{ClientCost, Depth, Latency, Measured, ServerCost};

/// The middle one, or what is halfway between the two in the middle; none of none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The median of each figure; what was lost and what casts doubt on one run stays visible. None of no runs.
pub(super) fn median_run(runs: &[Measured]) -> Option<Measured> {
    let first = runs.first()?.clone();
    let of = |figure: &dyn Fn(&Measured) -> Option<f64>| median(runs.iter().filter_map(figure));
    let count = |figure: fn(&Measured) -> u64| of(&|run| Some(figure(run) as f64)).unwrap_or_default() as u64;
    let latencies: Vec<_> = runs.iter().filter_map(|run| run.latency_us).collect();
    let costs: Vec<_> = runs.iter().filter_map(|run| run.server_cost).collect();
    Some(Measured {
        seconds: of(&|run| Some(run.seconds)).unwrap_or_default(),
        sent: count(|run| run.sent),
        delivered: count(|run| run.delivered),
        lost: runs.iter().map(|run| run.lost).sum(),
        latency_us: median_latency(&latencies),
        server_cost: median_cost(&costs),
        client: ClientCost {
            processors: of(&|run| Some(run.client.processors)).unwrap_or_default(),
            bottleneck: runs.iter().any(|run| run.client.bottleneck),
        },
        interrupted: runs.iter().any(|run| run.interrupted),
        ..first
    })
}

fn median_latency(latencies: &[Latency]) -> Option<Latency> {
    let of = |figure: fn(&Latency) -> f64| median(latencies.iter().map(figure));
    Some(Latency {
        p50: of(|latency| latency.p50)?,
        p90: of(|latency| latency.p90)?,
        p99: of(|latency| latency.p99)?,
        p999: of(|latency| latency.p999)?,
        max: of(|latency| latency.max)?,
    })
}

fn median_cost(costs: &[ServerCost]) -> Option<ServerCost> {
    let of = |figure: fn(&ServerCost) -> f64| median(costs.iter().map(figure));
    let known = |figure: fn(&ServerCost) -> Option<f64>| median(costs.iter().filter_map(figure));
    let depth =
        |figure: fn(&Depth) -> f64| median(costs.iter().filter_map(|cost| cost.router_queue.as_ref().map(figure)));
    Some(ServerCost {
        cpu_us_per_delivery: known(|cost| cost.cpu_us_per_delivery),
        processors: of(|cost| cost.processors)?,
        voluntary_switches_per_delivery: known(|cost| cost.voluntary_switches_per_delivery),
        involuntary_switches_per_delivery: known(|cost| cost.involuntary_switches_per_delivery),
        threads: of(|cost| cost.threads as f64)? as u64,
        resident_bytes: of(|cost| cost.resident_bytes as f64)? as u64,
        resident_bytes_per_connection: of(|cost| cost.resident_bytes_per_connection)?,
        kernel_bytes_per_connection: known(|cost| cost.kernel_bytes_per_connection),
        router_queue: depth(|queue| queue.mean).zip(depth(|queue| queue.p99)).map(|(mean, p99)| Depth { mean, p99 }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::relay;
    use super::*;

    #[test]
    fn the_middle_is_between_the_two_of_an_even_number() {
        assert_eq!(median([3.0, 1.0, 100.0]), Some(3.0));
        assert_eq!(median([4.0, 1.0, 2.0, 100.0]), Some(3.0));
        assert_eq!(median([]), None);
    }

    #[test]
    fn one_disturbed_run_moves_no_figure_and_hides_no_loss() {
        let mut disturbed = relay(50, 2);
        (disturbed.sent, disturbed.delivered, disturbed.lost) = (5, 4, 1);
        disturbed.client.bottleneck = true;
        disturbed.latency_us.as_mut().unwrap().p99 = 1e9;
        disturbed.server_cost.as_mut().unwrap().cpu_us_per_delivery = Some(1e9);
        let usual = relay(50, 2);
        let run = median_run(&[usual.clone(), disturbed, usual.clone()]).unwrap();
        assert_eq!((run.sent, run.delivered, run.lost), (usual.sent, usual.delivered, 1));
        assert_eq!(run.latency_us.unwrap().p99, usual.latency_us.unwrap().p99);
        let [cost, expected] = [&run, &usual].map(|run| run.server_cost.unwrap());
        assert_eq!(cost.cpu_us_per_delivery, expected.cpu_us_per_delivery);
        assert_eq!(cost.router_queue.unwrap().p99, expected.router_queue.unwrap().p99);
        assert!(run.client.bottleneck && !run.interrupted);
    }

    #[test]
    fn what_only_some_runs_know_is_the_median_of_those() {
        let mut runs = [relay(50, 2), relay(50, 2)];
        runs[0].server_cost.as_mut().unwrap().kernel_bytes_per_connection = None;
        runs[1].latency_us = None;
        let run = median_run(&runs).unwrap();
        assert_eq!(run.server_cost.unwrap().kernel_bytes_per_connection, Some(6_349.0));
        assert!(run.latency_us.is_some());
        runs.iter_mut().for_each(|run| run.server_cost = None);
        assert!(median_run(&runs).unwrap().server_cost.is_none());
        assert!(median_run(&[]).is_none());
    }
}
