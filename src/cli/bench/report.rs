//! What was measured, for people, for programs and for spreadsheets.

mod columns;
mod numbers;

pub(super) use numbers::{bytes, kibibytes, number, time};

use super::measured::Measured;
use super::settings::Settings;
use crate::cli::log::OneLine;
use columns::{Align, COLUMNS, Column, PARAMETERS, RESULTS};
use serde::Serialize;

/// The runs as text: what they have in common, then one result a line, or one run a line where there are several. What
/// casts doubt on a run is said below.
pub(super) fn table(runs: &[Measured]) -> String {
    let body = match runs {
        [run] => one_a_line(run),
        _ => rows(runs),
    };
    let notes: String = doubts(runs).into_iter().map(|note| note + "\n").collect();
    let gap = if notes.is_empty() { "" } else { "\n" };
    format!("{}\n\n{body}{gap}{notes}", heading(runs))
}

/// What was run, as far as all runs have it in common.
pub(super) fn heading(runs: &[Measured]) -> String {
    let Some(run) = runs.first() else { return String::new() };
    let common = PARAMETERS.iter().filter(|column| !varies(column, runs));
    common.filter_map(|column| phrase(column, run)).collect::<Vec<_>>().join(", ")
}

/// One object on a line of its own.
pub(super) fn json(value: &impl Serialize) -> String {
    // What is measured has no map with keys other than text, and no field of its own that could fail.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// A line of names, then one line a run; a field is empty where nothing is known.
pub(super) fn csv(runs: &[Measured]) -> String {
    let names = COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let line = |fields: Vec<String>| fields.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",") + "\n";
    let fields = |run| COLUMNS.iter().map(|(_, field)| field(run).unwrap_or_default()).collect();
    std::iter::once(names).chain(runs.iter().map(fields)).map(line).collect()
}

fn varies(column: &Column, runs: &[Measured]) -> bool {
    runs.windows(2).any(|pair| (column.cell)(&pair[0]) != (column.cell)(&pair[1]))
}

fn phrase(column: &Column, run: &Measured) -> Option<String> {
    let cell = (column.cell)(run)?;
    Some([column.title, &cell, column.unit].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
}

/// The results of one run, each with its name and unit.
fn one_a_line(run: &Measured) -> String {
    let results: Vec<_> =
        RESULTS.iter().filter_map(|column| Some((column.title, (column.cell)(run)?, column.unit))).collect();
    let name = results.iter().map(|(title, ..)| width(title)).max().unwrap_or(0);
    let value = results.iter().map(|(_, value, _)| width(value)).max().unwrap_or(0);
    let line = |(title, cell, unit): &(&str, String, &str)| {
        format!("{}  {} {unit}", Align::Left.pad(title, name), Align::Right.pad(cell, value)).trim_end().to_owned()
            + "\n"
    };
    results.iter().map(line).collect()
}

/// A line a run: what it differs from the others in, and its most telling results.
fn rows(runs: &[Measured]) -> String {
    let known = |column: &&Column| runs.iter().any(|run| (column.cell)(run).is_some());
    let telling = RESULTS.iter().filter(|column| !column.detail).filter(known);
    let columns: Vec<_> = PARAMETERS.iter().filter(|column| varies(column, runs)).chain(telling).collect();
    let mut lines = vec![String::new(); runs.len() + 2];
    for column in columns {
        let titles = [column.title, column.unit].map(str::to_owned);
        let cells: Vec<_> =
            titles.into_iter().chain(runs.iter().map(|run| (column.cell)(run).unwrap_or_else(|| "-".into()))).collect();
        let widest = cells.iter().map(|cell| width(cell)).max().unwrap_or(0);
        for (line, cell) in lines.iter_mut().zip(&cells) {
            line.push_str(&column.align.pad(cell, widest));
            line.push_str("  ");
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// What a reader has to know before believing the figures.
pub(super) fn doubts(runs: &[Measured]) -> Vec<String> {
    let told = Settings::varying(runs);
    runs.iter().flat_map(|run| doubts_of(run, &told.label(run))).collect()
}

/// Those of one run, which its label tells from the others.
fn doubts_of(run: &Measured, label: &str) -> Vec<String> {
    let of = given(label).map(|label| format!(" ({label})")).unwrap_or_default();
    let lost = (run.lost > 0).then(|| format!("lost{of}: {} deliveries never came", number(run.lost as f64)));
    let bottleneck = run.client.bottleneck.then(|| {
        format!("client bottleneck{of}: the load had no time left; the figures are its own rather than the server's")
    });
    let interrupted = run.interrupted.then(|| format!("interrupted{of}: ended before its time"));
    [lost, bottleneck, interrupted].into_iter().flatten().collect()
}

/// A field of RFC 4180: in quotes where it holds what would end it.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// What was given on the command line, as text that a terminal does not obey.
fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| OneLine(text).to_string())
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
pub(super) mod tests;
