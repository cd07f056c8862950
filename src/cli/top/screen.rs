//! What the terminal shows, drawn from the state and the time alone.

use super::super::log::OneLine;
use super::super::values::{Time, word_for};
use super::answer::{Answer, Connection, Field, Metrics, SORTS};
use super::state::{Mode, State};
use super::table::{COLUMNS, Column, GAP, bytes};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use std::time::Instant;

/// The lines that are not rows: two of the head, the titles of the columns, and the status.
const OTHER_LINES: u16 = 4;

const KEYS: [&str; 9] = [
    "q quit",
    "? help",
    "b busiest",
    "s slowest",
    "o oldest",
    "/ search",
    "Enter details",
    "p pause",
    "arrows, PgUp, PgDn",
];

const HELP: &str = "\
QUEUED    bytes that wait for it         PEAK      the most that ever waited
MSG/S     messages from it in a second   FRAMES/S  frames to it in a second
RTT-MS    half of its pings took less    HEARD     how long ago it was heard
AGE       how long it has been there     DROPPED   frames that it did not get
PINGS     answered, of those sent        PAGE      whether its page is hidden
RECEIVED  messages from it               SENT      frames to it
CLOSING   why it is about to end

b  busiest: MSG/S and FRAMES/S           Enter  all of one connection, and back
s  slowest: QUEUED, PEAK, RTT-MS         p      pause, and go on
o  oldest                                q      quit, as does Ctrl-C
/  search in account, device, address and id; Enter searches, Esc does not
Up, Down, PgUp, PgDn, Home and End move; Ctrl-Z gives the terminal back until fg

Yellow: something waits for it. Red: frames were dropped. Grey: it is ending.";

/// How many rows of the table a terminal of this height shows.
pub(super) fn rows(height: u16) -> usize {
    usize::from(height.saturating_sub(OTHER_LINES)).max(1)
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: Instant) {
    let heights = [Constraint::Length(1), Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)];
    let [title, totals, body, status] = Layout::vertical(heights).areas(frame.area());
    frame.render_widget(Line::styled(fit(&heading(state), title), Modifier::BOLD), title);
    frame.render_widget(Line::raw(fit(&summary(&state.answer, state.before), totals)), totals);
    match &state.mode {
        Mode::Help => frame.render_widget(Paragraph::new(HELP), body),
        Mode::One { fields, top, .. } => frame.render_widget(details(fields, *top), body),
        Mode::Table | Mode::Search(_) => {
            let page = rows(frame.area().height);
            frame.render_widget(table(state, usize::from(body.width), page), body);
        }
    }
    frame.render_widget(footer(state, now, status), status);
}

/// The whole parts that there is room for, the first ones; of the very first at least what there is room for.
fn fit(parts: &[impl AsRef<str>], area: Rect) -> String {
    let mut line = String::new();
    for part in parts.iter().map(AsRef::as_ref) {
        let longer = if line.is_empty() { part.to_owned() } else { format!("{line}  {part}") };
        if width(&longer) > area.width && !line.is_empty() {
            break;
        }
        line = longer;
    }
    line
}

fn heading(state: &State) -> Vec<String> {
    let (listing, answer) = (&state.listing, &state.answer);
    let (sort, shown) = (word_for(SORTS, &listing.sort), answer.connections.len());
    let what = match &state.mode {
        Mode::One { id, .. } => format!("connection {}", OneLine(id)),
        Mode::Table | Mode::Search(_) | Mode::Help => format!("{sort}: {shown} of {}", answer.matching),
    };
    let paused = state.paused.then(|| "PAUSED".into());
    let search = (!listing.search.is_empty()).then(|| format!("search: {}", OneLine(&listing.search)));
    let rest = [state.server.clone(), format!("every {}", Time(state.interval))];
    ["heartwire top".into(), what].into_iter().chain(paused).chain(search).chain(rest).collect()
}

/// How the server is, in parts, the most important first. What has happened is told since the answer before, or, where
/// there is none, since the server's start.
pub(super) fn summary(answer: &Answer, before: Option<(Instant, Metrics)>) -> Vec<String> {
    let metrics = &answer.metrics;
    let of = |value: String, limit: u64, shown: fn(u64) -> String| match limit {
        0 => value,
        limit => format!("{value} of {}", shown(limit)),
    };
    let count: fn(u64) -> String = |count| count.to_string();
    let all = &metrics.counts;
    let since = before.and_then(|(at, before)| Some((answer.at - at, all.since(&before.counts)?)));
    let (messages, losses) = match since {
        Some((time, new)) => {
            let seconds = time.as_secs_f64().max(f64::MIN_POSITIVE);
            let (received, sent) = (new.received as f64 / seconds, new.sent as f64 / seconds);
            (
                format!("messages {received:.1}/s in, {sent:.1}/s out"),
                format!("in {seconds:.1}s: {} dropped, {} ended", new.dropped, new.ended),
            )
        }
        None => (
            format!("messages {} in, {} out", all.received, all.sent),
            format!("since the start: {} dropped, {} ended", all.dropped, all.ended),
        ),
    };
    vec![
        format!("connections {}", of(count(metrics.connections), metrics.connections_limit, count)),
        messages,
        losses,
        format!("queued {}", of(bytes(metrics.queued_bytes), metrics.queued_limit_bytes, bytes)),
        format!("router inbox {}", of(count(metrics.inbox_batches), metrics.inbox_limit_batches, count)),
    ]
}

/// The page of the table that the cursor is on, with as many columns as fit.
fn table(state: &State, room: usize, page: usize) -> Table<'_> {
    let (table, connections) = (&state.answer.table, &state.answer.connections);
    let widths = table.fitting(Some(room));
    let first = state.selected / page * page;
    let visible = table.rows.iter().zip(connections).enumerate().skip(first).take(page);
    let rows = visible.map(|(at, (row, connection))| {
        let cursor = if at == state.selected { Modifier::REVERSED } else { Modifier::empty() };
        let style =
            colour(connection).filter(|_| state.colour).map_or_else(Style::new, |colour| Style::new().fg(colour));
        Row::new(cells(row.iter().map(String::as_str))).style(style.add_modifier(cursor))
    });
    let titles = Row::new(cells(COLUMNS.iter().map(|column| column.title))).style(Modifier::BOLD);
    let constraints = widths.iter().map(|width| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX)));
    Table::new(rows, constraints).header(titles).column_spacing(GAP)
}

/// The cells of a line, each on its column's side; those that have no column are not shown.
fn cells<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Cell<'a>> {
    let aligned = |(text, column): (&'a str, &Column)| Cell::new(Line::raw(text).alignment(column.side));
    texts.zip(&COLUMNS).map(aligned).collect()
}

/// What is wrong with a connection, if anything.
fn colour(connection: &Connection) -> Option<Color> {
    match connection {
        Connection { closing: Some(_), .. } => Some(Color::DarkGray),
        Connection { frames_dropped: 1.., .. } => Some(Color::Red),
        Connection { queued_bytes: 1.., .. } => Some(Color::Yellow),
        _ => None,
    }
}

fn details(fields: &[Field], top: usize) -> Paragraph<'_> {
    let widest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = fields.iter().skip(top).map(|(name, value)| Line::raw(format!("{name:widest$}  {value}")));
    Paragraph::new(lines.collect::<Vec<_>>())
}

/// What is being written, or what is wrong, or which keys there are.
fn footer(state: &State, now: Instant, area: Rect) -> Line<'_> {
    match (&state.mode, &state.trouble) {
        (Mode::Search(text), _) => {
            let line = format!("search: {}_", OneLine(text));
            // Of what is too long the end is shown, where it is being written.
            let side = if width(&line) > area.width { Alignment::Right } else { Alignment::Left };
            Line::raw(line).alignment(side)
        }
        (_, Some(trouble)) => {
            let age = now.saturating_duration_since(state.answer.at).as_secs();
            let style = if state.colour { Style::new().fg(Color::Red) } else { Style::new() };
            Line::styled(format!("{age}s old: {trouble}"), style)
        }
        (Mode::Help, None) => Line::raw("any key: back to the table"),
        (Mode::One { .. }, None) => Line::raw(fit(&["Esc back", "q quit", "p pause", "arrows, PgUp, PgDn"], area)),
        (Mode::Table, None) => Line::raw(fit(&KEYS, area)),
    }
}

/// How many cells of the terminal a text takes.
fn width(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
