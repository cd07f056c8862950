//! The line every 30 s, and what is true at the end.

use crate::crowd::Crowd;
use crate::ledger::Totals;
use crate::support::exchange;
use crate::vitals::Vitals;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(30);

/// What was measured of one soak.
pub struct Figures {
    pid: u32,
    begun: Glance,
    last: Glance,
    peak_bytes: usize,
    totals: Totals,
}

/// A moment, and what the server and this process had used and held then.
#[derive(Clone, Copy)]
struct Glance {
    at: Instant,
    server: Vitals,
    clients: Vitals,
}

impl Glance {
    fn at(pid: u32) -> Self {
        Self { at: Instant::now(), server: Vitals::of(pid), clients: Vitals::of(std::process::id()) }
    }

    /// CPU time of the server and of the clients since then, as parts of one processor.
    fn load_since(&self, earlier: &Self) -> (f64, f64) {
        let elapsed = (self.at - earlier.at).as_secs_f64();
        let part = |now: &Vitals, then: &Vitals| (now.cpu - then.cpu).as_secs_f64() / elapsed;
        (part(&self.server, &earlier.server), part(&self.clients, &earlier.clients))
    }
}

impl Figures {
    pub fn begin(pid: u32) -> Self {
        println!(
            "{:>8}{:>8}{:>10}{:>12}{:>10}{:>9}{:>9}{:>7}{:>9}{:>8}{:>8}{:>9}{:>9}{:>9}",
            "time",
            "here",
            "sent",
            "received",
            "on way",
            "refused",
            "guests",
            "cut",
            "pushes",
            "threads",
            "fds",
            "MiB",
            "server %",
            "clients %"
        );
        let begun = Glance::at(pid);
        Self { pid, begun, last: begun, peak_bytes: 0, totals: Totals::default() }
    }

    /// Prints a line when it is time.
    pub fn follow(&mut self, crowd: &Crowd) {
        if self.last.at.elapsed() >= INTERVAL {
            self.print_line(crowd);
        }
    }

    pub fn finish(&mut self, crowd: &Crowd) {
        self.print_line(crowd);
        self.totals = crowd.totals();
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    fn print_line(&mut self, crowd: &Crowd) {
        let now = Glance::at(self.pid);
        let (server, clients) = now.load_since(&self.last);
        let Totals { sent, received, refused, guests, cut, pushes, .. } = crowd.totals();
        let Vitals { threads, descriptors, resident_bytes, .. } = now.server;
        println!(
            "{:>7.0}s{:>8}{sent:>10}{received:>12}{:>10}{refused:>9}{guests:>9}{cut:>7}{pushes:>9}{threads:>8}\
             {descriptors:>8}{:>9.1}{:>9.1}{:>9.1}",
            (now.at - self.begun.at).as_secs_f64(),
            crowd.present(),
            crowd.on_their_way(),
            mib(resident_bytes),
            server * 100.0,
            clients * 100.0
        );
        (self.last, self.peak_bytes) = (now, self.peak_bytes.max(resident_bytes));
    }

    /// What was found, against the baseline.
    pub fn print_table(&self, baseline: &Vitals, end: &Vitals, closings: &Closings) {
        let (server, clients) = self.last.load_since(&self.begun);
        let cores = available_parallelism().map_or(1, usize::from) as f64;
        let Totals { sent, received, acknowledged, refused, guests, pushes, cut, told } = self.totals;
        let minutes = (self.last.at - self.begun.at).as_secs_f64() / 60.0;
        let machine = (server + clients) / cores * 100.0;
        println!("\n| what | in {minutes:.1} minutes |\n|---|---|");
        println!("| messages sent | {sent}, {pushes} of them pushes over HTTP |");
        println!(
            "| answered | {acknowledged} by an ack with the right number, {refused} by an error; the others are of the dialect that knows no answers |"
        );
        println!("| received | {received}: each by everybody it was for, once, in order; 0 lost |");
        println!("| guests who came and went | {guests} |");
        println!("| slow readers cut | {cut}, {told} of which could still be told 4101 |");
        println!("| closed | {closings} |");
        println!(
            "| CPU | server {:.0} %, clients {:.0} % of one processor; {machine:.0} % of the machine |",
            server * 100.0,
            clients * 100.0
        );
        println!("| threads | {} after the warm-up, {} at the end |", baseline.threads, end.threads);
        println!("| descriptors | {} after the warm-up, {} at the end |", baseline.descriptors, end.descriptors);
        let (before, after, peak) = (mib(baseline.resident_bytes), mib(end.resident_bytes), mib(self.peak_bytes));
        println!(
            "| resident memory | {before:.1} MiB after the warm-up, {after:.1} at the end, {peak:.1} with everybody |\n"
        );
    }
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What the server counts of connections that ended or were refused, and of what it dropped, by series.
pub struct Closings(BTreeMap<String, u64>);

impl Closings {
    pub fn read(admin: SocketAddr) -> Self {
        let page = exchange(admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let counted = ["heartwire_connections_closed_", "heartwire_connections_refused_", "heartwire_dropped_"];
        let series = page.lines().filter(|line| counted.iter().any(|name| line.starts_with(name)));
        let values = series.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        let closings = Self(values.collect());
        assert!(closings.0.len() > counted.len(), "{page}");
        closings
    }

    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        for (name, value) in &mut self.0 {
            *value -= earlier.0.get(name).unwrap_or(&0);
        }
        self
    }

    /// Fails unless only guests went, and only so many slow readers were cut.
    pub fn assert_expected(&self, cut: u64) {
        for (name, value) in &self.0 {
            let is_expected = match name {
                _ if name.contains("peer_closed") || name.contains("peer_gone") => true,
                _ if name.contains("slow_consumer") => *value == cut,
                // What waited for the slow readers, and answers to a guest that had just been killed.
                _ if name.contains("outbound_frames") => true,
                _ => *value == 0,
            };
            assert!(is_expected, "{name} {value}; slow readers: {cut}");
        }
    }
}

impl std::fmt::Display for Closings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let closed = self.0.iter().filter(|(name, value)| name.contains("closed") && **value > 0);
        let texts: Vec<String> = closed.map(|(name, value)| format!("{value} {}", labels(name))).collect();
        write!(f, "{}", texts.join(", "))
    }
}

/// The values of a series's labels.
fn labels(series: &str) -> String {
    series.split('"').skip(1).step_by(2).collect::<Vec<_>>().join(" ")
}
