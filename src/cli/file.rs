//! The file of settings: flat TOML whose keys are the flags' names, turned into the arguments that mean the same.

use super::{Failure, one_line};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use toml::de::{DeInteger, DeTable, DeValue};

/// Far more than all settings need.
const MAX_BYTES: u64 = 1 << 20;

/// The flag that names the file, which cannot be a key of it.
const OWN_FLAG: &str = "config";

/// A file whose every key is a flag with a value that this flag takes.
pub(super) struct Settings {
    entries: Vec<Entry>,
}

/// A key and the arguments that mean the same.
pub(super) struct Entry {
    /// The flag's name without its dashes.
    pub(super) key: String,
    pub(super) arguments: Vec<OsString>,
}

impl Settings {
    /// Reads a file of the flags of `serve`, a command that has been built.
    ///
    /// # Errors
    /// What is wrong first, with the file's name and where in it.
    pub(super) fn read(path: &Path, serve: &Command) -> Result<Self, Failure> {
        let text =
            read_text(path).map_err(|error: io::Error| Failure::Usage(format!("{}: {error}", path.display())))?;
        Self::parse(path, &text, serve)
    }

    /// The same with the text of the file.
    pub(super) fn parse(path: &Path, text: &str, serve: &Command) -> Result<Self, Failure> {
        let at = |place: Range<usize>, why: String| {
            let (line, column) = position(text, place.start);
            Failure::Usage(format!("{}:{line}:{column}: {why}", path.display()))
        };
        let table =
            DeTable::parse(text).map_err(|error| at(error.span().unwrap_or_default(), error.message().into()))?;
        let mut pairs: Vec<_> = table.get_ref().iter().collect();
        // Of several mistakes the first is told.
        pairs.sort_by_key(|(key, _)| key.span().start);
        let alone = serve.clone().mut_args(|arg| arg.env(None::<&str>));
        let entries = pairs
            .into_iter()
            .map(|(key, value)| Entry::new(&alone, key.get_ref(), value.get_ref()).map_err(|why| at(key.span(), why)));
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }

    /// All keys, in the order of the file.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Entry {
    /// `alone` is the command without its environment.
    fn new(alone: &Command, key: &str, value: &DeValue<'_>) -> Result<Self, String> {
        let flag = alone.get_arguments().find(|flag| flag.get_long() == Some(key) && key != OWN_FLAG);
        let flag = flag.ok_or_else(|| unknown(alone, key))?;
        let arguments = values(flag, value)?.into_iter().map(|value| format!("--{key}={value}").into()).collect();
        let entry = Self { key: key.to_owned(), arguments };
        let words = [alone.get_name().into()].into_iter().chain(entry.arguments.iter().cloned());
        match alone.clone().try_get_matches_from(words) {
            Ok(_) => Ok(entry),
            Err(error) => Err(one_line(&error)),
        }
    }
}

/// The text of a regular file: reading anything else might never end, or find nothing when it is read again.
fn read_text(path: &Path) -> io::Result<String> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    if !fs::metadata(path)?.is_file() {
        return Err(invalid("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(invalid("it has more than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))
}

/// Line and column of a byte, both from 1 and the column in characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Why a key is none, with the one that was probably meant.
fn unknown(alone: &Command, key: &str) -> String {
    let asked = alone.clone().try_get_matches_from([alone.get_name(), &format!("--{key}")]).err();
    let similar = asked.as_ref().and_then(|error| match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(flag)) => flag.strip_prefix("--").filter(|flag| *flag != OWN_FLAG),
        _ => None,
    });
    match similar {
        Some(similar) => format!("unknown key {key:?}; a similar one is {similar:?}"),
        None => format!("unknown key {key:?}"),
    }
}

/// A value as the words that a flag takes: one, or one for each element of an array.
fn values(flag: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let name = flag.get_long().unwrap_or_default();
    let DeValue::Array(elements) = value else { return Ok(vec![word(name, value)?]) };
    if flag.get_value_delimiter().is_none() {
        return Err(format!("{name} takes one value, not an array"));
    }
    if elements.is_empty() && !flag.get_default_values().is_empty() {
        return Err(format!("{name} needs at least one value"));
    }
    elements.iter().map(|element| word(name, element.get_ref())).collect()
}

fn word(name: &str, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        DeValue::Integer(number) => integer(number).ok_or_else(|| format!("{name}: {number} is too large")),
        other => {
            Err(format!("{name} takes text, a whole number, true or false, and this is of type {}", other.type_str()))
        }
    }
}

fn integer(number: &DeInteger<'_>) -> Option<String> {
    i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
}
