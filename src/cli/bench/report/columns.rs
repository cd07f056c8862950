//! What the table and the CSV show of a run, in this order.

use super::{Measured, bytes, given, kibibytes, number, width};
use crate::cli::bench::measured::{Depth, Latency, ServerCost};
use crate::cli::bench::memory::Memory;

/// The side that the cells of a column keep to.
#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Right,
}

impl Align {
    /// The cell in a column of this width.
    pub(super) fn pad(self, cell: &str, wide: usize) -> String {
        let padding = " ".repeat(wide.saturating_sub(width(cell)));
        match self {
            Self::Left => format!("{cell}{padding}"),
            Self::Right => format!("{padding}{cell}"),
        }
    }
}

/// A column of the table.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) align: Align,
    /// Only shown where there is room for everything: of a single run.
    pub(super) detail: bool,
    /// None where there is nothing to say.
    pub(super) cell: fn(&Measured) -> Option<String>,
}

/// What was run. Its words have to do as a phrase, too: `connections 50`.
pub(super) const PARAMETERS: [Column; 9] = [
    text("", |run| Some(run.workload.to_owned())),
    text("server", |run| given(&run.server)),
    telling("connections", "", |run| Some(number(run.connections as f64))),
    telling("senders", "", |run| more_than_none(run.senders as f64)),
    telling("window", "", |run| more_than_none(run.window as f64)),
    telling("offered", "/s", |run| run.offered_per_second.map(number)),
    telling("payload", "", |run| (run.payload_bytes > 0).then(|| bytes(run.payload_bytes as f64))),
    telling("stack", "", |run| run.stack_bytes.map(|stack| bytes(stack as f64))),
    // The end of a run is only so exact.
    telling("measured", "s", |run| Some(number((run.seconds * 10.0).round() / 10.0))),
];

/// What came out.
pub(super) const RESULTS: [Column; 18] = [
    telling("delivered", "/s", |run| (run.sent + run.delivered > 0).then(|| number(run.delivered_per_second()))),
    telling("p50", "µs", |run| latency(run, |l| l.p50)),
    detail("p90", "µs", |run| latency(run, |l| l.p90)),
    telling("p99", "µs", |run| latency(run, |l| l.p99)),
    detail("p99.9", "µs", |run| latency(run, |l| l.p999)),
    detail("longest", "µs", |run| latency(run, |l| l.max)),
    telling("CPU", "µs each", |run| number_of(run, |c| c.cpu_us_per_delivery)),
    detail("CPU", "processors", |run| number_of(run, |c| Some(c.processors))),
    telling("waits", "each", |run| number_of(run, |c| c.voluntary_switches_per_delivery)),
    detail("preempted", "each", |run| number_of(run, |c| c.involuntary_switches_per_delivery)),
    telling("router queue", "batches", |run| number_of(run, |c| c.router_queue.map(|d| d.mean))),
    detail("router queue p99", "batches", |run| number_of(run, |c| c.router_queue.map(|d| d.p99))),
    detail("threads", "", |run| number_of(run, |c| Some(c.threads as f64))),
    detail("resident", "", |run| run.server_cost.map(|c| bytes(c.resident_bytes as f64))),
    telling("resident", "KiB/conn.", |run| Memory::of(run).map(|m| kibibytes(m.resident))),
    telling("kernel", "KiB/conn.", |run| Memory::of(run)?.kernel.map(kibibytes)),
    detail("client", "processors", |run| Some(number(run.client.processors))),
    detail("lost", "", |run| more_than_none(run.lost as f64)),
];

const fn text(title: &'static str, cell: fn(&Measured) -> Option<String>) -> Column {
    Column { title, unit: "", align: Align::Left, detail: false, cell }
}

const fn telling(title: &'static str, unit: &'static str, cell: fn(&Measured) -> Option<String>) -> Column {
    Column { title, unit, align: Align::Right, detail: false, cell }
}

const fn detail(title: &'static str, unit: &'static str, cell: fn(&Measured) -> Option<String>) -> Column {
    Column { title, unit, align: Align::Right, detail: true, cell }
}

fn more_than_none(count: f64) -> Option<String> {
    (count > 0.0).then(|| number(count))
}

fn latency(run: &Measured, percentile: fn(&Latency) -> f64) -> Option<String> {
    run.latency_us.as_ref().map(|latency| number(percentile(latency)))
}

fn number_of(run: &Measured, figure: fn(&ServerCost) -> Option<f64>) -> Option<String> {
    run.server_cost.as_ref().and_then(figure).map(number)
}

/// A field of the CSV: none where nothing is known.
type Field = fn(&Measured) -> Option<String>;

/// The CSV: the names of the JSON, those of what is within another joined with `_`.
pub(super) const COLUMNS: [(&str, Field); 31] = [
    ("workload", |run| Some(run.workload.to_owned())),
    ("server", |run| Some(run.server.clone())),
    ("connections", |run| exact(run.connections)),
    ("senders", |run| exact(run.senders)),
    ("window", |run| exact(run.window)),
    ("offered_per_second", |run| run.offered_per_second.and_then(exact)),
    ("payload_bytes", |run| exact(run.payload_bytes)),
    ("stack_bytes", |run| run.stack_bytes.and_then(exact)),
    ("seconds", |run| exact(run.seconds)),
    ("sent", |run| exact(run.sent)),
    ("delivered", |run| exact(run.delivered)),
    ("lost", |run| exact(run.lost)),
    ("latency_us_p50", |run| run.latency_us.and_then(|l| exact(l.p50))),
    ("latency_us_p90", |run| run.latency_us.and_then(|l| exact(l.p90))),
    ("latency_us_p99", |run| run.latency_us.and_then(|l| exact(l.p99))),
    ("latency_us_p999", |run| run.latency_us.and_then(|l| exact(l.p999))),
    ("latency_us_max", |run| run.latency_us.and_then(|l| exact(l.max))),
    ("server_cost_cpu_us_per_delivery", |run| run.server_cost?.cpu_us_per_delivery.and_then(exact)),
    ("server_cost_processors", |run| exact(run.server_cost?.processors)),
    ("server_cost_voluntary_switches_per_delivery", |run| {
        run.server_cost?.voluntary_switches_per_delivery.and_then(exact)
    }),
    ("server_cost_involuntary_switches_per_delivery", |run| {
        run.server_cost?.involuntary_switches_per_delivery.and_then(exact)
    }),
    ("server_cost_threads", |run| exact(run.server_cost?.threads)),
    ("server_cost_resident_bytes", |run| exact(run.server_cost?.resident_bytes)),
    ("server_cost_resident_bytes_per_connection", |run| exact(run.server_cost?.resident_bytes_per_connection)),
    ("server_cost_kernel_bytes_per_connection", |run| run.server_cost?.kernel_bytes_per_connection.and_then(exact)),
    ("server_cost_router_queue_mean", |run| depth(run, |d| d.mean)),
    ("server_cost_router_queue_p99", |run| depth(run, |d| d.p99)),
    ("client_processors", |run| exact(run.client.processors)),
    ("client_bottleneck", |run| exact(run.client.bottleneck)),
    ("interrupted", |run| exact(run.interrupted)),
    ("delivered_per_second", |run| exact(run.delivered_per_second())),
];

fn exact<T: ToString + Copy>(value: T) -> Option<String> {
    Some(value.to_string())
}

fn depth(run: &Measured, figure: fn(&Depth) -> f64) -> Option<String> {
    run.server_cost?.router_queue.as_ref().map(figure).and_then(exact)
}
