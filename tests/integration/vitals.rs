//! What a process holds and has used, as `/proc` tells it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Vitals {
    pub threads: usize,
    pub descriptors: usize,
    pub resident_bytes: usize,
    /// The most that it ever had, reserved and never touched included.
    pub address_space_peak_bytes: usize,
    /// User and system time of all its threads, those that have ended included; to 10 ms.
    pub cpu: Duration,
}

impl Vitals {
    /// Those of a process that runs.
    pub fn of(pid: u32) -> Self {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let status = read("status");
        let field = |name: &str| -> usize {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
        };
        // The name of the process, in parentheses, may hold anything.
        let stat = read("stat");
        let (_, behind_name) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let ticks: u64 = fields[11..=12].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Self {
            threads: field("Threads"),
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
            resident_bytes: field("VmRSS") << 10,
            address_space_peak_bytes: field("VmPeak") << 10,
            cpu: Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64),
        }
    }
}

/// The clients of this process are descriptors too.
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}
