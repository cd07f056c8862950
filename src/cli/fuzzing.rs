//! What must hold whatever stands in a file of settings, as a function of arbitrary bytes. The fuzzer of `fuzz/` calls it,
//! and so does the test, with the inputs that are kept there. A property that does not hold is a panic.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a panic is how a property says no")]

use super::settings::Settings;
use super::setup::{Authentication, Setup};
use super::{Failure, command, file, print_config};
use heartwire::{Config, Handler, Server};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

const FILE: &str = "settings.toml";
/// What stands between two files of one input.
const BETWEEN: &str = "\n---\n";

/// A file of settings, and perhaps behind it another one, which takes its place while the server runs.
pub(crate) fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (first, second) = text.split_once(BETWEEN).unwrap_or((text, ""));
    let Some(running) = accepted(first) else { return };
    let Some(wanted) = accepted(second) else { return };
    reload(&running, &wanted);
}

/// What a file says, if it can be understood, together with what it makes of the server.
fn accepted(text: &str) -> Option<(Settings, Config)> {
    let settings = match load(text) {
        Ok(settings) => settings,
        Err(failure) => {
            assert_told(&failure, text);
            return None;
        }
    };
    assert_printed_is_the_same(&settings);
    if !names_addresses_only(&settings) {
        return None;
    }
    let Setup { config, authentication, .. } = settings.setup().inspect_err(assert_one_line).ok()?;
    let authenticates = Guard(!matches!(authentication, Authentication::None));
    let checked = Server::check(&config, &authenticates).map_err(|error| Failure::Usage(error.to_string()));
    checked.inspect_err(assert_one_line).ok()?;
    Some((settings, config))
}

fn load(text: &str) -> Result<Settings, Failure> {
    let arguments = ["heartwire", "serve", "--config", FILE].map(OsString::from);
    Settings::load_by(&arguments, |path, serve| file::Settings::parse(path, text, serve))
}

/// The file is named, and the place in it where it is a place that is wrong, not two keys together.
fn assert_told(failure: &Failure, text: &str) {
    assert_one_line(failure);
    let (Failure::Usage(why) | Failure::Run(why)) = failure;
    let rest = why.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':')).unwrap_or_else(|| panic!("{why}"));
    let serve = command().find_subcommand("serve").cloned().unwrap();
    if file::Settings::parse(Path::new(FILE), text, &serve).is_err() {
        let mut parts = rest.splitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok()).unwrap_or_else(|| panic!("{why}"));
        let (line, column) = (number(), number());
        let found = text.split('\n').nth(line - 1).unwrap_or_else(|| panic!("there is no line {line}: {why}"));
        assert!((1..=found.chars().count() + 1).contains(&column), "there is no column {column}: {why}");
        assert!(parts.next().is_some_and(|what| what.len() > 1), "{why}");
    }
}

fn assert_one_line(failure: &Failure) {
    let (Failure::Usage(why) | Failure::Run(why)) = failure;
    assert!(!why.is_empty() && why.lines().count() == 1, "{why:?}");
}

/// What `print-config` prints says the same, but for secrets, which it does not print.
fn assert_printed_is_the_same(settings: &Settings) {
    let printed = print_config::text(settings);
    let again = load(&printed).unwrap_or_else(|failure| panic!("{failure:?} of {printed}"));
    for flag in settings.known.get_arguments() {
        // A switch has several words for the same.
        let is_same = settings.switch(flag) == again.switch(flag)
            && (settings.switch(flag).is_some() || settings.values(flag) == again.values(flag));
        let key = flag.get_long().unwrap_or_default();
        assert!(is_same || key == "config" || printed.contains(&format!("# {key} is secret")), "{key} in {printed}");
    }
}

/// Names would be looked up.
fn names_addresses_only(settings: &Settings) -> bool {
    let listening =
        settings.known.get_arguments().filter(|flag| flag.get_long().is_some_and(|key| key.ends_with("listen")));
    let mut values = listening.flat_map(|flag| settings.values(flag)).filter_map(|value| value.to_str());
    values.all(|value| value.parse::<SocketAddr>().is_ok() || !value.contains(':') || value.starts_with(':'))
}

/// What a running server keeps is what differs, and is named as the flags are.
fn reload((first, running): &(Settings, Config), (second, wanted): &(Settings, Config)) {
    #[cfg(heartwire_fuzzing)]
    {
        let differing = first.changed_in(second);
        for flag in heartwire::fuzzing::reload(running, wanted) {
            assert!(differing.iter().any(|known| known == flag), "{flag} is not among {differing:?}");
        }
    }
    // The library has its part of this only where it is fuzzed itself.
    #[cfg(not(heartwire_fuzzing))]
    let _ = (first, running, second, wanted);
}

/// A handler of which nothing is asked but whether it authenticates.
struct Guard(bool);

impl Handler for Guard {
    fn authenticates(&self) -> bool {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_files_that_are_kept_show_nothing() {
        if !Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz")).exists() {
            // A published package is without them.
            return;
        }
        let mut files = 0;
        for kind in ["seeds", "regressions"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join("configuration");
            for entry in fs::read_dir(folder).into_iter().flatten() {
                configuration(&fs::read(entry.unwrap().path()).unwrap());
                files += 1;
            }
        }
        assert!(files > 4, "they are not where they should be");
    }
}
