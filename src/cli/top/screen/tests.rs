//! Screens of a terminal that is a buffer.

use super::super::answer::{Listing, Question, Reply, Sort};
use super::super::tests::{METRICS, answer};
use super::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{self, Buffer};
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use std::time::Duration;

fn state(accounts: &[&str], at: Instant) -> State {
    let listing = Listing { sort: Sort::Busiest, limit: 100, search: String::new() };
    State::new("http://127.0.0.1:8081", listing, Duration::from_secs(2), true, answer(accounts, METRICS, at))
}

fn drawn(state: &State, now: Instant, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, now)).unwrap();
    terminal.backend().buffer().clone()
}

/// The lines of a screen, without the spaces at their ends.
fn lines(state: &State, now: Instant, columns: u16, height: u16) -> Vec<String> {
    let screen = drawn(state, now, columns, height);
    let line = |row: &[buffer::Cell]| {
        let mut line = String::new();
        let mut cells = row.iter();
        while let Some(cell) = cells.next() {
            line.push_str(cell.symbol());
            // The second half of a wide character.
            (1..width(cell.symbol())).for_each(|_| _ = cells.next());
        }
        line.trim_end().to_owned()
    };
    screen.content().chunks(columns.into()).map(line).collect()
}

fn press(state: &mut State, now: Instant, keys: &[KeyCode]) {
    for key in keys {
        state.key(KeyEvent::from(*key), now, 3);
    }
}

/// Lets the state ask, and answers.
fn reply(state: &mut State, now: Instant, reply: impl FnOnce(&Question) -> Result<Reply, String>) {
    let question = state.due(now).expect("something to answer");
    let reply = reply(&question);
    state.take(&question, reply);
}

#[test]
fn the_screen_has_a_head_the_table_and_the_keys() {
    let now = Instant::now();
    let expected = [
        "heartwire top  busiest: 3 of 103  http://127.0.0.1:8081  every 2s",
        "connections 3 of 10  messages 120 in, 1500 out",
        "ACCOUNT                   QUEUED  MSG/S  FRAMES/S  RTT-MS  HEARD   AGE",
        "alice                         0B    1.2       3.4       -   1.2s  1h2m",
        "你好                          0B    1.2       3.4       -   1.2s  1h2m",
        "e\\u{1b}[2J\\u{202e}\\u{7}x      0B    1.2       3.4       -   1.2s  1h2m",
        "",
        "q quit  ? help  b busiest  s slowest  o oldest  / search  Enter details",
    ];
    assert_eq!(lines(&state(&["alice", "你好", "e\u{1b}[2J\u{202e}\u{7}x"], now), now, 71, 8), expected);
}

#[test]
fn what_has_happened_is_told_since_the_answer_before() {
    let start = Instant::now();
    let mut state = state(&["alice"], start);
    let later = start + Duration::from_millis(2_500);
    let metrics =
        METRICS.replace("received_total 120", "received_total 150").replace("\"commands\"} 1", "\"commands\"} 4");
    reply(&mut state, later, |_| Ok(Reply::List(Box::new(answer(&["alice"], &metrics, later)))));
    let expected = "connections 3 of 10  messages 12.0/s in, 0.0/s out  in 2.5s: 3 dropped, 0 ended  \
                    queued 2.0K of 256.0M  router inbox 1 of 64";
    assert_eq!(lines(&state, later, 200, 8)[1], expected);
    let again = later + Duration::from_secs(2);
    reply(&mut state, again, |_| Ok(Reply::List(Box::new(answer(&[], "heartwire_connections 0\n", again)))));
    let anew = "connections 0  messages 0 in, 0 out  since the start: 0 dropped, 0 ended  queued 0B  router inbox 0";
    assert_eq!(lines(&state, again, 200, 8)[1], anew, "the server has started anew");
}

#[test]
fn every_size_has_its_most_important_parts() {
    let now = Instant::now();
    let state = state(&["alice", "bob"], now);
    for (width, height, line, expected) in [
        (20, 6, 0, "heartwire top"),
        (20, 6, 1, "connections 3 of 10"),
        (20, 6, 2, "ACCOUNT  QUEUED"),
        (20, 6, 5, "q quit  ? help"),
        (5, 6, 3, "alice"),
        (40, 2, 0, "heartwire top  busiest: 2 of 102"),
        (40, 5, 3, "alice        0B    1.2       3.4       -"),
        (300, 6, 2, "CLOSING  ID"),
    ] {
        let lines = lines(&state, now, width, height);
        assert!(lines[line].ends_with(expected), "{width}x{height}: {lines:?}");
    }
    for (width, height) in [(0, 0), (1, 1), (2, 3), (1, 100), (1_000, 1)] {
        drawn(&state, now, width, height);
    }
}

#[test]
fn the_page_with_the_cursor_is_shown() {
    let now = Instant::now();
    let mut state = state(&["a", "b", "c", "d", "e"], now);
    let page = |state: &State| lines(state, now, 10, 7)[3..6].concat();
    let cursor = |state: &State| {
        let buffer = drawn(state, now, 10, 7);
        (0..7).find(|y| buffer[(0, *y)].modifier.contains(Modifier::REVERSED))
    };
    assert_eq!((page(&state).as_str(), cursor(&state)), ("abc", Some(3)));
    press(&mut state, now, &[KeyCode::Down, KeyCode::Down]);
    assert_eq!((page(&state).as_str(), cursor(&state)), ("abc", Some(5)));
    press(&mut state, now, &[KeyCode::Down]);
    assert_eq!((page(&state).as_str(), cursor(&state)), ("de", Some(3)));
    press(&mut state, now, &[KeyCode::PageUp]);
    assert_eq!((page(&state).as_str(), cursor(&state)), ("abc", Some(3)));
    assert_eq!((rows(7), rows(4), rows(0)), (3, 1, 1));
}

#[test]
fn one_connection_is_shown_with_all_that_was_answered() {
    let now = Instant::now();
    let mut state = state(&["alice"], now);
    press(&mut state, now, &[KeyCode::Enter]);
    let fields = |_: &Question| {
        let fields = [("account", "alice"), ("heartbeat.interval_ms", "25000"), ("rooms", "garden"), ("rooms", "b")];
        Ok(Reply::One(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()))
    };
    reply(&mut state, now, fields);
    assert_eq!(
        lines(&state, now, 60, 6),
        [
            "heartwire top  connection 1ec21a191511442f-0",
            "connections 3 of 10  messages 120 in, 1500 out",
            "account                alice",
            "heartbeat.interval_ms  25000",
            "rooms                  garden",
            "Esc back  q quit  p pause  arrows, PgUp, PgDn",
        ]
    );
    press(&mut state, now, &[KeyCode::End]);
    assert_eq!(lines(&state, now, 60, 6)[4], "rooms                  b");
}

#[test]
fn trouble_a_pause_a_search_and_the_help_are_seen() {
    let now = Instant::now();
    let mut state = state(&["alice"], now);
    let later = now + Duration::from_secs(9);
    reply(&mut state, later, |_| Err("cannot ask: \u{1b}[31mrefused".into()));
    let buffer = drawn(&state, later, 80, 24);
    assert_eq!(lines(&state, later, 80, 24)[23], "9s old: cannot ask: \\u{1b}[31mrefused");
    assert_eq!(buffer[(0, 23)].fg, Color::Red);
    press(&mut state, later, &[KeyCode::Char('p'), KeyCode::Char('/'), KeyCode::Char('l'), KeyCode::Char('\u{202e}')]);
    assert_eq!(lines(&state, later, 80, 24)[23], "search: l\\u{202e}_");
    assert_eq!(lines(&state, later, 9, 24)[23], "l\\u{202e}_"[1..], "the end, where it is being written");
    press(&mut state, later, &[KeyCode::Enter]);
    assert_eq!(
        lines(&state, later, 100, 24)[0],
        "heartwire top  busiest: 1 of 101  PAUSED  search: l\\u{202e}  http://127.0.0.1:8081  every 2s"
    );
    reply(&mut state, later, |_| Ok(Reply::List(Box::new(answer(&["alice"], METRICS, later)))));
    press(&mut state, later, &[KeyCode::Char('?')]);
    let help = lines(&state, later, 80, 24);
    let drawn_help: Vec<_> = HELP.lines().map(str::trim_end).collect();
    assert_eq!(help[2..2 + drawn_help.len()], drawn_help, "it fits a terminal of the usual size");
    assert_eq!(help[23], "any key: back to the table");
    for column in
        COLUMNS.iter().filter(|column| !["ACCOUNT", "DEVICE", "ADDRESS", "DIALECT", "ID"].contains(&column.title))
    {
        assert!(HELP.contains(column.title), "{} speaks for itself?", column.title);
    }
}

#[test]
fn colours_say_what_is_wrong_where_they_are_wanted() {
    let now = Instant::now();
    let mut state = state(&["fine", "waits", "lost", "ends"], now);
    state.answer.connections[1].queued_bytes = 1;
    state.answer.connections[2].frames_dropped = 1;
    state.answer.connections[3].closing = serde_json::from_str(r#"{"reason":"normal"}"#).unwrap();
    let colours = |state: &State| [3, 4, 5, 6].map(|y| drawn(state, now, 40, 9)[(0, y)].fg);
    assert_eq!(colours(&state), [Color::Reset, Color::Yellow, Color::Red, Color::DarkGray]);
    state.colour = false;
    assert_eq!(colours(&state), [Color::Reset; 4]);
    state.trouble = Some("trouble".into());
    assert!(drawn(&state, now, 40, 9).content().iter().all(|cell| cell.fg == Color::Reset));
}
