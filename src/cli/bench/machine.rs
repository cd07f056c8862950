//! The machine on which it was measured.

use serde::Serialize;
use std::fs::read_to_string;
use std::thread::available_parallelism;

/// What a figure is worth nothing without.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    pub(super) processors: usize,
    /// Their make, where it is known.
    pub(super) processor: Option<String>,
    /// Name and version of the system.
    pub(super) system: String,
    pub(super) memory_bytes: Option<u64>,
}

impl Machine {
    /// As the system tells.
    pub(super) fn read() -> Self {
        let text = |path: &str| read_to_string(path).unwrap_or_default();
        let version = text("/proc/sys/kernel/osrelease");
        Self {
            processors: available_parallelism().map_or(1, usize::from),
            processor: value(&text("/proc/cpuinfo"), "model name"),
            system: format!("{} {}", name_of(std::env::consts::OS), version.trim()).trim_end().to_owned(),
            memory_bytes: memory(&text("/proc/meminfo")),
        }
    }

    /// All of it in one line.
    pub(super) fn line(&self) -> String {
        let processors = match self.processors {
            1 => "1 processor".to_owned(),
            several => format!("{several} processors"),
        };
        let processors = match &self.processor {
            Some(make) => format!("{processors} ({make})"),
            None => processors,
        };
        let memory = self.memory_bytes.map(|bytes| format!("{} of memory", super::report::bytes(bytes as f64)));
        [Some(processors), memory, Some(self.system.clone())].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn name_of(system: &str) -> &str {
    match system {
        "linux" => "Linux",
        "macos" => "macOS",
        other => other,
    }
}

/// `MemTotal`, which the kernel tells in KiB.
fn memory(meminfo: &str) -> Option<u64> {
    let total: u64 = value(meminfo, "MemTotal")?.strip_suffix(" kB")?.trim().parse().ok()?;
    total.checked_mul(1024)
}

/// The first value with this name in a file of `name : value`.
fn value(text: &str, name: &str) -> Option<String> {
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.trim() == name)?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_system_are_understood() {
        let meminfo = "MemTotal:       24684112 kB\nMemFree:        18995348 kB\n";
        assert_eq!(memory(meminfo), Some(24_684_112 << 10));
        assert_eq!(memory("MemTotal: lots"), None);
        assert_eq!(memory(""), None);
        let cpuinfo = "processor\t: 0\nmodel name\t: Example(R) @ 2.40GHz\n\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(value(cpuinfo, "model name").as_deref(), Some("Example(R) @ 2.40GHz"));
    }

    #[test]
    fn one_line_tells_all_of_it() {
        let machine = Machine {
            processors: 2,
            processor: Some("Example @ 2.40GHz".into()),
            system: "Linux 6.18".into(),
            memory_bytes: Some(24_684_112 << 10),
        };
        assert_eq!(machine.line(), "2 processors (Example @ 2.40GHz), 23.5 GiB of memory, Linux 6.18");
        let unknown = Machine { processors: 1, processor: None, system: "macOS".into(), memory_bytes: None };
        assert_eq!(unknown.line(), "1 processor, macOS");
        assert!(Machine::read().line().contains("processor"));
    }
}
