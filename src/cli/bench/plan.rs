//! What one run is to do: the same for the command line and for whoever runs many.

use super::crowd::Script;
use super::scripts::{Beats, Churn, Fanout, Idle, OpenLoop, Relay};
use std::ffi::OsString;
use std::time::Duration;

/// One workload against one server.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) workload: Workload,
    pub(super) connections: usize,
    /// How long is measured.
    pub(super) duration: Duration,
    /// How long the load runs before that.
    pub(super) warm_up: Duration,
    /// The most messages that are sent while it is measured.
    pub(super) messages: Option<u64>,
    /// Bytes of a message's content, between its quotation marks.
    pub(super) payload_bytes: usize,
    /// Threads of the load, at least one.
    pub(super) threads: usize,
    pub(super) target: Target,
}

/// Where the load goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// To a server of its own, with these flags.
    Own(Vec<OsString>),
    /// To the server at this URL, which may be this process on this machine.
    Other { url: String, pid: Option<u32> },
}

/// What the connections do.
#[derive(Clone, Debug)]
pub(super) enum Workload {
    /// `senders` of them, an even number, are pairs that answer each other.
    Relay {
        senders: usize,
        window: usize,
    },
    /// All of them send to their partners, so many messages a second together.
    OpenLoop {
        per_second: f64,
    },
    /// The first sends to a room of all others, but for the last two where there is a probe.
    Fanout {
        window: usize,
        probe: bool,
    },
    Idle,
    Heartbeat {
        every: Duration,
    },
    /// They come and go, so many at a time.
    Churn,
}

impl Workload {
    /// As on the command line.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Relay { .. } => "relay",
            Self::OpenLoop { .. } => "open-loop",
            Self::Fanout { .. } => "fanout",
            Self::Idle => "idle",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Churn => "churn",
        }
    }

    /// Messages that each sender has in flight at most, where that is what bounds them.
    pub(super) fn window(&self) -> usize {
        match self {
            Self::Relay { window, .. } | Self::Fanout { window, .. } => *window,
            _ => 0,
        }
    }

    /// Messages offered a second, where the load does not wait for answers.
    pub(super) fn per_second(&self, connections: usize) -> Option<f64> {
        match self {
            Self::OpenLoop { per_second } => Some(*per_second),
            Self::Heartbeat { every } => Some(connections as f64 / every.as_secs_f64()),
            _ => None,
        }
    }
}

impl Plan {
    /// The numbers of the connections of each thread: partners are on one thread, a room is on the first.
    pub(super) fn shares(&self) -> Vec<Vec<usize>> {
        let together = match self.workload {
            Workload::Relay { .. } | Workload::OpenLoop { .. } => 2,
            Workload::Fanout { .. } => self.connections,
            Workload::Idle | Workload::Heartbeat { .. } | Workload::Churn => 1,
        };
        let threads = self.threads.min(self.connections.div_ceil(together)).max(1);
        let of_thread = |thread| (0..self.connections).filter(|n| n / together % threads == thread).collect();
        (0..threads).map(of_thread).collect()
    }

    /// What the connections of one thread do, which has this share of them.
    pub(super) fn script(&self, thread: usize, share: &[usize], threads: usize) -> Box<dyn Script + Send> {
        let bytes = self.payload_bytes;
        match &self.workload {
            Workload::Relay { senders, window } => {
                let senders = share.iter().filter(|number| *number < senders).count();
                Box::new(Relay::new(senders, *window, bytes))
            }
            Workload::OpenLoop { per_second } => {
                let per_second = per_second * share.len() as f64 / self.connections as f64;
                Box::new(OpenLoop::new(share.len(), per_second, bytes))
            }
            Workload::Fanout { window, probe } => Box::new(Fanout::new(*window, *probe, bytes)),
            Workload::Idle => Box::new(Idle),
            Workload::Heartbeat { every } => Box::new(Beats::new(*every)),
            Workload::Churn => Box::new(Churn::new(share.len(), self.connections + thread, threads)),
        }
    }

    /// What of all messages one thread may send.
    pub(super) fn cap(&self, thread: usize, threads: usize) -> u64 {
        let share = |all: u64| all / threads as u64 + u64::from((thread as u64) < all % threads as u64);
        self.messages.map_or(u64::MAX, share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(workload: Workload, connections: usize, threads: usize) -> Plan {
        let (duration, warm_up) = (Duration::from_secs(1), Duration::ZERO);
        let target = Target::Own(Vec::new());
        Plan { workload, connections, duration, warm_up, messages: Some(7), payload_bytes: 16, threads, target }
    }

    #[test]
    fn partners_are_on_one_thread_and_so_is_a_room() {
        let relay = Workload::Relay { senders: 2, window: 1 };
        assert_eq!(plan(relay.clone(), 6, 2).shares(), [vec![0, 1, 4, 5], vec![2, 3]]);
        assert_eq!(plan(relay, 2, 8).shares(), [[0, 1]]);
        assert_eq!(plan(Workload::Fanout { window: 1, probe: true }, 5, 2).shares(), [[0, 1, 2, 3, 4]]);
        assert_eq!(plan(Workload::Idle, 3, 2).shares(), [vec![0, 2], vec![1]]);
    }

    #[test]
    fn the_cap_is_that_of_all_threads_together() {
        let plan = plan(Workload::Idle, 3, 3);
        assert_eq!((0..3).map(|thread| plan.cap(thread, 3)).sum::<u64>(), 7);
    }
}
