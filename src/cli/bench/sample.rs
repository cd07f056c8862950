//! The figures of server and load at one moment, and what lies between two of them.

use super::crowd::Clock;
use super::measured::{ClientCost, ServerCost};
use super::process::{self, Figures, Switches};
use super::queue::Queue;
use super::server::Server;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Of fewer connections the kernel's memory tells less than of what else the machine does.
const MIN_CONNECTIONS_FOR_KERNEL: usize = 100;

/// What is read at one moment.
pub(super) struct Sample {
    quick: Quick,
    slow: Slow,
}

/// What is read in no time.
struct Quick {
    at: u64,
    /// The time that the load itself has used.
    client: Duration,
    server: Option<Figures>,
}

/// What takes a while: of 10,000 threads some tenths of a second.
struct Slow {
    kernel_bytes: Option<u64>,
    queue: Option<Queue>,
    switches: Option<Switches>,
}

impl Sample {
    /// At the begin of what is measured, which the slow part would disturb.
    pub(super) fn at_begin(server: &Server, clock: Clock) -> Self {
        let slow = Slow::of(server);
        Self { quick: Quick::of(server, clock), slow }
    }

    /// At its end.
    pub(super) fn at_end(server: &Server, clock: Clock) -> Self {
        let quick = Quick::of(server, clock);
        Self { quick, slow: Slow::of(server) }
    }

    /// When the quick part was read.
    pub(super) fn at(&self) -> u64 {
        self.quick.at
    }

    /// What a run cost the server: before there were connections, at its begin and at its end. What a connection takes is
    /// that at the begin: the warm-up is in it, what was measured is not.
    pub(super) fn server_cost(samples: [&Self; 3], connections: usize, delivered: u64) -> Option<ServerCost> {
        let [base, before, after] = samples;
        let (idle, then, now) = (base.quick.server?, before.quick.server?, after.quick.server?);
        let switches = after.slow.switches?.since(before.slow.switches?);
        let cpu = now.cpu.saturating_sub(then.cpu).as_secs_f64();
        let each = |count: f64| (delivered > 0).then(|| count / delivered as f64);
        let for_each_connection = |now: u64, then: u64| (now as f64 - then as f64) / connections.max(1) as f64;
        let kernel =
            before.slow.kernel_bytes.zip(base.slow.kernel_bytes).filter(|_| connections >= MIN_CONNECTIONS_FOR_KERNEL);
        let queues = after.slow.queue.as_ref().zip(before.slow.queue.as_ref());
        Some(ServerCost {
            cpu_us_per_delivery: each(cpu * 1e6),
            processors: cpu / seconds([before, after]),
            voluntary_switches_per_delivery: each(switches.voluntary as f64),
            involuntary_switches_per_delivery: each(switches.involuntary as f64),
            threads: now.threads,
            resident_bytes: now.resident_bytes,
            resident_bytes_per_connection: for_each_connection(then.resident_bytes, idle.resident_bytes),
            kernel_bytes_per_connection: kernel.map(|(now, idle)| for_each_connection(now, idle)),
            router_queue: queues.and_then(|(now, then)| now.since(then)),
        })
    }

    /// What the load itself cost between two samples.
    pub(super) fn client_cost(samples: [&Self; 2], bottleneck: bool) -> ClientCost {
        let [before, after] = samples;
        let used = after.quick.client.saturating_sub(before.quick.client).as_secs_f64();
        ClientCost { processors: used / seconds(samples), bottleneck }
    }
}

impl Quick {
    fn of(server: &Server, clock: Clock) -> Self {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let client = Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0));
        Self { at: clock.now(), client, server: server.pid.and_then(Figures::of) }
    }
}

impl Slow {
    fn of(server: &Server) -> Self {
        // The threads' files, once read, are themselves memory of the kernel.
        let kernel_bytes = process::kernel_bytes();
        let queue = server.admin.as_ref().and_then(Queue::of);
        Self { kernel_bytes, queue, switches: server.pid.and_then(Switches::of) }
    }
}

/// How long it was from one to the other; never nothing.
fn seconds([before, after]: [&Sample; 2]) -> f64 {
    after.at().saturating_sub(before.at()).max(1) as f64 / 1e9
}
