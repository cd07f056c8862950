//! What a sweep found, in plain words.

use super::super::measured::Measured;
use super::super::memory::{ENOUGH_CONNECTIONS, Memory};
use super::super::report::{kibibytes, number, time};
use super::super::settings::Settings;

/// The finding in one line: what a thread costs where there are most of them.
pub(super) fn finding(points: &[Measured]) -> String {
    match largest(points) {
        Some((run, memory)) => format!("{} threads: {}", number(run.connections as f64), told(memory)),
        None => "What a thread costs".into(),
    }
}

/// How many threads the machine bears, and what they cost.
pub(super) fn conclusion(admission: &str, points: &[Measured]) -> String {
    let cost = largest(points).map(|(run, memory)| {
        let threads = number(run.connections as f64);
        format!("A thread that waits for its connection costs {}, with {threads} of them.", told(memory))
    });
    let unknown = || format!("What a thread costs shows with {ENOUGH_CONNECTIONS} connections or more, on Linux.");
    let mut lines = vec![format!("This machine bears {admission}."), cost.unwrap_or_else(unknown)];
    let settings = Settings { connections: false, ..Settings::varying(points) };
    lines.extend(settings.groups(points).iter().filter_map(|(label, runs)| growth(label, runs)));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn told(memory: Memory) -> String {
    let kernel = memory.kernel.map(|bytes| format!(" and {} KiB of the kernel's", kibibytes(bytes)));
    format!("{} KiB of memory{}", kibibytes(memory.resident), kernel.unwrap_or_default())
}

/// What a message costs and how long it takes with the fewest connections, and with the most.
fn growth(label: &str, runs: &[&Measured]) -> Option<String> {
    let of = if label.is_empty() { String::new() } else { format!(" ({label})") };
    let few = figures(runs.first()?, " of CPU time and p99 ")?;
    let many = figures(runs.last()?, " and ").filter(|_| runs.len() > 1);
    Some(format!("A message{of}: {few}{}.", many.map(|many| format!(", {many}")).unwrap_or_default()))
}

fn figures(run: &Measured, and: &str) -> Option<String> {
    let (cost, p99) = (time(run.server_cost?.cpu_us_per_delivery?), time(run.latency_us?.p99));
    Some(format!("among {} connections {cost}{and}{p99}", number(run.connections as f64)))
}

/// The run with most connections whose memory is known.
fn largest(points: &[Measured]) -> Option<(&Measured, Memory)> {
    let known = points.iter().filter_map(|run| Some((run, Memory::of(run)?)));
    known.max_by_key(|(run, _)| run.connections)
}

#[cfg(test)]
mod tests {
    use super::super::super::report::tests::relay;
    use super::*;

    const ADMISSION: &str = "at most 20 connections, limited by pids.max";

    #[test]
    fn the_largest_point_says_what_a_thread_costs() {
        let points = [relay(50, 2), relay(10_000, 2)];
        assert_eq!(finding(&points), "10,000 threads: 11.9 KiB of memory and 6.20 KiB of the kernel's");
        let mut without_kernel = relay(500, 2);
        without_kernel.server_cost.as_mut().unwrap().kernel_bytes_per_connection = None;
        assert_eq!(finding(&[without_kernel]), "500 threads: 11.9 KiB of memory");
    }

    #[test]
    fn every_setting_is_told_from_its_fewest_connections_to_its_most() {
        let mut points = [relay(50, 2), relay(50, 50), relay(10_000, 2)];
        points[2].server_cost.as_mut().unwrap().cpu_us_per_delivery = Some(5.0);
        let expected = "\
This machine bears at most 20 connections, limited by pids.max.
A thread that waits for its connection costs 11.9 KiB of memory and 6.20 KiB of the kernel's, with 10,000 of them.
A message (2 senders): among 50 connections 13.9 µs of CPU time and p99 1.23 ms, among 10,000 connections 5 µs and 1.23 ms.
A message (50 senders): among 50 connections 13.9 µs of CPU time and p99 1.23 ms.
";
        assert_eq!(conclusion(ADMISSION, &points), expected);
    }

    #[test]
    fn where_nothing_is_known_that_is_said() {
        let unknown = Measured { server_cost: None, ..relay(500, 2) };
        for points in [&[unknown][..], &[]] {
            assert_eq!(finding(points), "What a thread costs");
            let expected = "What a thread costs shows with 200 connections or more, on Linux.";
            assert_eq!(conclusion(ADMISSION, points).lines().collect::<Vec<_>>()[1..], [expected]);
        }
        assert_eq!(finding(&[relay(50, 2)]), "What a thread costs");
    }
}
