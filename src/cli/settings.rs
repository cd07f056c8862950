//! All settings of `serve`, and where each of them comes from: the command line, else the environment, else the file of
//! settings, else nowhere.

use super::flags::Flags;
use super::setup::Setup;
use super::{Failure, command, file, one_line, wrong_use};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// What the command line, the environment and the file say together.
#[derive(Clone)]
pub(super) struct Settings {
    /// The subcommand's flags as clap knows them, in the order of the help.
    pub(super) known: Command,
    matches: ArgMatches,
    /// The first reading, without the file.
    given: ArgMatches,
    file: Option<PathBuf>,
    of_the_file: BTreeSet<String>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    CommandLine,
    Environment(String),
    File(PathBuf),
    Default,
}

impl Settings {
    /// Reads the file that these arguments or the environment name, if they do. The arguments are those of the process,
    /// and those of a subcommand that takes the flags of `serve`.
    ///
    /// # Errors
    /// What is wrong, in one line; the name of the file is in front if it is the file that is.
    pub(super) fn load(arguments: &[OsString]) -> Result<Self, Failure> {
        Self::load_by(arguments, file::Settings::read)
    }

    /// The same with another way to read the file.
    pub(super) fn load_by(
        arguments: &[OsString],
        read: impl FnOnce(&Path, &Command) -> Result<file::Settings, Failure>,
    ) -> Result<Self, Failure> {
        let usage = |error: clap::Error| Failure::Usage(wrong_use(&error, arguments));
        let (name, given) = parse(arguments).map_err(usage)?;
        let all = command();
        let known = all.find_subcommand(&name).cloned().unwrap_or_default();
        let Some(path) = flags(&given)?.config_file().map(PathBuf::from) else {
            return Ok(Self { known, matches: given.clone(), given, file: None, of_the_file: BTreeSet::new() });
        };
        let settings = read(&path, &known)?;
        let used: Vec<_> = settings.entries().iter().filter(|entry| is_free(&known, &given, &entry.key)).collect();
        let from_file = used.iter().flat_map(|entry| entry.arguments.iter());
        let (command_name, own) = arguments.split_at(2.min(arguments.len()));
        let together: Vec<_> = command_name.iter().chain(from_file).chain(own).cloned().collect();
        let (_, matches) =
            parse(&together).map_err(|error| Failure::Usage(format!("{}: {}", path.display(), one_line(&error))))?;
        let of_the_file = used.iter().map(|entry| entry.key.clone()).collect();
        Ok(Self { known, matches, given, file: Some(path), of_the_file })
    }

    /// The flags, as if all had been given on the command line.
    pub(super) fn flags(&self) -> Result<Flags, Failure> {
        flags(&self.matches)
    }

    /// What the flags describe.
    pub(super) fn setup(&self) -> Result<Setup, Failure> {
        self.flags()?.into_setup()
    }

    /// The file that was read.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// The values of a flag as they were written, or as they are by default; several only where it is repeatable.
    pub(super) fn values(&self, flag: &Arg) -> Vec<&OsStr> {
        self.matches.get_raw(flag.get_id().as_str()).into_iter().flatten().collect()
    }

    /// The value of a flag that is a switch.
    pub(super) fn switch(&self, flag: &Arg) -> Option<bool> {
        self.matches.try_get_one(flag.get_id().as_str()).ok().flatten().copied()
    }

    /// Where the value of a flag comes from.
    pub(super) fn origin(&self, flag: &Arg) -> Origin {
        let source = self.given.value_source(flag.get_id().as_str());
        let in_file = flag.get_long().is_some_and(|key| self.of_the_file.contains(key));
        match (source, flag.get_env(), &self.file) {
            (Some(ValueSource::CommandLine), ..) => Origin::CommandLine,
            (Some(ValueSource::EnvVariable), Some(name), _) => Origin::Environment(name.display().to_string()),
            (_, _, Some(path)) if in_file => Origin::File(path.clone()),
            _ => Origin::Default,
        }
    }

    /// The names of the flags that have other values in `new`.
    pub(super) fn changed_in(&self, new: &Self) -> Vec<String> {
        let differing = self.known.get_arguments().filter(|flag| self.values(flag) != new.values(flag));
        differing.filter_map(|flag| flag.get_long().map(str::to_owned)).collect()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The subcommand and what it was given.
fn parse(arguments: &[OsString]) -> Result<(String, ArgMatches), clap::Error> {
    let mut matches = command().try_get_matches_from(arguments)?;
    Ok(matches.remove_subcommand().unwrap_or_default())
}

fn flags(matches: &ArgMatches) -> Result<Flags, Failure> {
    Flags::from_arg_matches(matches).map_err(|error| Failure::Usage(one_line(&error)))
}

/// Whether neither the command line nor the environment has given this flag, or another one that excludes it.
fn is_free(known: &Command, given: &ArgMatches, key: &str) -> bool {
    let is_given = |flag: &Arg| {
        let source = given.value_source(flag.get_id().as_str());
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    let is_key = |flag: &&Arg| flag.get_long() == Some(key);
    let excludes = |flag: &Arg, other: &Arg| known.get_arg_conflicts_with(flag).contains(&other);
    let Some(own) = known.get_arguments().find(is_key) else { return false };
    known
        .get_arguments()
        .filter(|flag| is_given(flag))
        .all(|flag| flag != own && !excludes(flag, own) && !excludes(own, flag))
}

#[cfg(test)]
mod tests;
