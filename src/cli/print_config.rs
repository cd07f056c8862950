//! `heartwire print-config`: every setting and where it comes from, as a file of settings that means the same.

use super::log::OneLine;
use super::settings::Settings;
use super::{Failure, print};
use clap::Arg;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::process::ExitCode;
use toml::Value;

/// The flags whose values nobody should see; but the word `none` is no secret.
const SECRETS: &[&str] = &["admin-key"];

/// The flags whose values are addresses, in which a password or a token may stand.
const ADDRESSES: &[&str] = &["auth-url", "webhook"];

/// Prints what `heartwire serve` with the same arguments would go by.
pub(super) fn run(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    print(text(&Settings::load(arguments)?).as_bytes())
}

/// A line for each flag, in the groups of the help.
pub(super) fn text(settings: &Settings) -> String {
    let (mut text, mut last_group) = (String::new(), None);
    let flags = settings.known.get_arguments().filter_map(|flag| Some((flag, flag.get_long()?)));
    for (flag, key) in flags.filter(|(_, key)| *key != "config") {
        let group = flag.get_help_heading().filter(|group| last_group != Some(*group));
        if let Some(group) = group {
            let gap = if text.is_empty() { "" } else { "\n" };
            // A string takes whatever is written to it.
            let _ = writeln!(text, "{gap}# {group}");
            last_group = Some(group);
        }
        let _ = writeln!(text, "{}", line(settings, flag, key));
    }
    text
}

fn line(settings: &Settings, flag: &Arg, key: &str) -> String {
    let origin = settings.origin(flag);
    let given: Option<Vec<&str>> = settings.values(flag).into_iter().map(OsStr::to_str).collect();
    let by = OneLine(&origin);
    let Some(given) = given else { return format!("# {key} is not UTF-8, set by {by}") };
    if given.iter().any(|value| is_secret(key, value)) {
        return format!("# {key} is secret, set by {by}");
    }
    let value = match (settings.switch(flag), given.as_slice()) {
        _ if flag.get_value_delimiter().is_some() => Value::Array(given.into_iter().map(Value::from).collect()),
        (Some(switch), _) => Value::Boolean(switch),
        (None, [value]) => scalar(value),
        (None, _) => return format!("# {key} is not set"),
    };
    format!("{key} = {value}  # {by}")
}

/// A number stays one where that writes it the same.
fn scalar(value: &str) -> Value {
    let number = value.parse().ok().filter(|number: &i64| number.to_string() == value);
    number.map_or_else(|| value.into(), Value::Integer)
}

fn is_secret(key: &str, value: &str) -> bool {
    SECRETS.contains(&key) && value != "none" || ADDRESSES.contains(&key) && value.contains(['@', '?'])
}
