//! What a process costs, as Linux tells under `/proc`. On other systems there is nothing of it.

use std::fs;
use std::time::Duration;

/// The figures of a process at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    /// User and system time of all its threads, those that have ended included. The kernel counts in nanoseconds and
    /// tells hundredths of a second; what tells more, each thread's own file, forgets threads that end.
    pub(super) cpu: Duration,
    pub(super) threads: u64,
    pub(super) resident_bytes: u64,
}

impl Figures {
    /// Those of a process; none where it is not there, or the system does not tell.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let cpu = cpu(&read("stat")?, rustix::param::clock_ticks_per_second())?;
        let status = read("status")?;
        let resident_bytes = field(&status, "VmRSS")? << 10;
        Some(Self { cpu, threads: field(&status, "Threads")?, resident_bytes })
    }
}

/// Context switches of the threads that a process has at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Switches {
    /// Threads that waited for something.
    pub(super) voluntary: u64,
    /// Threads that had to make room for others.
    pub(super) involuntary: u64,
}

impl Switches {
    /// Those of a process; none where it is not there, or the system does not tell.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        // A thread may end while its file is opened.
        let statuses = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
        let none = Self { voluntary: 0, involuntary: 0 };
        Some(statuses.fold(none, |Self { voluntary, involuntary }, status| Self {
            voluntary: voluntary + field(&status, "voluntary_ctxt_switches").unwrap_or(0),
            involuntary: involuntary + field(&status, "nonvoluntary_ctxt_switches").unwrap_or(0),
        }))
    }

    /// Those since an earlier moment; those of threads that have ended are forgotten.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
        }
    }
}

/// What the kernel itself holds, of the whole machine: its objects, the stacks of threads, page tables, and what waits in
/// TCP sockets.
pub(super) fn kernel_bytes() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let sockstat = fs::read_to_string("/proc/net/sockstat").ok()?;
    let objects: Option<u64> =
        ["Slab", "KernelStack", "PageTables"].into_iter().map(|name| field(&meminfo, name)).sum();
    Some((objects? << 10) + tcp_pages(&sockstat)? * rustix::param::page_size() as u64)
}

/// Whether there is a process of this number, where the system tells.
pub(super) fn exists(pid: u32) -> bool {
    let system_tells = fs::exists("/proc/self/stat").unwrap_or(false);
    !system_tells || fs::exists(format!("/proc/{pid}/stat")).unwrap_or(false)
}

/// Fields 14 and 15 of `/proc/PID/stat`; the name before them may hold anything.
fn cpu(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    Some(Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64))
}

/// The number behind `NAME:` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

/// `TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 3`
fn tcp_pages(sockstat: &str) -> Option<u64> {
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    tcp.split_once(" mem ")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_found_behind_any_name() {
        let stat = "7 (a ) R 1 (b) S 1 7 7 0 -1 4194560 100 200 0 0 150 50 0 0 20 0 3 0 100 1000 200";
        assert_eq!(cpu(stat, 100), Some(Duration::from_secs(2)));
        assert_eq!(cpu("7 (a) S 1 2", 100), None);
        assert_eq!(cpu("", 100), None);
    }

    #[test]
    fn a_field_is_not_the_end_of_another_one() {
        let status = "Name:\tx\nnonvoluntary_ctxt_switches:\t3\nvoluntary_ctxt_switches:\t10\nVmRSS:\t  12 kB\n";
        assert_eq!(field(status, "voluntary_ctxt_switches"), Some(10));
        assert_eq!(field(status, "nonvoluntary_ctxt_switches"), Some(3));
        assert_eq!(field(status, "VmRSS"), Some(12));
        assert_eq!(field(status, "Threads"), None);
    }

    #[test]
    fn pages_of_tcp_are_not_those_of_udp() {
        assert_eq!(
            tcp_pages("sockets: used 9\nTCP: inuse 5 orphan 0 tw 0 alloc 7 mem 3\nUDP: inuse 0 mem 8\n"),
            Some(3)
        );
        assert_eq!(tcp_pages("UDP: inuse 0 mem 8\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_figures_and_one_that_is_not_there_has_none() {
        let figures = Figures::of(std::process::id()).unwrap();
        assert!(figures.threads >= 1 && figures.resident_bytes > 100_000, "{figures:?}");
        // Tests have threads of their own, which have waited for something.
        assert!(Switches::of(std::process::id()).unwrap().voluntary > 0);
        assert!(kernel_bytes().unwrap() > 100_000);
        // Beyond the largest number that a process may have.
        assert!(exists(std::process::id()) && !exists(1 << 30) && Figures::of(1 << 30).is_none());
    }
}
