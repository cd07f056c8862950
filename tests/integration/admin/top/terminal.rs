//! Live in a terminal, which `script` of util-linux makes and this file is the screen of.
#![cfg(target_os = "linux")]

use super::*;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

const ROWS: usize = 24;
const COLUMNS: usize = 100;

/// A `top` in a terminal of its own.
struct Terminal {
    script: Child,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts it, and waits for its table. What stands behind it in the shell is done afterwards.
    fn start(api: &Api, before: &str, behind: &str) -> Self {
        let shell = format!(
            "stty rows {ROWS} cols {COLUMNS}; {before} {} top --interval 100ms {behind}",
            env!("CARGO_BIN_EXE_heartwire")
        );
        let mut command = Command::new("script");
        command.args(["-qefc", &shell, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let of_top = top(api, &[]);
        of_top.get_envs().for_each(|(name, value)| match value {
            Some(value) => _ = command.env(name, value),
            None => _ = command.env_remove(name),
        });
        let mut script = command.env("TERM", "xterm").env_remove("NO_COLOR").spawn().expect("script of util-linux");
        let output: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut from, to) = (script.stdout.take().unwrap(), Arc::clone(&output));
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                to.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        let terminal = Self { script, output };
        terminal.shows("ACCOUNT");
        terminal
    }

    fn press(&mut self, keys: &str) {
        self.script.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is somewhere on the screen.
    #[track_caller]
    fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    #[track_caller]
    fn until(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let screen = || drawn(&self.output.lock().unwrap());
        let patience = Patience::begin();
        while !condition(&screen()) {
            patience.assert(&format!("{what} on\n{}", screen()));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Its process, which has to have said what its id is.
    fn pid(&self) -> Pid {
        let text = String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned();
        let (_, rest) = text.split_once("pid ").expect("an id");
        Pid::from_raw(rest.split_whitespace().next().unwrap().parse().unwrap()).unwrap()
    }

    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the terminal ends", || {
            status = self.script.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// What the terminal was told behind the last word of the table's own screen.
    fn afterwards(&self) -> String {
        let text = || String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned();
        // The end of the process is not the end of what it wrote.
        eventually("the cursor is shown again", || text().ends_with("\x1b[?25h") || text().contains("icanon"));
        let text = text();
        assert_eq!(text.matches("\x1b[?1049h").count(), text.matches("\x1b[?1049l").count(), "{text:?}");
        text.rsplit_once("\x1b[?1049l").unwrap().1.to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It fails where it has ended, which is what is wanted.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// The screen after these bytes: where the cursor goes, and the text; colours and modes do not matter here.
fn drawn(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut screen = vec![vec![' '; COLUMNS]; ROWS];
    let (mut row, mut column) = (0, 0);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' if characters.as_str().starts_with('[') => {
                let sequence: String = characters.by_ref().skip(1).take_while(|c| !c.is_ascii_alphabetic()).collect();
                let consumed = text.len() - characters.as_str().len();
                match text.as_bytes()[consumed - 1] {
                    b'H' => {
                        let mut numbers = sequence.split(';').map(|number| number.parse::<usize>().unwrap_or(1) - 1);
                        (row, column) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
                    }
                    b'J' => screen.iter_mut().for_each(|line| line.fill(' ')),
                    _ => {}
                }
            }
            character if character.is_control() => {}
            character => {
                if let Some(cell) = screen.get_mut(row).and_then(|line| line.get_mut(column)) {
                    *cell = character;
                }
                column += 1;
            }
        }
    }
    screen.into_iter().map(|line| line.into_iter().collect::<String>() + "\n").collect()
}

#[test]
fn it_follows_the_server_and_obeys_keys() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut alice = Client::connect(&server, "alice");
    let mut top = Terminal::start(&api, "", "; echo exit $?; stty -a");
    top.shows("alice");
    let bob = Client::connect(&server, "bob");
    top.shows("bob");
    top.shows("busiest: 2 of 2");
    top.press("/ali\r");
    top.until("alice alone", |screen| screen.contains("alice") && !screen.contains("bob"));
    top.press("/\x7f\x7f\x7fb\x7f\rs");
    top.shows("slowest: 2 of 2");
    top.press("/bob\r");
    top.until("bob alone", |screen| screen.contains("bob ") && !screen.contains("alice"));
    top.press("\r");
    top.shows("heartbeat.timeout_ms");
    drop(bob);
    top.shows("answered 404");
    top.press("\x1b");
    top.shows("slowest: 0 of 0");
    top.press("/\x7f\x7f\x7f\rp");
    top.shows("PAUSED");
    top.press("?");
    top.shows("how long ago it was heard");
    top.press("xq");
    assert_eq!(top.end().code(), Some(0));
    let afterwards = top.afterwards();
    assert!(
        afterwards.contains("exit 0") && afterwards.contains(" icanon") && afterwards.contains(" echo "),
        "{afterwards}"
    );
    assert_eq!(alice.ask(json!({ "type": "presence", "accounts": ["alice"] }))["type"], "presence");
}

#[test]
fn a_server_that_is_lost_is_said_so_over_what_was_last_known() {
    let server = serve(with_admin());
    let alice = Client::connect(&server, "alice");
    let mut top = Terminal::start(&Api::of(&server), "", "");
    top.shows("alice");
    drop(alice);
    server.shutdown(PATIENCE).unwrap();
    top.shows("cannot ask http://127.0.0.1:");
    top.press("\x03");
    assert_eq!(top.end().code(), Some(0));
    top.afterwards();
}

#[test]
fn every_signal_gives_the_terminal_back() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut top = Terminal::start(&api, "echo pid $$; exec", "");
        kill_process(top.pid(), signal).unwrap();
        assert_eq!(top.end().code(), Some(0), "{signal:?}");
        assert_eq!(top.afterwards(), "\x1b[?25h");
    }
}

#[test]
fn it_ends_with_its_terminal() {
    let server = serve(with_admin());
    let mut top = Terminal::start(&Api::of(&server), "echo pid $$; exec", "");
    let pid = top.pid();
    top.script.kill().unwrap();
    eventually("the end of a process that nobody sees any more", || {
        let state = fs::read_to_string(format!("/proc/{pid}/stat"));
        // Whoever is its parent now may not have looked yet.
        state.is_err() || state.is_ok_and(|state| state.contains(") Z "))
    });
}
