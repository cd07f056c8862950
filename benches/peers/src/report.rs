//! The comparison as text: a table for each workload, and one line for each of them at the end.

use crate::figures::Figures;
use crate::workloads::{Aim, Workload};
use std::fmt;

/// One workload: a row for each server, the first of which is what the others are compared with.
pub(crate) struct Table {
    name: &'static str,
    aim: Aim,
    rows: Vec<(String, Figures)>,
}

impl Table {
    pub(crate) fn new(workload: &Workload, rows: Vec<(String, Figures)>) -> Self {
        Self { name: workload.name, aim: workload.aim, rows }
    }

    fn reference(&self) -> Figures {
        self.rows.first().map(|(_, figures)| figures.clone()).unwrap_or_default()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [self.name, self.aim.unit(), "ratio", "a second", "ratio", "p50 µs", "ratio", "p99 µs", "ratio"];
        let reference = self.reference();
        let columns: [fn(&Figures) -> Option<f64>; 4] =
            [|row| row.aimed_at, |row| row.per_second, |row| row.p50_us, |row| row.p99_us];
        let mut lines = vec![heads.map(String::from).to_vec()];
        for (name, figures) in &self.rows {
            let mut cells = vec![name.clone()];
            for column in columns {
                cells.extend([number(column(figures)), ratio(column(figures), column(&reference))]);
            }
            cells.extend(figures.bottleneck.then(|| "the load was the limit".to_owned()));
            lines.push(cells);
        }
        write_aligned(f, &lines)
    }
}

/// What each workload is about, for all servers: the figure, and its ratio to the first server's.
pub(crate) struct Summary<'a>(pub(crate) &'a [Table]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else { return Ok(()) };
        let mut lines = vec![vec!["medians, and ratios to the first".to_owned(), String::new()]];
        lines[0].extend(first.rows.iter().map(|(name, _)| name.replace("--", "").replace("heartwire ", "")));
        for table in self.0 {
            let reference = table.reference().aimed_at;
            let mut cells = vec![table.name.to_owned(), table.aim.unit().to_owned()];
            cells.extend(
                table.rows.iter().map(|(_, figures)| {
                    format!("{} ({})", number(figures.aimed_at), ratio(figures.aimed_at, reference))
                }),
            );
            lines.push(cells);
        }
        write_aligned(f, &lines)?;
        f.write_str("CPU time, memory, latency: below 1 is better than the first. Rates: above 1 is.")
    }
}

impl Aim {
    fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "CPU µs each",
            Self::Memory => "KiB each",
            Self::Rate => "lives/s",
        }
    }
}

/// Three digits are more than two runs agree on.
fn number(value: Option<f64>) -> String {
    value.map_or_else(
        || "–".to_owned(),
        |value| if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") },
    )
}

fn ratio(value: Option<f64>, reference: Option<f64>) -> String {
    let ratio = value.zip(reference).map(|(value, reference)| value / reference).filter(|ratio| ratio.is_finite());
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// The first column to the left, the others to the right.
fn write_aligned(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>]) -> fmt::Result {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| lines.iter().filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for cells in lines {
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            if column == 0 {
                write!(f, "{cell:<width$}")?;
            } else {
                write!(f, "  {cell:>width$}")?;
            }
        }
        writeln!(f)?;
    }
    Ok(())
}
