//! `heartwire top`: the busiest or the slowest connections of a running server, live in a terminal or once as text.

mod answer;
mod screen;
mod state;
mod table;

use super::admin_client::Server;
use super::values::{Time, one_of};
use super::{Failure, print};
use answer::{Answer, Listing, Question, SORTS, Sort};
use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::terminal::{disable_raw_mode, size};
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use state::{Next, State};
use std::io::{self, IsTerminal};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often it looks for answers and signals while no key is pressed.
const LOOK: Duration = Duration::from_millis(100);
/// How long after a signal the terminal is waited for; many times [`LOOK`].
const GRACE: Duration = Duration::from_secs(1);
/// A server has better things to do than to be asked more often.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The flags of `heartwire top`.
#[derive(Args)]
pub(super) struct Flags {
    /// Which connections come first
    #[arg(long, value_name = "busiest|slowest|oldest", value_parser = one_of(SORTS), default_value = "busiest")]
    sort: Sort,

    /// How many to show, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,

    /// Only those with this text in account, device, address or id
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    search: String,

    /// How often to ask
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Time,

    /// Print the table once as plain text, also to a terminal
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    server: Server,
}

fn interval(text: &str) -> Result<Time, String> {
    let time: Time = text.parse().map_err(|error: humantime::DurationError| error.to_string())?;
    let enough = time.0 >= MIN_INTERVAL;
    enough.then_some(time).ok_or_else(|| format!("it must be at least {}", Time(MIN_INTERVAL)))
}

/// Shows the table until a key or a signal ends it. A server that cannot be asked in the beginning is an error; one that
/// cannot be asked any more is said so, and asked again.
pub(super) fn run(flags: Flags) -> Result<ExitCode, Failure> {
    let listing = Listing { sort: flags.sort, limit: flags.limit, search: flags.search };
    let first = answer::list(&flags.server, &listing)?;
    let is_terminal = io::stdout().is_terminal();
    if flags.once || !is_terminal {
        let width = size().ok().filter(|_| is_terminal).map(|(width, _)| usize::from(width));
        return print(plain(&first, width).as_bytes());
    }
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let state = State::new(flags.server.address(), listing, flags.interval.0, colour, first);
    let stop = Arc::new(AtomicBool::new(false));
    end_at_signals(Arc::clone(&stop)).map_err(|error| Failure::Run(format!("signals: {error}")))?;
    let asking = ask_in_background(flags.server).map_err(|error| Failure::Run(format!("a thread: {error}")))?;
    show(state, &asking, &stop).map_err(|error| Failure::Run(format!("the terminal: {error}")))
}

/// The totals and the table as text, for a terminal of this width or with all there is.
fn plain(answer: &Answer, width: Option<usize>) -> String {
    let totals = screen::summary(answer, None).join("  ");
    format!("{totals}\n\n{}", answer.table.plain(width))
}

/// Asks, draws and obeys keys, in this thread alone.
fn show(mut state: State, asking: &Asking, stop: &AtomicBool) -> io::Result<ExitCode> {
    let mut screen = Screen::enter()?;
    while !stop.load(Ordering::Acquire) {
        match asking.answers.try_recv() {
            Ok((question, reply)) => state.take(&question, reply),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(io::Error::other("nobody asks the server any more")),
        }
        if let Some(question) = state.due(Instant::now()) {
            // There is room: the last question was answered. Where nobody asks any more, there are no answers, either.
            let _ = asking.questions.send(question);
        }
        screen.0.draw(|frame| screen::draw(frame, &state, Instant::now()))?;
        // The terminal's size is looked at whenever something is drawn, so its other events are news of nothing.
        let Some(Event::Key(key)) = event::poll(LOOK)?.then(event::read).transpose()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match state.key(key, Instant::now(), screen::rows(screen.0.size()?.height)) {
            Next::Stay => {}
            Next::Quit => break,
            Next::Suspend => {
                drop(screen);
                kill_process(getpid(), Signal::TSTP)?;
                screen = Screen::enter()?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The terminal while it belongs to the table. What was on it comes back with the drop; in a panic ratatui's hook does the
/// same, before the message.
struct Screen(DefaultTerminal);

impl Screen {
    fn enter() -> io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| _ = ratatui::try_restore())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if ratatui::try_restore().is_err() {
            // The terminal is gone: nobody is left to be told, and whatever tries panics.
            process::exit(1);
        }
    }
}

/// The thread that asks, from outside: one question, one answer.
struct Asking {
    questions: SyncSender<Question>,
    answers: Receiver<(Question, Result<answer::Reply, String>)>,
}

/// A server may take its time; keys must not.
fn ask_in_background(server: Server) -> io::Result<Asking> {
    let (questions, to_ask) = sync_channel(1);
    let (replies, answers) = sync_channel(1);
    thread::Builder::new().name("asking".into()).spawn(move || {
        while let Ok(question) = to_ask.recv() {
            let reply = answer::ask(&server, &question).map_err(|failure| match failure {
                Failure::Run(message) | Failure::Usage(message) => message,
            });
            if replies.send((question, reply)).is_err() {
                break;
            }
        }
    })?;
    Ok(Asking { questions, answers })
}

/// Ends the loop of [`show`] at the first signal. Where that does not come to its end, because the terminal takes nothing
/// or because it is gone, and then crossterm reads from it for ever, the process ends without it.
fn end_at_signals(stop: Arc<AtomicBool>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        stop.store(true, Ordering::Release);
        thread::sleep(GRACE);
        // The rest would have to be written.
        let _ = disable_raw_mode();
        process::exit(128 + signal);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
