//! What the subcommands that connect to a server have in common: where to, as whom, and how what arrives is written.

use super::Failure;
use clap::Args;
use heartwire::Account;
use heartwire::client::{Client, Incoming, Options};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// Where to connect, and as whom.
#[derive(Args)]
pub(super) struct Peer {
    /// The account to be
    #[arg(long = "as", env = "HEARTWIRE_AS", value_name = "ACCOUNT")]
    account: Account,

    /// A bearer token, where the server asks for one
    #[arg(long, env = "HEARTWIRE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// A label for this connection
    #[arg(long, env = "HEARTWIRE_DEVICE", value_name = "LABEL", default_value = "")]
    device: String,

    /// The server's endpoint
    #[arg(env = "HEARTWIRE_URL", value_name = "URL", default_value = "ws://127.0.0.1:8080/ws")]
    url: String,
}

impl Peer {
    /// The account to be.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Connects; the first attempt is the only one.
    pub(super) fn connect(&self) -> Result<Client, Failure> {
        let mut options = Options::default();
        options.token.clone_from(&self.token);
        options.device.clone_from(&self.device);
        Client::connect(&self.url, &self.account, options)
            .map_err(|outage| Failure::Run(format!("cannot connect to {}: {outage}", without_query(&self.url))))
    }
}

/// What of an address can be shown: there may be a token in its query.
fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(endpoint, _)| endpoint)
}

/// A message as one line of JSON.
pub(super) fn json_line(message: &Incoming) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        id: &'a str,
        from: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        time: u64,
        content: &'a RawValue,
    }
    let Incoming { id, from, room, time_ms, content, .. } = message;
    let (from, room) = (from.as_str(), room.as_ref().map(heartwire::Room::as_str));
    let line = RawValue::from_string(content.clone())
        .and_then(|content| serde_json::to_string(&Line { id, from, room, time: *time_ms, content: &content }));
    // What the server passes on is JSON.
    one_line(&line.unwrap_or_default())
}

/// A message's content alone: a text as it is, anything else as JSON, and in any case one line.
pub(super) fn content_line(content: &str) -> String {
    let text: Option<String> = serde_json::from_str(content).ok();
    // A text with line breaks or escape codes stays quoted, so that it is still one line, and nothing else.
    match text.filter(|text| !text.chars().any(char::is_control)) {
        Some(text) => text,
        None => one_line(content),
    }
}

/// JSON on one line, and nothing that drives a terminal: line breaks and tabs can only stand between its tokens, all other
/// control characters that JSON permits (DEL, C1) only in its texts.
pub(super) fn one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\r' | '\n' => line.push(' '),
            '\t' => line.push('\t'),
            control if control.is_control() => line.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => line.push(other),
        }
    }
    line
}

/// What a line of input means as content: an object or an array is JSON, everything else is text.
pub(super) fn content(line: &str) -> Box<RawValue> {
    let json = line.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(line).ok()).flatten();
    // A text can always be written as JSON.
    json.or_else(|| to_raw_value(line).ok()).unwrap_or_default()
}

/// A push as one line of JSON.
pub(super) fn push_line(kind: &str, content: &str) -> String {
    let kind = serde_json::to_string(kind).unwrap_or_default();
    one_line(&format!("{{\"type\":{kind},\"content\":{content}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_means_json_where_it_is_an_object_or_an_array() {
        for (line, json) in [
            (r#"{"a": 1.50}"#, r#"{"a": 1.50}"#),
            (" [1]", "[1]"),
            ("[1", r#""[1""#),
            ("17", r#""17""#),
            ("say \"hi\"", r#""say \"hi\"""#),
            ("", r#""""#),
        ] {
            assert_eq!(content(line).get(), json, "{line}");
        }
    }

    #[test]
    fn content_is_one_line_whatever_it_is() {
        assert_eq!(content_line(r#""hello""#), "hello");
        assert_eq!(content_line(r#""two\nlines""#), r#""two\nlines""#);
        assert_eq!(content_line("\"\\u001b[31m\""), "\"\\u001b[31m\"");
        assert_eq!(content_line("{\"a\":\r\n1}"), "{\"a\":  1}");
        assert_eq!(content_line("\"a\u{9b}31m\u{7f}\""), r#""a\u009b31m\u007f""#, "CSI in one character");
        assert_eq!(content_line("{\"\u{9b}\":\t1}"), "{\"\\u009b\":\t1}");
    }

    #[test]
    fn no_token_in_an_address_is_shown() {
        assert_eq!(without_query("ws://host/ws?token=secret"), "ws://host/ws");
        assert_eq!(without_query("ws://host/ws"), "ws://host/ws");
    }

    #[test]
    fn a_push_is_one_object() {
        assert_eq!(push_line("a\"b", "[1,\n2]"), r#"{"type":"a\"b","content":[1, 2]}"#);
    }
}
