//! The log of the binary: one line an event on stderr, whatever a record or a panic message holds.

use super::Failure;
use super::values::Words;
use env_logger::{Builder, Env, WriteStyle};
use log::{LevelFilter, Record, error};
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};

/// What is logged where `RUST_LOG` says nothing.
const DEFAULT_FILTER: &str = "info";

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `2026-01-02T03:04:05.678Z INFO  heartwire::listener message`
    Text,
    /// `{"time":"…","level":"INFO","target":"heartwire::listener","message":"…"}`
    Json,
}

/// The words for a format.
pub(super) const FORMATS: Words<Format> = &[("text", Format::Text), ("json", Format::Json)];

/// Starts the log and sends the messages of panics there. `RUST_LOG` chooses what is logged.
pub(super) fn init(format: Format) -> Result<(), Failure> {
    let mut builder = Builder::from_env(Env::default().default_filter_or(DEFAULT_FILTER));
    // Further down they repeat what clients write, tokens included, and the back end's URL, whatever `RUST_LOG` asks of
    // all modules.
    builder.filter_module("tungstenite", LevelFilter::Warn).filter_module("ureq", LevelFilter::Warn);
    // It repeats each failure that our own log tells of, without our bound.
    builder.filter_module("rustls_platform_verifier", LevelFilter::Off);
    builder.write_style(WriteStyle::Never).format(move |out, record| {
        let time = out.timestamp_millis();
        write_line(out, format, &time, record)
    });
    builder.try_init().map_err(|error| Failure::Run(error.to_string()))?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn write_line(out: &mut impl Write, format: Format, time: &impl fmt::Display, record: &Record<'_>) -> io::Result<()> {
    let (level, target) = (record.level(), record.target());
    match format {
        Format::Text => writeln!(out, "{time} {level:<5} {target} {}", OneLine(record.args())),
        Format::Json => {
            let line = JsonLine { time: time.to_string(), level: level.as_str(), target, message: *record.args() };
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        }
    }
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    level: &'a str,
    target: &'a str,
    message: fmt::Arguments<'a>,
}

/// Escapes whatever would end the line, drive the terminal, or change how what stands around it is read.
pub(super) struct OneLine<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<W>(W);

impl<W: fmt::Write> fmt::Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            // Quotes and backslashes do none of this; everything else is for std's table of what can be printed.
            match matches!(character, '"' | '\'' | '\\') {
                true => self.0.write_char(character)?,
                false => write!(self.0, "{}", character.escape_debug())?,
            }
        }
        Ok(())
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let message = info.payload_as_str().unwrap_or("a value that is not text");
    error!(target: "heartwire::panic", "thread {name} panicked at {place}: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    fn line(format: Format, message: &str) -> String {
        let mut out = Vec::new();
        let args = format_args!("{message}");
        let record = Record::builder().level(Level::Info).target("heartwire::listener").args(args).build();
        write_line(&mut out, format, &"2026-01-02T03:04:05.678Z", &record).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_text_line_has_time_level_target_and_message() {
        let expected = "2026-01-02T03:04:05.678Z INFO  heartwire::listener it's \"up\" äöü\n";
        assert_eq!(line(Format::Text, "it's \"up\" äöü"), expected);
    }

    #[test]
    fn a_json_line_is_one_object() {
        let expected = concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","level":"INFO","target":"heartwire::listener","#,
            r#""message":"it's \"up\"\nagain"}"#,
            "\n"
        );
        assert_eq!(line(Format::Json, "it's \"up\"\nagain"), expected);
    }

    #[test]
    fn no_message_makes_a_second_line() {
        let text = line(Format::Text, "a\r\nb\u{1b}[31m\u{2028}\u{85}\u{202e}");
        assert!(text.ends_with("a\\r\\nb\\u{1b}[31m\\u{2028}\\u{85}\\u{202e}\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(line(Format::Json, "a\r\nb").lines().count(), 1);
    }
}
