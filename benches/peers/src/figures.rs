//! What `heartwire bench` says of a run, as far as it is compared; and the medians of several.

use crate::workloads::{Aim, Workload};
use serde::Deserialize;

/// The part of its JSON that is compared: `docs/bench.md`.
#[derive(Clone, Deserialize)]
pub(crate) struct Run {
    connections: usize,
    seconds: f64,
    delivered: u64,
    lost: u64,
    latency_us: Option<Latency>,
    server_cost: Option<ServerCost>,
    client: ClientCost,
    interrupted: bool,
}

#[derive(Clone, Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

#[derive(Clone, Deserialize)]
struct ServerCost {
    cpu_us_per_delivery: Option<f64>,
    resident_bytes_per_connection: f64,
}

#[derive(Clone, Deserialize)]
struct ClientCost {
    bottleneck: bool,
}

impl Run {
    /// Whether the server did what the workload asks of it.
    ///
    /// # Errors
    /// What it did not do.
    pub(crate) fn check(&self, workload: &Workload) -> Result<(), String> {
        let asked = workload.connections;
        match self {
            Self { lost: 1.., .. } => Err(format!("{} messages were lost", self.lost)),
            Self { interrupted: true, .. } => Err("it was interrupted".into()),
            Self { delivered: 0, .. } if workload.aim != Aim::Memory => Err("nothing was delivered".into()),
            Self { connections, .. } if *connections < asked => Err(format!("{connections} of {asked} were let in")),
            _ => Ok(()),
        }
    }
}

/// What is compared: the medians of several runs of one server, as far as they are known.
#[derive(Clone, Default)]
pub(crate) struct Figures {
    /// What the workload is about.
    pub(crate) aimed_at: Option<f64>,
    pub(crate) per_second: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// Whether the load was what limited any of the runs.
    pub(crate) bottleneck: bool,
}

impl Figures {
    pub(crate) fn of(runs: &[Run], aim: Aim) -> Self {
        let per_second = |run: &Run| Some(run.delivered as f64 / run.seconds).filter(|_| run.delivered > 0);
        let cost = |run: &Run, figure: fn(&ServerCost) -> Option<f64>| run.server_cost.as_ref().and_then(figure);
        let latency = |run: &Run, figure: fn(&Latency) -> f64| run.latency_us.as_ref().map(figure);
        let aimed_at = |run: &Run| match aim {
            Aim::Cpu => cost(run, |cost| cost.cpu_us_per_delivery),
            Aim::Memory => cost(run, |cost| Some(cost.resident_bytes_per_connection / 1_024.0)),
            Aim::Rate => per_second(run),
        };
        Self {
            aimed_at: median(runs, aimed_at),
            per_second: median(runs, per_second),
            p50_us: median(runs, |run| latency(run, |latency| latency.p50)),
            p99_us: median(runs, |run| latency(run, |latency| latency.p99)),
            bottleneck: runs.iter().any(|run| run.client.bottleneck),
        }
    }
}

/// Of an even number the mean of the two in the middle; of none, none.
fn median(runs: &[Run], figure: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    let mut known: Vec<f64> = runs.iter().filter_map(figure).collect();
    known.sort_by(f64::total_cmp);
    let (below, above) = (known.get(known.len().checked_sub(1)? / 2)?, known.get(known.len() / 2)?);
    Some((below + above) / 2.0)
}
