//! What is shown, what keys do to it, and when the server is asked next.

use super::super::log::OneLine;
use super::answer::{Answer, Field, Listing, Metrics, Question, Reply, Sort};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::{Duration, Instant};

/// The longest text to search for, in characters: longer than any name that the server knows.
const MAX_SEARCH: usize = 128;

/// Everything that the screen is drawn from, besides the time.
pub(super) struct State {
    pub(super) server: String,
    pub(super) interval: Duration,
    /// Whether the terminal wants colours.
    pub(super) colour: bool,
    pub(super) listing: Listing,
    pub(super) mode: Mode,
    /// The place of the cursor in the table.
    pub(super) selected: usize,
    pub(super) paused: bool,
    pub(super) answer: Answer,
    /// What the answer before said, and when.
    pub(super) before: Option<(Instant, Metrics)>,
    /// Why there is no newer answer.
    pub(super) trouble: Option<String>,
    /// The question that waits for its answer, and since when.
    asked: Option<(Question, Instant)>,
    /// When to ask next; never while it is paused.
    next: Option<Instant>,
}

/// What the keys go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Table,
    /// The text to search for is being written.
    Search(String),
    /// One connection, from this line on; the fields are none until they have been answered.
    One {
        id: String,
        fields: Vec<Field>,
        top: usize,
    },
    Help,
}

/// What is to be done after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    Quit,
    /// Give the terminal back to the shell for a while.
    Suspend,
}

impl State {
    /// Begins with an answer that is there already.
    pub(super) fn new(server: &str, listing: Listing, interval: Duration, colour: bool, answer: Answer) -> Self {
        Self {
            // A password in an address is nobody else's business.
            server: OneLine(server.rsplit_once('@').map_or(server, |(_, host)| host)).to_string(),
            interval,
            colour,
            listing,
            mode: Mode::Table,
            selected: 0,
            paused: false,
            next: Some(answer.at + interval),
            answer,
            before: None,
            trouble: None,
            asked: None,
        }
    }

    /// The question that is to be asked now, if any: one at a time.
    pub(super) fn due(&mut self, now: Instant) -> Option<Question> {
        if self.asked.is_some() || self.next.is_none_or(|next| now < next) {
            return None;
        }
        self.next = None;
        self.asked = Some((self.question(), now));
        Some(self.question())
    }

    fn question(&self) -> Question {
        match &self.mode {
            Mode::One { id, .. } => Question::One(id.clone()),
            _ => Question::List(self.listing.clone()),
        }
    }

    /// Takes what was answered to a question, unless something else is asked by now.
    pub(super) fn take(&mut self, question: &Question, reply: Result<Reply, String>) {
        let Some((_, asked_at)) = self.asked.take() else { return };
        if self.next.is_none() && (!self.paused || reply.is_err()) {
            self.next = Some(asked_at + self.interval);
        }
        if *question != self.question() {
            return;
        }
        self.trouble = reply.as_ref().err().map(|why| OneLine(why).to_string());
        match (reply, &mut self.mode) {
            (Ok(Reply::List(answer)), _) => {
                self.before = Some((self.answer.at, self.answer.metrics));
                self.answer = *answer;
                self.select(self.selected);
            }
            (Ok(Reply::One(answered)), Mode::One { fields, .. }) => *fields = answered,
            _ => {}
        }
    }

    /// Obeys a key, on a screen with this many rows.
    pub(super) fn key(&mut self, key: KeyEvent, now: Instant, rows: usize) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Next::Quit,
                KeyCode::Char('z') => Next::Suspend,
                _ => Next::Stay,
            };
        }
        if matches!(self.mode, Mode::Search(_)) {
            self.write(key.code, now);
            return Next::Stay;
        }
        match (key.code, &self.mode) {
            (KeyCode::Char('q'), _) => return Next::Quit,
            (KeyCode::Char('p'), _) => self.pause(now),
            (KeyCode::Enter | KeyCode::Esc, Mode::One { .. }) => {
                self.mode = Mode::Table;
                self.next = (!self.paused).then_some(now);
            }
            (_, Mode::Help) => self.mode = Mode::Table,
            (KeyCode::Char('?'), Mode::Table) => self.mode = Mode::Help,
            (KeyCode::Char('/'), Mode::Table) => self.mode = Mode::Search(self.listing.search.clone()),
            (KeyCode::Char('b'), Mode::Table) => self.sort(Sort::Busiest, now),
            (KeyCode::Char('s'), Mode::Table) => self.sort(Sort::Slowest, now),
            (KeyCode::Char('o'), Mode::Table) => self.sort(Sort::Oldest, now),
            (KeyCode::Enter, Mode::Table) => self.open(now),
            (code, _) => self.scroll(code, rows),
        }
        Next::Stay
    }

    /// A key in the text to search for.
    fn write(&mut self, code: KeyCode, now: Instant) {
        let Mode::Search(text) = &mut self.mode else { return };
        match code {
            KeyCode::Char(character) if text.chars().count() < MAX_SEARCH => text.push(character),
            KeyCode::Backspace => _ = text.pop(),
            KeyCode::Esc => self.mode = Mode::Table,
            KeyCode::Enter => {
                self.listing.search = std::mem::take(text);
                self.mode = Mode::Table;
                self.start_over(now);
            }
            _ => {}
        }
    }

    fn sort(&mut self, sort: Sort, now: Instant) {
        self.listing.sort = sort;
        self.start_over(now);
    }

    /// Another table is wanted, also where the last one was to stay.
    fn start_over(&mut self, now: Instant) {
        self.selected = 0;
        self.next = Some(now);
    }

    fn pause(&mut self, now: Instant) {
        self.paused = !self.paused;
        self.next = (!self.paused).then_some(now);
    }

    fn open(&mut self, now: Instant) {
        if let Some(connection) = self.answer.connections.get(self.selected) {
            self.mode = Mode::One { id: connection.id.clone(), fields: Vec::new(), top: 0 };
            self.next = Some(now);
        }
    }

    fn scroll(&mut self, code: KeyCode, rows: usize) {
        let to = |at: usize| match code {
            KeyCode::Up => at.saturating_sub(1),
            KeyCode::Down => at + 1,
            KeyCode::PageUp => at.saturating_sub(rows),
            KeyCode::PageDown => at + rows,
            KeyCode::Home => 0,
            KeyCode::End => usize::MAX,
            _ => at,
        };
        match &mut self.mode {
            Mode::One { fields, top, .. } => *top = to(*top).min(fields.len().saturating_sub(rows)),
            _ => self.select(to(self.selected)),
        }
    }

    /// Puts the cursor here, or on the last row.
    fn select(&mut self, at: usize) {
        self.selected = at.min(self.answer.connections.len().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;
