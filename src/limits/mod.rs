//! How much is let in: what the machine bears, how connections share it, and the token bucket behind every rate.

mod failures;
mod permits;

pub(crate) use failures::Failures;
#[cfg(feature = "admin")]
pub(crate) use permits::Occupancy;
pub(crate) use permits::{Full, Permit, Places};

use crate::config::Rate;
use std::fmt;
use std::fs::read_to_string;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// A std thread takes four memory maps: its stack, the signal stack, and a guard for each.
const MAPS_PER_THREAD: u64 = 4;
/// Descriptors that are not connections: listeners, files, pipes, and the sockets about to be refused.
const RESERVED_DESCRIPTORS: u64 = 64;
/// A quarter of the connections may be in their handshake, but never fewer than this many: a small server must not
/// refuse clients that merely come at once.
const MIN_HANDSHAKES: usize = 16;
/// What a system is taken to bear where none of its limits on threads can be read.
const THREADS_OF_AN_UNKNOWN_SYSTEM: u64 = 2_048;

/// What bounds the threads of this process; `None` where there is no such bound, or none that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Memory maps of one process.
    pub(crate) max_map_count: Option<u64>,
    /// The soft `RLIMIT_NOFILE`.
    pub(crate) open_files: Option<u64>,
    /// The soft `RLIMIT_NPROC`: threads of this user. It does not bind root.
    pub(crate) processes: Option<u64>,
    /// The smallest `pids.max` of the control group and of those that enclose it.
    pub(crate) cgroup_pids: Option<u64>,
    /// Threads of the whole system.
    pub(crate) threads_max: Option<u64>,
    /// Thread ids of the whole system.
    pub(crate) pid_max: Option<u64>,
    /// Threads that this process runs already.
    pub(crate) threads_running: u64,
}

impl Machine {
    /// Reads the limits of this process as they are now. On other systems than Linux only the descriptors are known.
    pub(crate) fn read() -> Self {
        use rustix::process::{Resource, getrlimit};
        let number = |path: &str| read_to_string(path).ok()?.trim().parse().ok();
        let text = |path: &str| read_to_string(path).unwrap_or_default();
        let status = text("/proc/self/status");
        let running = status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok());
        // Elsewhere RLIMIT_NPROC counts processes, not threads.
        let counts_threads = cfg!(target_os = "linux") && !is_root_of_the_system(&text("/proc/self/uid_map"));
        Self {
            max_map_count: number("/proc/sys/vm/max_map_count"),
            open_files: getrlimit(Resource::Nofile).current,
            processes: if counts_threads { getrlimit(Resource::Nproc).current } else { None },
            cgroup_pids: smallest_pids_max(&text("/proc/self/cgroup"), |path| read_to_string(path).ok()),
            threads_max: number("/proc/sys/kernel/threads-max"),
            pid_max: number("/proc/sys/kernel/pid_max"),
            threads_running: running.unwrap_or(1),
        }
    }
}

/// Root, and not only within a user namespace, where the kernel still counts.
fn is_root_of_the_system(uid_map: &str) -> bool {
    let mut fields = uid_map.split_whitespace();
    rustix::process::getuid().is_root() && fields.next() == Some("0") && fields.next() == Some("0")
}

/// The smallest `pids.max` on the way from the group named in `/proc/self/cgroup` up to the root.
///
/// In a container the path may be the host's and the mount begin at the group itself, so what is not there is skipped.
fn smallest_pids_max(proc_self_cgroup: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    pids_max_files(proc_self_cgroup).iter().filter_map(|file| read(file)?.trim().parse().ok()).min()
}

fn pids_max_files(proc_self_cgroup: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in proc_self_cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let mounts: &[&str] = match controllers {
            "" => &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
            controllers if controllers.split(',').any(|name| name == "pids") => &["/sys/fs/cgroup/pids"],
            _ => continue,
        };
        // A group outside of our namespace begins with `..`, which would lead out of the mount.
        let group: PathBuf = Path::new(group).components().filter(|c| matches!(c, Component::Normal(_))).collect();
        for mount in mounts {
            files.extend(group.ancestors().map(|ancestor| Path::new(mount).join(ancestor).join("pids.max")));
        }
    }
    files
}

/// How many threads may be started, and which limit says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Threads besides those that run already.
    pub(crate) threads: u64,
    /// The limit that is reached first.
    pub(crate) limited_by: &'static str,
    /// How to raise it.
    pub(crate) remedy: &'static str,
}

/// Four fifths of what the tightest limit permits, less the threads that run already.
///
/// Beyond a limit a process usually aborts instead of getting an error from `spawn`, so only a margin is safe.
pub(crate) fn thread_budget(machine: &Machine) -> Budget {
    let unknown = [machine.max_map_count, machine.cgroup_pids, machine.threads_max, machine.pid_max] == [None; 4];
    let limits = [
        (machine.max_map_count.map(|maps| maps / MAPS_PER_THREAD), "vm.max_map_count", "sysctl vm.max_map_count"),
        (
            machine.open_files.map(|files| files.saturating_sub(RESERVED_DESCRIPTORS)),
            "RLIMIT_NOFILE",
            "ulimit -n, or LimitNOFILE= of the systemd unit",
        ),
        (machine.processes, "RLIMIT_NPROC", "ulimit -u, or LimitNPROC= of the systemd unit"),
        (machine.cgroup_pids, "pids.max", "TasksMax= of the systemd unit, or the container's limit of processes"),
        (machine.threads_max, "kernel.threads-max", "sysctl kernel.threads-max"),
        (machine.pid_max, "kernel.pid_max", "sysctl kernel.pid_max"),
        (unknown.then_some(THREADS_OF_AN_UNKNOWN_SYSTEM), "the unknown limit of this system", "running it on Linux"),
    ];
    let (limit, limited_by, remedy) = limits
        .into_iter()
        .filter_map(|(limit, name, remedy)| Some((limit?, name, remedy)))
        .min_by_key(|(limit, ..)| *limit)
        .unwrap_or((0, "nothing", "nothing"));
    let margin = limit.div_ceil(5);
    Budget { threads: (limit - margin).saturating_sub(machine.threads_running), limited_by, remedy }
}

/// How many requests over HTTP may be answered at once: 64, or fewer where the machine bears few threads.
#[cfg(feature = "admin")]
pub(crate) fn admin_requests(budget: &Budget) -> usize {
    usize::try_from(budget.threads / 16).unwrap_or(usize::MAX).clamp(2, 64)
}

/// How many connections are let in, and what decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Connections at once, those being opened included.
    pub(crate) max_connections: usize,
    /// How many of them may be in their handshake, where nobody has authenticated them: a quarter, or 16
    /// where that is more.
    pub(crate) max_handshakes: usize,
    /// Threads for all of them, those included that are about to end: into half of the margin, but no further.
    pub(crate) max_threads: usize,
    /// The limit that is reached first.
    pub(crate) limited_by: String,
    /// How to raise it, where that is not by the configuration alone.
    pub(crate) remedy: Option<String>,
}

impl Admission {
    /// Connections at once, those being opened included.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// How many of them may be in their handshake.
    #[must_use]
    pub fn max_handshakes(&self) -> usize {
        self.max_handshakes
    }

    /// The limit that is reached first: `max-connections`, or one of the machine.
    #[must_use]
    pub fn limited_by(&self) -> &str {
        &self.limited_by
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_connections, max_handshakes, limited_by, remedy, .. } = self;
        write!(f, "at most {max_connections} connections, {max_handshakes} of them in their handshake")?;
        write!(f, ", limited by {limited_by}")?;
        match remedy {
            Some(remedy) => write!(f, " (raised by {remedy})"),
            None => Ok(()),
        }
    }
}

/// The machine does not bear the server's own threads and one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom {
    budget: Budget,
    needed: u64,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, budget: Budget { threads, limited_by, remedy } } = self;
        write!(f, "no room for one connection: {needed} threads are needed, {limited_by} leaves {threads}")?;
        write!(f, " (raised by {remedy})")
    }
}

impl std::error::Error for NoRoom {}

/// The smaller of what is configured and what the machine bears.
///
/// Every connection takes one thread from accept to its end, and one in its handshake a second one for the moment in
/// which that thread starts the connection's own; `fixed_threads` are those of the server itself.
///
/// # Errors
/// [`NoRoom`] when not even one connection would fit.
pub(crate) fn admission(max: Option<usize>, budget: &Budget, fixed_threads: usize) -> Result<Admission, NoRoom> {
    let room = usize::try_from(budget.threads).unwrap_or(usize::MAX).saturating_sub(fixed_threads);
    if room < 2 {
        return Err(NoRoom { budget: *budget, needed: fixed_threads as u64 + 2 });
    }
    // The most connections that fit together with the second threads of the quarter that is in its handshake.
    let fit = (room / 5 * 4 + (room % 5).min(3)).min(room - 1);
    let configured = max.filter(|max| *max <= fit);
    let max_connections = configured.unwrap_or(fit).max(1);
    Ok(Admission {
        max_connections,
        max_handshakes: (max_connections / 4).max(MIN_HANDSHAKES).min(max_connections).min(room - max_connections),
        // Four fifths of the limit, and an eighth of that, are nine tenths.
        max_threads: room.saturating_add((room / 8).max(2)),
        limited_by: configured.map_or(budget.limited_by, |_| "max-connections").to_owned(),
        remedy: configured.is_none().then(|| budget.remedy.to_owned()),
    })
}

/// A [`Rate`] being used up: at most `burst` tokens, refilled with `per_second`. Exact to the nanosecond, without drift.
///
/// More than the burst may be taken at once, but only from a full bucket, and the excess is owed: otherwise one large
/// fan-out would never pass, and with debts the rate still holds in the long run.
#[derive(Clone, Debug)]
pub(crate) struct TokenBucket {
    rate: Rate,
    /// Billionths of a token at `at`; negative while tokens are owed.
    credit: i128,
    at: Instant,
}

/// Refilled a second with `per_second` tokens is refilled a nanosecond with as many billionths.
const BILLIONTHS: i128 = 1_000_000_000;

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, credit: i128::from(rate.burst) * BILLIONTHS, at: now }
    }

    /// Takes `n` tokens, or none when they are not there; nothing can always be taken.
    pub(crate) fn take(&mut self, n: u64, now: Instant) -> bool {
        if !self.wait_for(n, now).is_zero() {
            return false;
        }
        self.credit = self.credit_at(now) - i128::from(n) * BILLIONTHS;
        // Never backwards: a clock read earlier on another thread must not refill the same time twice.
        self.at = self.at.max(now);
        true
    }

    /// Whether no token is missing.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.credit_at(now) >= i128::from(self.rate.burst) * BILLIONTHS
    }

    /// How long after `now` the tokens can be taken: zero when [`Self::take`] would succeed.
    pub(crate) fn wait_for(&self, n: u64, now: Instant) -> Duration {
        let needed = i128::from(n.min(self.rate.burst.into())) * BILLIONTHS;
        let missing = needed - self.credit_at(now);
        if n == 0 || missing <= 0 {
            return Duration::ZERO;
        }
        let nanoseconds = missing.unsigned_abs().div_ceil(u128::from(self.rate.per_second.max(1)));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    fn credit_at(&self, now: Instant) -> i128 {
        let elapsed = i128::try_from(now.saturating_duration_since(self.at).as_nanos()).unwrap_or(i128::MAX);
        let refill = elapsed.saturating_mul(self.rate.per_second.into());
        self.credit.saturating_add(refill).min(i128::from(self.rate.burst) * BILLIONTHS)
    }
}

#[cfg(test)]
mod tests;
