//! `heartwire listen`: prints what arrives, one line each, until a signal or a server that wants it no more.

use super::Failure;
use super::peer::{Peer, content_line, json_line, push_line};
use clap::Args;
use heartwire::Room;
use heartwire::client::{Client, Event};
use log::{info, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it looks whether a signal came.
const LOOK: Duration = Duration::from_millis(100);

/// The flags of `heartwire listen`.
#[derive(Args)]
pub(super) struct Flags {
    #[command(flatten)]
    peer: Peer,

    /// A room to enter; repeatable
    #[arg(long, value_name = "ROOM", value_delimiter = ',')]
    room: Vec<Room>,

    /// Print the content alone: a text as it is, anything else as JSON
    #[arg(long)]
    content: bool,
}

/// Listens until SIGINT or SIGTERM; a second one ends the process at once, also where nobody takes its output.
pub(super) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    super::log::init(super::log::Format::Text)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::Run(format!("signals: {error}")))?;
    }
    let client = flags.peer.connect()?;
    info!("listening as {}", flags.peer.account());
    for room in &flags.room {
        client.join(room).map_err(|error| Failure::Run(format!("room {room}: {error}")))?;
    }
    let ended = listen(&client, flags.content, &stop);
    client.close();
    ended
}

fn listen(client: &Client, content_only: bool, stop: &AtomicBool) -> Result<ExitCode, Failure> {
    while !stop.load(Ordering::Acquire) {
        let line = match client.recv_timeout(LOOK) {
            None => continue,
            Some(Event::Message(message)) if content_only => content_line(&message.content),
            Some(Event::Message(message)) => json_line(&message),
            Some(Event::Push { content, .. }) if content_only => content_line(&content),
            Some(Event::Push { kind, content }) => push_line(&kind, &content),
            Some(Event::Closed(reason)) => return Err(Failure::Run(reason.to_string())),
            Some(Event::Offline { reason, next_attempt }) => {
                warn!("{reason}; next attempt in {next_attempt:.1?}");
                continue;
            }
            Some(event) => {
                log::debug!("{event:?}");
                continue;
            }
        };
        match writeln!(io::stdout(), "{line}") {
            Ok(()) => {}
            // Whoever read it, `head` for example, has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(Failure::Run(format!("the output: {error}"))),
        }
    }
    Ok(ExitCode::SUCCESS)
}
