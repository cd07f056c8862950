//! What the servers are given to do: the rows of the comparison.

use Aim::{Cpu, Memory, Rate};
use std::time::Duration;

/// What everything around the measurement may take: connecting, and waiting for what does not come.
const PATIENCE: Duration = Duration::from_secs(180);

/// How much of it.
#[derive(Clone, Copy)]
pub(crate) enum Size {
    /// So little that it only shows whether everything works.
    Tiny,
    /// What is worth measuring, for so many seconds each time.
    Seconds(u64),
}

/// What a workload is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// The server's CPU time for each delivery.
    Cpu,
    /// Its resident memory for each connection, in KiB.
    Memory,
    /// How many deliveries there are in a second: the more the better.
    Rate,
}

/// One of them.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) aim: Aim,
    /// Those of `heartwire bench`.
    pub(crate) arguments: Vec<String>,
    /// Connections that it takes.
    pub(crate) connections: usize,
    /// How long a run may take.
    pub(crate) patience: Duration,
}

type Row = (&'static str, Aim, &'static str, &'static str);

/// Name, aim, and the arguments of `heartwire bench` in full and for a moment; the last is the number of connections.
const ROWS: [Row; 12] = [
    ("relay 2", Cpu, "relay --connections 2", "relay --connections 2"),
    ("relay 50", Cpu, "relay --connections 50", "relay --connections 10"),
    ("relay 50, 8 in flight", Cpu, "relay --window 8 --connections 50", "relay --window 8 --connections 10"),
    ("relay 500", Cpu, "relay --connections 500", "relay --connections 20"),
    ("relay 2,000", Cpu, "relay --connections 2000", "relay --connections 30"),
    ("open loop 10,000/s", Cpu, "open-loop --rate 10000 --connections 50", "open-loop --rate 200 --connections 10"),
    ("fan-out 100", Cpu, "fanout --members 100", "fanout --members 10"),
    ("fan-out 1,000", Cpu, "fanout --members 1000", "fanout --members 20"),
    ("fan-out 5,000", Cpu, "fanout --members 5000", "fanout --members 30"),
    ("beats of 10,000", Cpu, "heartbeat --every 10s --connections 10000", "heartbeat --every 200ms --connections 20"),
    ("idle 10,000", Memory, "idle --connections 10000", "idle --connections 20"),
    ("churn", Rate, "churn --concurrency 16", "churn --concurrency 4"),
];

/// All of them, in the order of the tables.
pub(crate) fn workloads(size: Size) -> Vec<Workload> {
    ROWS.into_iter().map(|row| workload(row, size)).collect()
}

fn workload((name, aim, full, tiny): Row, size: Size) -> Workload {
    let (words, duration, warm_up) = match size {
        Size::Tiny => (tiny, Duration::from_millis(300), Duration::from_millis(100)),
        Size::Seconds(seconds) => (full, Duration::from_secs(seconds), Duration::from_secs(1)),
    };
    let mut arguments: Vec<String> = words.split(' ').map(String::from).collect();
    let connections = arguments.last().and_then(|number| number.parse().ok()).unwrap_or(0);
    arguments.push(format!("--duration={}ms", duration.as_millis()));
    arguments.push(format!("--warm-up={}ms", warm_up.as_millis()));
    Workload { name, aim, arguments, connections, patience: PATIENCE + duration }
}
