//! What the system knows of this process, by the names that monitors know. Linux only: elsewhere there is nothing.

use super::exposition::{Family, Values};
use rustix::process::{Resource, getrlimit};
use std::fs::{read_dir, read_to_string};

/// The families for which the system has an answer.
pub(super) fn families() -> Vec<Family> {
    let stat = read_to_string("/proc/self/stat").ok();
    let stat = stat.as_deref().and_then(|text| Stat::parse(text, rustix::param::clock_ticks_per_second()));
    let boot = read_to_string("/proc/stat").ok().and_then(|text| boot_seconds(&text));
    // The list itself is one of them, while it is read.
    let open = read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1));
    let most = stat.is_some().then(|| getrlimit(Resource::Nofile).current).flatten();
    let cpu = |stat: &Stat| {
        let value = Values::Counter(stat.cpu_seconds.into());
        Family::new("process_cpu_seconds", "Seconds of processor time, in the program and in the system for it", value)
    };
    let resident = |stat: &Stat| {
        let bytes = stat.resident_pages * rustix::param::page_size() as u64;
        Family::gauge("process_resident_memory_bytes", "Bytes of memory that are resident", bytes)
    };
    let threads =
        |stat: &Stat| Family::gauge("process_threads", "Threads, one of them for each connection", stat.threads);
    let start = |stat: &Stat| {
        let help = "When the process was started, in seconds since 1970";
        Some(Family::gauge("process_start_time_seconds", help, boot? + stat.started_seconds))
    };
    let stat = stat.as_ref();
    [
        stat.map(cpu),
        open.map(|count| {
            Family::gauge("process_open_fds", "Open file descriptors, one of them for each connection", count)
        }),
        most.map(|count| Family::gauge("process_max_fds", "How many file descriptors may be open", count)),
        stat.map(resident),
        stat.and_then(start),
        stat.map(threads),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: u64,
    /// Since the system was started.
    started_seconds: f64,
    resident_pages: u64,
}

impl Stat {
    /// `ticks` are those of a second. The name of the process comes second, and may hold anything (proc(5)).
    fn parse(text: &str, ticks: u64) -> Option<Self> {
        let (_, behind_name) = text.rsplit_once(')')?;
        let fields: Vec<_> = behind_name.split_ascii_whitespace().collect();
        // By their numbers in the manual, where the first behind the name is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |count: u64| count as f64 / ticks as f64;
        Some(Self {
            cpu_seconds: seconds(field(14)? + field(15)?),
            threads: field(20)?,
            started_seconds: seconds(field(22)?),
            resident_pages: field(24)?,
        })
    }
}

/// When the system was started, in seconds since 1970, as `/proc/stat` says.
fn boot_seconds(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_a_name_that_may_hold_anything() {
        let text =
            "7 (a) b) S 1 7 7 0 -1 4194560 99 0 0 0 250 50 0 0 20 0 12 0 4000 1000000 321 18446744073709551615 1";
        let stat = Stat { cpu_seconds: 3.0, threads: 12, started_seconds: 40.0, resident_pages: 321 };
        assert_eq!(Stat::parse(text, 100), Some(stat));
        assert_eq!(Stat::parse("7 (a) S 1", 100), None);
        assert_eq!(Stat::parse("", 100), None);
        assert_eq!(boot_seconds("cpu 1 2\nbtime 1795371104\nprocesses 5\n"), Some(1_795_371_104.0));
        assert_eq!(boot_seconds("cpu 1 2\n"), None);
    }
}
