//! `heartwire push`: one message through a running server, to accounts, to rooms or to everybody.

use super::Failure;
use super::admin_client::Server;
use clap::Args;
use heartwire::{Account, Room};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// The flags of `heartwire push`.
#[derive(Args)]
pub(super) struct Flags {
    #[command(flatten)]
    target: Target,

    /// The message's type, which its recipients know it by
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,

    /// The message's content as JSON, or - to read it from the input; a text is written as '"hello"'
    #[arg(value_name = "CONTENT", default_value = "null")]
    content: String,

    /// A name for this push: however often it is repeated within ten minutes, it is pushed once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    #[command(flatten)]
    server: Server,
}

/// To whom.
#[derive(Args, Serialize)]
#[group(required = true, multiple = false)]
struct Target {
    /// An account to push to; repeatable
    #[arg(long, value_name = "ACCOUNT", value_delimiter = ',')]
    #[serde(rename = "accounts", skip_serializing_if = "Vec::is_empty", serialize_with = "texts")]
    to: Vec<Account>,

    /// A room whose members to push to; repeatable
    #[arg(long, value_name = "ROOM", value_delimiter = ',')]
    #[serde(rename = "rooms", skip_serializing_if = "Vec::is_empty", serialize_with = "texts")]
    room: Vec<Room>,

    /// Push to every connection
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    all: bool,
}

fn texts<T: ToString, S: serde::Serializer>(names: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(ToString::to_string))
}

/// Pushes, and prints the answer. The exit code says whether anybody was reached.
pub(super) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let body = body(&flags.target, &flags.kind, &content(&flags.content)?)?;
    let key = flags.idempotency_key.as_deref().map(|key| ("Idempotency-Key", key));
    let answer = flags.server.post("/v1/push", key.as_slice(), &body)?;
    writeln!(io::stdout(), "{answer}").map_err(|error| Failure::Run(format!("the output: {error}")))?;
    Ok(if reached(&answer)? == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn body(target: &Target, kind: &str, content: &RawValue) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Message<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        content: &'a RawValue,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(flatten)]
        target: &'a Target,
        message: Message<'a>,
    }
    let body = Body { target, message: Message { kind, content } };
    serde_json::to_string(&body).map_err(|error| Failure::Run(error.to_string()))
}

/// The content as it was written, or as the input has it.
fn content(argument: &str) -> Result<Box<RawValue>, Failure> {
    let text = match argument {
        "-" => {
            let mut input = String::new();
            io::stdin().read_to_string(&mut input).map_err(|error| Failure::Run(format!("the input: {error}")))?;
            input
        }
        text => text.to_owned(),
    };
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("the content is no JSON ({error}); a text is written as '\"hello\"'")))
}

fn reached(answer: &str) -> Result<usize, Failure> {
    #[derive(Deserialize)]
    struct Reach {
        connections: usize,
    }
    let reach: Result<Reach, _> = serde_json::from_str(answer);
    reach.map(|reach| reach.connections).map_err(|_| Failure::Run("this is no answer of a heartwire server".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn flags(arguments: &[&str]) -> Result<Flags, clap::Error> {
        let command = Flags::augment_args(Command::new("push").no_binary_name(true));
        Flags::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    fn body_of(arguments: &[&str]) -> String {
        let flags = flags(&[arguments, &["--type", "notice"]].concat()).unwrap();
        body(&flags.target, &flags.kind, &content(&flags.content).unwrap()).unwrap()
    }

    #[test]
    fn the_flags_are_the_body() {
        let message = r#""message":{"type":"notice","content":{"a": 1.50}}"#;
        let content = r#"{"a": 1.50}"#;
        assert_eq!(
            body_of(&["--to", "a,b", "--to", "c", content]),
            format!(r#"{{"accounts":["a","b","c"],{message}}}"#)
        );
        assert_eq!(body_of(&["--room", "\"", content]), format!(r#"{{"rooms":["\""],{message}}}"#));
        assert_eq!(body_of(&["--all"]), r#"{"all":true,"message":{"type":"notice","content":null}}"#);
    }

    #[test]
    fn one_target_is_needed_and_no_more() {
        for arguments in [&[][..], &["--to", "a", "--all"], &["--to", "a", "--room", "b"], &["--to", ""]] {
            assert!(flags(&[arguments, &["--type", "notice"]].concat()).is_err(), "{arguments:?}");
        }
        assert!(flags(&["--all"]).is_err(), "nor is there a type by itself");
    }

    #[test]
    fn what_is_no_json_is_told_how_a_text_is_written() {
        for text in ["hello", "", "{", "'x'", "1 2"] {
            let Err(Failure::Usage(message)) = content(text) else { panic!("{text} passed") };
            assert!(message.contains("'\"hello\"'"), "{message}");
        }
    }

    #[test]
    fn an_answer_says_how_many_were_reached() {
        assert_eq!(reached(r#"{"accounts":1,"connections":3,"missing":[]}"#).unwrap(), 3);
        assert!(reached("<html>").is_err());
    }
}
