//! `heartwire chat`: talk to accounts or in a room, from a terminal or line by line through a pipe.

use super::Failure;
use super::peer::{Peer, content, content_line};
use super::values::Time;
use clap::Args;
use heartwire::client::{Client, Event, SendError};
use heartwire::{Account, Presence, Room};
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often somebody who waits looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);

const HELP: &str = "\
/to ACCOUNT…    talk to these        /who [ACCOUNT…]  who of them is online
/room ROOM      talk in a room       /ping            the round trip to the server
/quit           leave                //…              a message that begins with a slash
An object or an array is sent as JSON, every other line as text.";

/// The flags of `heartwire chat`.
#[derive(Args)]
pub(super) struct Flags {
    #[command(flatten)]
    peer: Peer,

    /// Whom to talk to; repeatable
    #[arg(long, value_name = "ACCOUNT", value_delimiter = ',', required_unless_present = "room")]
    to: Vec<Account>,

    /// The room to talk in
    #[arg(long, value_name = "ROOM", conflicts_with = "to")]
    room: Option<Room>,

    /// In a pipe: how long to go on printing what arrives after the input has ended
    #[arg(long, value_name = "TIME", default_value_t = Time(Duration::ZERO))]
    wait: Time,
}

/// Talks until the input ends, or the server says not to come back.
pub(super) fn run(flags: Flags) -> Result<ExitCode, Failure> {
    let client = flags.peer.connect()?;
    let mut chat = Chat { client: &client, account: flags.peer.account().clone(), to: To::Accounts(flags.to) };
    if let Some(room) = flags.room {
        chat.enter(room).map_err(|error| Failure::Run(error.to_string()))?;
    }
    let ended = if io::stdin().is_terminal() && io::stdout().is_terminal() {
        chat.in_terminal()
    } else {
        chat.in_pipe(flags.wait.0)
    };
    client.close();
    ended
}

/// Whom it is talked to.
enum To {
    Accounts(Vec<Account>),
    Room(Room),
}

struct Chat<'a> {
    client: &'a Client,
    account: Account,
    to: To,
}

impl Chat<'_> {
    /// With a line editor: what arrives is printed above the line that is being written.
    fn in_terminal(&mut self) -> Result<ExitCode, Failure> {
        let broken = |error: ReadlineError| Failure::Run(format!("the terminal: {error}"));
        let mut editor = DefaultEditor::new().map_err(broken)?;
        let mut printer = editor.create_external_printer().map_err(broken)?;
        say(&format!("connected as {}; /help says what there is", shown(&self.account)));
        if let To::Accounts(accounts) = &self.to {
            // Who is online is good to know, not needed.
            let _ = self.client.watch(accounts).map(|presence| say(&presence_text(&presence)));
        }
        let (over, client) = (AtomicBool::new(false), self.client);
        thread::scope(|scope| {
            scope.spawn(|| {
                for_each_event(client, &over, |event| {
                    // A terminal that is gone ends the input, too.
                    let _ = printer.print(format!("{}\n", event_text(event)));
                });
            });
            let ended = self.read_terminal(&mut editor, &over).map_err(broken);
            over.store(true, Ordering::Release);
            // The printer may be waiting for the editor to take a line.
            drop(editor);
            ended
        })
    }

    fn read_terminal(&mut self, editor: &mut DefaultEditor, over: &AtomicBool) -> Result<ExitCode, ReadlineError> {
        while !over.load(Ordering::Acquire) {
            let line = match editor.readline(&self.prompt()) {
                Ok(line) => line,
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(ExitCode::SUCCESS),
                Err(error) => return Err(error),
            };
            // A history that takes no more lines is no reason to stop.
            let _ = editor.add_history_entry(&line);
            match self.act(&line) {
                Ok(None) => return Ok(ExitCode::SUCCESS),
                Ok(Some(note)) => say(&note),
                Err(error) => say(&format!("not sent: {}", shown(error))),
            }
        }
        Ok(ExitCode::FAILURE)
    }

    fn prompt(&self) -> String {
        match &self.to {
            To::Accounts(accounts) => format!("{} → {}> ", shown(&self.account), names(accounts)),
            To::Room(room) => format!("{} in {}> ", shown(&self.account), shown(room)),
        }
    }

    /// Does what a line of the terminal asks for; `None` for goodbye.
    fn act(&mut self, line: &str) -> Result<Option<String>, SendError> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let named: Vec<Account> = rest.split([' ', ',']).filter_map(|name| name.parse().ok()).collect();
        let note = match (word, &self.to) {
            ("", _) if rest.is_empty() => String::new(),
            ("/quit", _) => return Ok(None),
            ("/ping", _) => {
                let asked = Instant::now();
                self.client.presence(&[])?;
                format!("the server answered in {}", milliseconds(asked.elapsed()))
            }
            ("/who", To::Room(_)) if named.is_empty() => "name those whom you look for".into(),
            ("/who", To::Accounts(to)) if named.is_empty() => presence_text(&self.client.presence(to)?),
            ("/who", _) => presence_text(&self.client.presence(&named)?),
            ("/to", _) if !named.is_empty() => {
                let text = presence_text(&self.client.watch(&named)?);
                self.to = To::Accounts(named);
                text
            }
            ("/room", _) => match rest.trim().parse() {
                Ok(room) => {
                    self.enter(room)?;
                    String::new()
                }
                Err(error) => format!("{error}"),
            },
            (command, _) if command.starts_with('/') && !command.starts_with("//") => HELP.into(),
            _ => {
                let line = line.strip_prefix('/').unwrap_or(line);
                let sent = Instant::now();
                match self.send(line)? {
                    0 => "nobody is there".into(),
                    1 => format!("delivered to 1 connection in {}", milliseconds(sent.elapsed())),
                    n => format!("delivered to {n} connections in {}", milliseconds(sent.elapsed())),
                }
            }
        };
        Ok(Some(note))
    }

    /// One line in, one message out, and the other way round; what else there is to say goes to stderr.
    fn in_pipe(&self, wait: Duration) -> Result<ExitCode, Failure> {
        let (over, client) = (AtomicBool::new(false), self.client);
        thread::scope(|scope| {
            scope.spawn(|| for_each_event(client, &over, print_event));
            let all_arrived = self.read_pipe(&over);
            let input_ended = Instant::now();
            while input_ended.elapsed() < wait && !over.load(Ordering::Acquire) {
                thread::sleep(LOOK.min(wait.saturating_sub(input_ended.elapsed())));
            }
            let closed = over.swap(true, Ordering::AcqRel);
            let all_arrived = all_arrived.map_err(|error| Failure::Run(format!("the input: {error}")))?;
            Ok(if all_arrived && !closed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }

    /// Sends each line until it is over; says whether each reached somebody.
    fn read_pipe(&self, over: &AtomicBool) -> io::Result<bool> {
        let mut all_arrived = true;
        for line in io::stdin().lock().lines() {
            let line = line?;
            let problem = loop {
                match self.send(&line) {
                    Ok(0) => break Some("nobody is there".to_owned()),
                    Ok(_) => break None,
                    // Nothing was sent, so waiting for the connection to come back sends nothing twice.
                    Err(SendError::Offline) if !over.load(Ordering::Acquire) => thread::sleep(LOOK),
                    Err(error) => break Some(error.to_string()),
                }
            };
            if let Some(problem) = problem {
                complain(&format!("{}: {}", shown(&line), shown(problem)));
                all_arrived = false;
            }
            if over.load(Ordering::Acquire) {
                break;
            }
        }
        Ok(all_arrived)
    }

    fn enter(&mut self, room: Room) -> Result<(), SendError> {
        self.client.join(&room)?;
        self.to = To::Room(room);
        Ok(())
    }

    fn send(&self, line: &str) -> Result<u64, SendError> {
        match &self.to {
            To::Accounts(accounts) => self.client.send(accounts, &content(line)),
            To::Room(room) => self.client.send_to_room(room, &content(line)),
        }
    }
}

/// Passes on events until it is over: because somebody says so, or because there is no way back to the server.
fn for_each_event(client: &Client, over: &AtomicBool, mut act: impl FnMut(&Event)) {
    while !over.load(Ordering::Acquire) {
        let Some(event) = client.recv_timeout(LOOK) else { continue };
        act(&event);
        if matches!(event, Event::Closed(_)) {
            over.store(true, Ordering::Release);
        }
    }
}

fn print_event(event: &Event) {
    match event {
        Event::Message(message) => say(&content_line(&message.content)),
        Event::Push { content, .. } => say(&content_line(content)),
        Event::Online { .. } => {}
        event => complain(&event_text(event)),
    }
}

fn event_text(event: &Event) -> String {
    match event {
        Event::Message(message) => {
            let (from, text) = (shown(&message.from), shown(content_line(&message.content)));
            match &message.room {
                Some(room) => format!("{from} in {}: {text}", shown(room)),
                None => format!("{from}: {text}"),
            }
        }
        Event::Presence(presence) => presence_text(presence),
        Event::Push { kind, content } => format!("* {}: {}", shown(kind), shown(content_line(content))),
        Event::Refused { code, message } => format!("* refused with {code}: {}", shown(message)),
        Event::Online { .. } => "* connected".into(),
        Event::Offline { reason, next_attempt } => {
            format!("* {}; next attempt in {}", shown(reason), milliseconds(*next_attempt))
        }
        Event::Closed(reason) => format!("* {}; that is for good: press Enter to leave", shown(reason)),
        other => format!("* {}", shown(format!("{other:?}"))),
    }
}

fn presence_text(presence: &[Presence]) -> String {
    let one = |presence: &Presence| match presence.connections {
        _ if !presence.online => format!("* {} is offline", shown(&presence.account)),
        0 | 1 => format!("* {} is online", shown(&presence.account)),
        n => format!("* {} is online, {n} times", shown(&presence.account)),
    };
    presence.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn names(accounts: &[Account]) -> String {
    accounts.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// Others' text for a terminal, which would obey its escape codes.
fn shown(text: impl Display) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.to_string().chars().map(escaped).collect()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

fn say(text: &str) {
    if !text.is_empty() {
        // Who reads it no longer has no use for the rest.
        let _ = writeln!(io::stdout(), "{text}");
    }
}

fn complain(text: &str) {
    // Nobody is left to be told.
    let _ = writeln!(io::stderr(), "{text}");
}
