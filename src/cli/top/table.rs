//! The table: its columns from the most important to the least, and its cells as text.

use super::super::log::OneLine;
use super::super::times::largest_units;
use super::answer::Connection;
use bytesize::ByteSize;
use ratatui::layout::Alignment;
use ratatui::text::Span;
use std::time::Duration;

/// What stands between two columns.
pub(super) const GAP: u16 = 2;
/// The widest that a column is where there is a width to keep to.
const MAX_WIDTH: usize = 24;

/// A column: its title, the side that its cells keep to (numbers the right, so that they can be compared), and what
/// they say of a connection at a time in ms since 1970.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) side: Alignment,
    cell: fn(&Connection, u64) -> String,
}

/// All columns, the most important first: where there is little room, the last ones are left out.
pub(super) const COLUMNS: [Column; 18] = [
    left("ACCOUNT", |c, _| text(&c.account)),
    right("QUEUED", |c, _| bytes(c.queued_bytes)),
    right("MSG/S", |c, _| format!("{:.1}", c.messages_per_second)),
    right("FRAMES/S", |c, _| format!("{:.1}", c.frames_per_second)),
    right("RTT-MS", |c, _| c.round_trip_ms.p50.map_or_else(|| "-".into(), |ms| format!("{ms:.1}"))),
    right("HEARD", |c, _| length(c.last_heard_ms)),
    right("AGE", |c, now_ms| length(now_ms.saturating_sub(c.since))),
    left("DEVICE", |c, _| text(&c.device)),
    left("ADDRESS", |c, _| text(&c.address)),
    right("PEAK", |c, _| bytes(c.queue_high_water_bytes)),
    right("DROPPED", |c, _| c.frames_dropped.to_string()),
    right("PINGS", |c, _| format!("{}/{}", c.pings_answered, c.pings_sent)),
    right("RECEIVED", |c, _| c.messages_received.to_string()),
    right("SENT", |c, _| c.frames_sent.to_string()),
    left("DIALECT", |c, _| text(&c.dialect)),
    left("PAGE", |c, _| c.background.map_or("-", |hidden| if hidden { "hidden" } else { "shown" }).into()),
    left("CLOSING", |c, _| c.closing.as_ref().map_or_else(|| "-".into(), |closing| text(&closing.reason))),
    left("ID", |c, _| text(&c.id)),
];

const fn left(title: &'static str, cell: fn(&Connection, u64) -> String) -> Column {
    Column { title, side: Alignment::Left, cell }
}

const fn right(title: &'static str, cell: fn(&Connection, u64) -> String) -> Column {
    Column { title, side: Alignment::Right, cell }
}

/// The cells of some connections. None of them holds anything that a terminal would obey.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) rows: Vec<Vec<String>>,
    /// What each column takes to be shown whole, in a terminal's cells.
    widths: Vec<usize>,
}

impl Table {
    /// The table of these connections; `now_ms` are ms since 1970.
    pub(super) fn of(connections: &[Connection], now_ms: u64) -> Self {
        let cells = |connection| COLUMNS.iter().map(|column| (column.cell)(connection, now_ms)).collect();
        let rows: Vec<Vec<String>> = connections.iter().map(cells).collect();
        let widest = |(at, column): (usize, &Column)| {
            rows.iter().map(|row| width(&row[at])).max().unwrap_or(0).max(column.title.len())
        };
        let widths = COLUMNS.iter().enumerate().map(widest).collect();
        Self { rows, widths }
    }

    /// The widths of the columns that there is room for, the first ones; all of them where there is no end to it.
    pub(super) fn fitting(&self, room: Option<usize>) -> Vec<usize> {
        let Some(room) = room else { return self.widths.clone() };
        let mut widths: Vec<usize> = self.widths.iter().map(|width| *width.min(&MAX_WIDTH)).collect();
        // What a terminal is too narrow for altogether is still the name of somebody.
        while widths.len() > 1 && widths.iter().sum::<usize>() + usize::from(GAP) * (widths.len() - 1) > room {
            widths.pop();
        }
        widths
    }

    /// The table as lines of text, its titles first.
    pub(super) fn plain(&self, room: Option<usize>) -> String {
        let widths = self.fitting(room);
        let titles = COLUMNS.iter().map(|column| column.title.to_owned()).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&COLUMNS).zip(&widths);
            let cells: Vec<_> = cells.map(|((cell, column), width)| padded(cell, column.side, *width)).collect();
            format!("{}\n", cells.join(&" ".repeat(usize::from(GAP))).trim_end())
        };
        std::iter::once(&titles).chain(&self.rows).map(line).collect()
    }
}

/// A cell in a column of this width, cut where it is wider.
fn padded(cell: &str, side: Alignment, wide: usize) -> String {
    let mut cut = cell.to_owned();
    while width(&cut) > wide {
        cut.pop();
    }
    let padding = " ".repeat(wide - width(&cut));
    match side {
        Alignment::Left | Alignment::Center => cut + &padding,
        Alignment::Right => padding + &cut,
    }
}

/// How many cells of a terminal a text takes.
fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Others' text; a cell that is empty would not be seen.
fn text(others: &str) -> String {
    if others.is_empty() { "-".into() } else { OneLine(others).to_string() }
}

pub(super) fn bytes(count: u64) -> String {
    ByteSize(count).display().iec_short().to_string()
}

/// A length of time in one word: tenths of a second below a minute, above it the two largest units.
fn length(ms: u64) -> String {
    let time = Duration::from_millis(ms);
    if ms < 60_000 {
        return format!("{:.1}s", time.as_secs_f64());
    }
    largest_units(time).concat()
}

#[cfg(test)]
mod tests;
