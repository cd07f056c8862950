//! Which lines a sweep is drawn as: what is not worth a line of its own is taken together.

use super::super::measured::{Latency, Measured};
use super::super::median::median;
use super::super::memory::Memory;
use super::super::report::{number, time};
use super::super::settings::Settings;
use std::collections::BTreeMap;

/// Lines that differ by less are one.
const SAME: f64 = 1.1;

/// One set of axes.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// What stands at a tick of its ordinate.
    pub(super) tick: fn(f64) -> String,
    /// Whether its ordinate is in powers of ten; otherwise it begins at zero.
    pub(super) logarithmic: bool,
    pub(super) lines: Vec<Line>,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) label: String,
    /// Which colour, by number.
    pub(super) colour: usize,
    pub(super) dashed: bool,
    /// In the order of the abscissa.
    pub(super) points: Vec<(f64, f64)>,
}

/// The panels of a sweep that there is something to draw in.
pub(super) fn of_sweep(points: &[Measured]) -> Vec<Panel> {
    let told = Settings { connections: false, ..Settings::varying(points) };
    let groups = told.groups(points);
    let panels = [latency(&groups), memory(points, told, groups.len()), processor(&groups)];
    panels.into_iter().filter(|panel| !panel.lines.is_empty()).collect()
}

/// The panel of one run's latency: against how many messages there are for one that took longer, and 10,000 for the
/// longest of all.
pub(super) fn of_latency(latency: &Latency) -> Panel {
    let Latency { p50, p90, p99, p999, max } = *latency;
    let points = vec![(2.0, p50), (10.0, p90), (100.0, p99), (1_000.0, p999), (10_000.0, max)];
    let line = Line { label: format!("longest {}", time(max)), colour: 0, dashed: false, points };
    Panel { title: "Latency of a message", tick: time, logarithmic: true, lines: vec![line] }
}

/// Runs of the same settings, and these in words.
type Group<'a> = (String, Vec<&'a Measured>);

fn latency(groups: &[Group<'_>]) -> Panel {
    let lines = groups.iter().enumerate().flat_map(|(colour, (label, runs))| {
        [
            line(join("p50", label), colour, false, runs, |run| Some(run.latency_us?.p50)),
            line(join("p99", label), colour, true, runs, |run| Some(run.latency_us?.p99)),
        ]
    });
    Panel { title: "Latency of a message", tick: time, logarithmic: true, lines: lines.flatten().collect() }
}

/// What a connection takes has nothing to do with how many will send, and often little with the other settings.
fn memory(points: &[Measured], told: Settings, first_colour: usize) -> Panel {
    let resident = |run: &Measured| Some(Memory::of(run)?.resident / 1024.0);
    let kernel = |run: &Measured| Some(Memory::of(run)?.kernel? / 1024.0);
    let most = points.iter().map(|run| run.connections).max().unwrap_or(0);
    let apart = Settings { senders: false, ..told };
    let at_most = apart.groups(points.iter().filter(|run| run.connections == most));
    let each: Vec<_> =
        at_most.iter().filter_map(|(_, runs)| median(runs.iter().filter_map(|run| resident(run)))).collect();
    let is_same = each.iter().all(|one| each.iter().all(|other| *one <= other * SAME));
    let groups = if is_same { Settings::default() } else { apart }.groups(points);
    let lines = groups.iter().enumerate().flat_map(|(at, (label, runs))| {
        [
            line(join("resident", label), first_colour + at, false, runs, resident),
            line(join("kernel", label), first_colour + at, true, runs, kernel),
        ]
    });
    Panel { title: "Memory per connection", tick: kib, logarithmic: false, lines: lines.flatten().collect() }
}

fn processor(groups: &[Group<'_>]) -> Panel {
    let lines = groups.iter().enumerate().map(|(colour, (label, runs))| {
        line(label.clone(), colour, false, runs, |run| run.server_cost?.cpu_us_per_delivery)
    });
    Panel {
        title: "Server CPU time per delivered message",
        tick: time,
        logarithmic: false,
        lines: lines.flatten().collect(),
    }
}

/// A line through the medians of a figure; none where it is nowhere known.
fn line(
    label: String,
    colour: usize,
    dashed: bool,
    runs: &[&Measured],
    figure: impl Fn(&Measured) -> Option<f64>,
) -> Option<Line> {
    let mut at: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for run in runs {
        at.entry(run.connections).or_default().extend(figure(run));
    }
    let points: Vec<_> =
        at.into_iter().filter_map(|(connections, values)| Some((connections as f64, median(values)?))).collect();
    (!points.is_empty()).then_some(Line { label, colour, dashed, points })
}

fn join(what: &str, label: &str) -> String {
    if label.is_empty() { what.to_owned() } else { format!("{what}, {label}") }
}

fn kib(count: f64) -> String {
    format!("{} KiB", number(count))
}
