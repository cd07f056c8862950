//! What one run of the bench found out: the same numbers for the table, JSON, CSV and the plot.

use serde::Serialize;

/// One workload against one server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    /// As on the command line: relay, open-loop, fanout, idle, heartbeat, churn.
    pub(super) workload: &'static str,
    /// Which server: its address, or what `serve` was started with (`--router helped`), empty for its defaults.
    pub(super) server: String,
    pub(super) connections: usize,
    /// Connections that send.
    pub(super) senders: usize,
    /// Messages that each sender has in flight at most; 0 where that is not what bounds them.
    pub(super) window: usize,
    /// Messages offered a second, where the load does not wait for answers.
    pub(super) offered_per_second: Option<f64>,
    pub(super) payload_bytes: usize,
    /// The stack of each connection's thread, where this run has chosen it.
    pub(super) stack_bytes: Option<usize>,
    /// How long was measured, without warm-up.
    pub(super) seconds: f64,
    pub(super) sent: u64,
    /// Messages received by those they were for; for `heartbeat` the answered beats, for `churn` the lives of a connection.
    pub(super) delivered: u64,
    /// What was sent and did not arrive, although it was waited for.
    pub(super) lost: u64,
    /// From the moment a message was due to be sent to the moment it was read, in microseconds.
    pub(super) latency_us: Option<Latency>,
    /// What it cost the server; none where its process is not known.
    pub(super) server_cost: Option<ServerCost>,
    pub(super) client: ClientCost,
    /// The run was ended before its time.
    pub(super) interrupted: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ServerCost {
    /// User and system time for each delivered message; none where nothing is delivered.
    pub(super) cpu_us_per_delivery: Option<f64>,
    /// Processors' worth of time it used: 1.0 is one processor all the time.
    pub(super) processors: f64,
    pub(super) voluntary_switches_per_delivery: Option<f64>,
    pub(super) involuntary_switches_per_delivery: Option<f64>,
    pub(super) threads: u64,
    pub(super) resident_bytes: u64,
    /// What its resident memory had grown by with the connections when the measurement began, for each of them.
    pub(super) resident_bytes_per_connection: f64,
    /// What the kernel's own memory had grown by, for each of them, both ends of the socket where the client is on this
    /// machine. None for so few that it would tell more of what else the machine does.
    pub(super) kernel_bytes_per_connection: Option<f64>,
    /// Batches that waited for the router, where its metrics can be read.
    pub(super) router_queue: Option<Depth>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Depth {
    pub(super) mean: f64,
    /// At most this many, in all but one of a hundred turns; where it was more than the largest that is told apart, that.
    pub(super) p99: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ClientCost {
    /// Processors' worth of time the load itself used.
    pub(super) processors: f64,
    /// The load was what limited the figures: a thread of it ran for more than nine tenths of the time, or more than one
    /// message in a hundred was sent 10 ms late or later.
    pub(super) bottleneck: bool,
}

impl Measured {
    pub(super) fn delivered_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.delivered as f64 / self.seconds } else { 0.0 }
    }
}
