//! Keys, answers and the clock, without a terminal.

use super::super::tests::{METRICS, answer};
use super::*;

const INTERVAL: Duration = Duration::from_secs(2);
const ROWS: usize = 10;

/// A state of some seconds, each key and answer at one of them.
struct Scene {
    state: State,
    start: Instant,
}

impl Scene {
    /// With as many connections as this.
    fn of(connections: usize) -> Self {
        let start = Instant::now();
        let listing = Listing { sort: Sort::Busiest, limit: 100, search: String::new() };
        let answer = answer(&vec!["alice"; connections], METRICS, start);
        Self { state: State::new("http://127.0.0.1:8081", listing, INTERVAL, true, answer), start }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn press(&mut self, seconds: u64, code: KeyCode) -> Next {
        self.state.key(KeyEvent::from(code), self.at(seconds), ROWS)
    }

    fn write(&mut self, seconds: u64, text: &str) {
        text.chars().for_each(|character| assert_eq!(self.press(seconds, KeyCode::Char(character)), Next::Stay));
    }

    fn due(&mut self, seconds: u64) -> Option<Question> {
        self.state.due(self.at(seconds))
    }

    /// What is due is answered with as many connections as this.
    fn answered(&mut self, seconds: u64, connections: usize) {
        let question = self.due(seconds).expect("something to answer");
        self.reply(&question, seconds, connections);
    }

    fn reply(&mut self, question: &Question, seconds: u64, connections: usize) {
        let reply = match question {
            Question::List(_) => Reply::List(Box::new(answer(&vec!["bob"; connections], METRICS, self.at(seconds)))),
            Question::One(id) => Reply::One(vec![("id".into(), id.clone()); 30]),
        };
        self.state.take(question, Ok(reply));
    }
}

fn list(sort: Sort, search: &str) -> Option<Question> {
    Some(Question::List(Listing { sort, limit: 100, search: search.into() }))
}

#[test]
fn it_asks_once_an_interval_and_one_question_at_a_time() {
    let mut scene = Scene::of(1);
    assert_eq!(scene.due(1), None);
    let question = scene.due(2);
    assert_eq!(question, list(Sort::Busiest, ""));
    assert_eq!(scene.due(100), None, "the last one has no answer");
    scene.reply(&question.unwrap(), 100, 5);
    assert_eq!(scene.state.answer.connections.len(), 5);
    assert_eq!(scene.state.before.map(|(at, _)| at), Some(scene.at(0)));
    assert_eq!(scene.due(3), None, "an interval after it was asked");
    assert!(scene.due(4).is_some());
}

#[test]
fn a_failure_is_shown_until_an_answer_comes_and_asked_again_as_ever() {
    let mut scene = Scene::of(1);
    let question = scene.due(2).unwrap();
    scene.state.take(&question, Err("gone\u{1b}[2J".into()));
    assert_eq!(scene.state.trouble.as_deref(), Some("gone\\u{1b}[2J"));
    assert_eq!(scene.state.answer.connections[0].account, "alice", "what was there is still there");
    assert_eq!(scene.due(3), None);
    scene.answered(4, 2);
    assert_eq!(scene.state.trouble, None);
}

#[test]
fn another_order_is_asked_for_at_once_and_the_answer_to_the_old_one_is_not_shown() {
    let mut scene = Scene::of(30);
    scene.press(0, KeyCode::End);
    for (key, sort) in [('s', Sort::Slowest), ('o', Sort::Oldest), ('b', Sort::Busiest)] {
        let old = scene.due(100);
        scene.press(100, KeyCode::Char(key));
        assert_eq!(scene.state.selected, 0);
        if let Some(old) = old {
            assert_eq!(scene.due(100), None, "one at a time");
            scene.reply(&old, 100, 3);
            assert_eq!(scene.state.answer.connections.len(), 30, "it is in another order than the title says");
        }
        assert_eq!(scene.due(100), list(sort, ""));
        scene.state.take(&list(sort, "").unwrap(), Err("busy".into()));
    }
}

#[test]
fn a_search_is_asked_for_when_it_is_written() {
    let mut scene = Scene::of(3);
    scene.write(0, "/qx");
    scene.press(0, KeyCode::Backspace);
    scene.write(0, "bs?/");
    assert_eq!(scene.state.mode, Mode::Search("qbs?/".into()), "keys are letters here");
    assert_eq!(scene.due(1), None);
    scene.press(1, KeyCode::Enter);
    assert_eq!(scene.due(1), list(Sort::Busiest, "qbs?/"));
    scene.write(1, "/more");
    scene.press(1, KeyCode::Esc);
    assert_eq!((scene.state.listing.search.as_str(), &scene.state.mode), ("qbs?/", &Mode::Table), "not this one");
    scene.write(1, "/");
    (0..5).for_each(|_| _ = scene.press(1, KeyCode::Backspace));
    scene.press(1, KeyCode::Enter);
    assert_eq!(scene.state.listing.search, "");
    scene.write(1, &format!("/{}", "ä".repeat(1_000)));
    assert_eq!(scene.state.mode, Mode::Search("ä".repeat(MAX_SEARCH)));
}

#[test]
fn one_connection_is_asked_for_until_the_table_is_wanted_again() {
    let mut scene = Scene::of(3);
    scene.press(0, KeyCode::Down);
    scene.press(0, KeyCode::Enter);
    let one = Some(Question::One("1ec21a191511442f-1".into()));
    assert_eq!(scene.due(0), one);
    scene.reply(&one.clone().unwrap(), 0, 0);
    let Mode::One { fields, .. } = &scene.state.mode else { panic!("{:?}", scene.state.mode) };
    assert_eq!(fields.len(), 30);
    assert_eq!((scene.due(1), scene.due(2)), (None, one));
    for (key, top) in [
        (KeyCode::Up, 0),
        (KeyCode::Down, 1),
        (KeyCode::PageDown, 11),
        (KeyCode::End, 20),
        (KeyCode::PageDown, 20),
        (KeyCode::Up, 19),
        (KeyCode::PageUp, 9),
        (KeyCode::Char('s'), 9),
        (KeyCode::Home, 0),
    ] {
        scene.press(2, key);
        assert!(matches!(scene.state.mode, Mode::One { top: at, .. } if at == top), "{key:?}: {:?}", scene.state.mode);
    }
    scene.press(3, KeyCode::Esc);
    assert_eq!((&scene.state.mode, scene.state.selected), (&Mode::Table, 1));
    scene.state.take(&Question::One("1ec21a191511442f-1".into()), Err("it is gone".into()));
    assert_eq!(scene.state.trouble, None, "nobody wants to know");
    assert_eq!(scene.due(3), list(Sort::Busiest, ""));
}

#[test]
fn an_empty_table_has_no_connection_to_show() {
    let mut scene = Scene::of(0);
    for key in [KeyCode::Down, KeyCode::End, KeyCode::PageDown, KeyCode::Up, KeyCode::Enter] {
        scene.press(0, key);
        assert_eq!((scene.state.selected, &scene.state.mode), (0, &Mode::Table));
    }
}

#[test]
fn the_cursor_stays_on_the_table_and_at_its_place_when_that_changes() {
    let mut scene = Scene::of(25);
    for (key, selected) in [
        (KeyCode::Up, 0),
        (KeyCode::Down, 1),
        (KeyCode::PageDown, 11),
        (KeyCode::PageDown, 21),
        (KeyCode::PageDown, 24),
        (KeyCode::Down, 24),
        (KeyCode::PageUp, 14),
        (KeyCode::Home, 0),
        (KeyCode::End, 24),
    ] {
        scene.press(0, key);
        assert_eq!(scene.state.selected, selected, "{key:?}");
    }
    scene.answered(2, 30);
    assert_eq!(scene.state.selected, 24);
    scene.answered(4, 7);
    assert_eq!(scene.state.selected, 6);
    scene.answered(6, 0);
    assert_eq!(scene.state.selected, 0);
}

#[test]
fn nothing_is_asked_in_a_pause_but_what_a_key_asks_for() {
    let mut scene = Scene::of(3);
    scene.press(1, KeyCode::Char('p'));
    assert_eq!(scene.due(100), None);
    scene.press(100, KeyCode::Enter);
    scene.answered(100, 0);
    assert_eq!(scene.due(200), None);
    scene.press(200, KeyCode::Enter);
    assert_eq!((scene.due(200), &scene.state.mode), (None, &Mode::Table), "the table stays as it was");
    scene.press(200, KeyCode::Char('o'));
    let question = scene.due(200);
    assert_eq!(question, list(Sort::Oldest, ""));
    scene.state.take(&question.unwrap(), Err("busy".into()));
    assert!(scene.due(202).is_some(), "what a key asked for is asked until it is there");
    scene.press(203, KeyCode::Char('p'));
    scene.reply(&list(Sort::Oldest, "").unwrap(), 203, 3);
    assert!(scene.due(203).is_some());
}

#[test]
fn help_is_shown_until_any_key() {
    let mut scene = Scene::of(3);
    scene.press(0, KeyCode::Char('?'));
    assert_eq!(scene.state.mode, Mode::Help);
    scene.press(0, KeyCode::Char('o'));
    assert_eq!((&scene.state.mode, scene.state.listing.sort), (&Mode::Table, Sort::Busiest));
}

#[test]
fn it_can_be_left_from_everywhere() {
    let control = |character| KeyEvent::new(KeyCode::Char(character), KeyModifiers::CONTROL);
    for way in ["", "?", "/abc", "\n"] {
        let mut scene = Scene::of(3);
        for character in way.chars() {
            let code = if character == '\n' { KeyCode::Enter } else { KeyCode::Char(character) };
            scene.press(0, code);
        }
        let mode = scene.state.mode.clone();
        for (key, next) in [('c', Next::Quit), ('z', Next::Suspend), ('b', Next::Stay)] {
            let now = scene.at(0);
            assert_eq!(scene.state.key(control(key), now, ROWS), next);
            assert_eq!(scene.state.mode, mode, "nothing else happens");
        }
        let writing = matches!(mode, Mode::Search(_));
        assert_eq!(scene.press(0, KeyCode::Char('q')), if writing { Next::Stay } else { Next::Quit }, "{way}");
    }
}

#[test]
fn what_an_address_tells_of_its_owner_is_not_shown() {
    let scene = Scene::of(0);
    let listing = scene.state.listing.clone();
    let state = State::new("http://me:secret@host:81", listing, INTERVAL, false, scene.state.answer);
    assert_eq!(state.server, "host:81");
}
