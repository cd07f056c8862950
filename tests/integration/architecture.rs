//! The layers, as data, and what no source file may do. `docs/architecture.md` shows the same table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module may name modules of lower layers only. The binary, `main.rs` with `cli/`, stands outside: it is a crate of
/// its own and sees no more than the public interface.
const LAYERS: [&[&str]; 13] = [
    &["clock", "outgoing", "printable", "protocol", "secret", "threads"],
    &["http", "metrics", "socket"],
    &["config"],
    &["auth", "limits", "outbound", "page", "proxy", "webhook"],
    &["record"],
    &["router"],
    &["handler"],
    &["authenticators", "connection"],
    &["admin", "duplex", "handshake"],
    &["client", "listener"],
    &["error"],
    &["server"],
    &["fuzzing", "internals"],
];

/// What is longer holds more than one thought.
const MAX_LINES: usize = 450;

#[test]
fn a_module_names_only_modules_of_lower_layers() {
    for source in library() {
        let own = layer_of(&source.module).unwrap_or_else(|| panic!("{} is in no layer", source.module));
        for named in source.names().into_iter().filter(|named| *named != source.module) {
            let is_lower = layer_of(&named).is_some_and(|layer| layer < own);
            assert!(is_lower, "{} is in layer {own} and must not name crate::{named}", source.path.display());
        }
    }
}

/// Holds even where somebody bends the table.
#[test]
fn no_modules_need_each_other() {
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in library() {
        let names = source.names().into_iter().filter(|named| *named != source.module).collect::<Vec<_>>();
        needs.entry(source.module).or_default().extend(names);
    }
    while let Some(free) = needs.iter().find(|(_, needed)| needed.is_empty()).map(|(module, _)| module.clone()) {
        needs.remove(&free);
        needs.values_mut().for_each(|needed| _ = needed.remove(&free));
    }
    assert!(needs.is_empty(), "a cycle is among these: {needs:#?}");
}

#[test]
fn every_module_is_in_exactly_one_layer() {
    let mut layered: Vec<_> = LAYERS.concat();
    layered.sort_unstable();
    assert_eq!(declared_in("src/lib.rs"), layered);
}

#[test]
fn the_binary_is_made_of_the_public_interface() {
    assert_eq!(declared_in("src/main.rs"), ["cli"]);
    for source in sources().filter(|source| ["cli", "main"].contains(&&*source.module)) {
        for named in source.names() {
            assert_eq!(named, "cli", "named in {}", source.path.display());
        }
    }
}

#[test]
fn the_documentation_shows_the_same_layers() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).expect("docs/architecture.md");
    let shown: BTreeSet<(usize, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            let layer = cells.next()?.parse().ok()?;
            Some(words(cells.next()?).map(move |module| (layer, module)))
        })
        .flatten()
        .collect();
    let layers = LAYERS.iter().enumerate();
    let here = layers.flat_map(|(layer, modules)| modules.iter().map(move |module| (layer, *module))).collect();
    assert_eq!(shown, here, "rows of the form | layer | module | … there, and the table here");
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for folder in ["src", "tests", "examples", "benches"] {
        for path in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//! "), "{} does not begin with //!", path.display());
        }
    }
}

#[test]
fn every_source_file_is_one_thought() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines, the most is {MAX_LINES}", source.path.display());
    }
}

#[test]
fn no_source_file_is_unsafe_or_has_an_unbounded_channel() {
    for source in sources() {
        let code = source.code();
        assert!(!words(&code).any(|word| word == "unsafe"), "unsafe in {}", source.path.display());
        assert!(!code.contains("unbounded("), "unbounded( in {}", source.path.display());
    }
}

#[test]
fn names_are_found_in_every_form() {
    let text = "
        //! A comment may speak of [`crate::server`].
        use crate::{auth, config::{Config, Rate}, http as web,
            page::response};
        use ::http::Method;
        pub(crate) fn f(limits: crate::limits::Permit) -> super::proxy::Header {
            crate::router::inboxes(1) // and of crate::listener
        }
        use super::super::nobody;
        mod tests {
            use super::super::metrics::Gate;
            use super::own;
        }
    ";
    let source = |path: &str| Source::new(path.into(), text.replace("\n        ", "\n"));
    let expected = ["auth", "config", "http", "limits", "metrics", "page", "proxy", "router"];
    assert_eq!(source("handler.rs").names().into_iter().collect::<Vec<_>>(), expected);
    let from_within = source("handler/inner.rs").names();
    assert!(from_within.contains("nobody") && !from_within.contains("proxy"), "{from_within:?}");
}

/// One file under `src`.
struct Source {
    path: PathBuf,
    /// The top-level module that it belongs to.
    module: String,
    text: String,
}

impl Source {
    fn new(path: PathBuf, text: String) -> Self {
        let first = Path::new(path.iter().next().unwrap());
        Self { module: first.file_stem().unwrap().to_str().unwrap().to_owned(), path, text }
    }

    /// How many modules lie between what stands at the file's top level and the crate.
    fn depth(&self) -> usize {
        let is_folder_itself = self.path.file_name().is_some_and(|name| name == "mod.rs");
        self.path.iter().count() - usize::from(is_folder_itself)
    }

    /// The text without comments.
    fn code(&self) -> String {
        let without_comment = |line: &str| match line.trim_start().starts_with("//") {
            true => String::new(),
            false => format!("{}\n", line.split(" // ").next().unwrap_or_default()),
        };
        self.text.lines().map(without_comment).collect()
    }

    /// What follows the root of the crate in any path, however that is written: `crate::a`, `crate::{a, b}`, and as
    /// many `super::` as it takes.
    fn names(&self) -> BTreeSet<String> {
        let code = self.code();
        let mut names = BTreeSet::new();
        for (at, _) in code.match_indices("crate::").filter(|(at, _)| begins_a_word(&code, *at)) {
            names.extend(first_segments(&code[at + "crate::".len()..]));
        }
        for (at, _) in code.match_indices("super::").filter(|(at, _)| begins_a_word(&code, *at)) {
            let mut rest = &code[at..];
            let mut up = 0;
            while let Some(behind) = rest.strip_prefix("super::") {
                (rest, up) = (behind, up + 1);
            }
            // An inline module, as of tests, stands at the end of its file.
            let inline = code[..at].lines().any(|line| line.starts_with("mod ") && line.ends_with('{'));
            if up == self.depth() + usize::from(inline) {
                names.extend(first_segments(rest));
            }
        }
        names
    }
}

/// Not the rest of a longer path, such as the second half of `super::super::`.
fn begins_a_word(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
}

/// The first segment of the path that begins here, or of each path in a group.
fn first_segments(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else { return words(path).next().map(String::from).into_iter().collect() };
    let mut depth = 0;
    let mut top_level = String::new();
    for character in group.chars() {
        match character {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 0 => top_level.push(character),
            _ => {}
        }
    }
    top_level.split(',').filter_map(|path| words(path).next().map(String::from)).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> impl Iterator<Item = Source> {
    let src = root().join("src");
    let files = rust_files(&src);
    assert!(files.len() > 20, "the sources are not where they should be");
    files.into_iter().map(move |path| {
        let text = fs::read_to_string(&path).unwrap();
        Source::new(path.strip_prefix(&src).unwrap().to_owned(), text)
    })
}

/// The sources that the table is about.
fn library() -> impl Iterator<Item = Source> {
    sources().filter(|source| !["cli", "main", "lib"].contains(&&*source.module))
}

/// The modules that a crate's root declares, sorted.
fn declared_in(path: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let declared = text.lines().filter_map(|line| {
        let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
    });
    let mut declared: Vec<_> = declared.collect();
    declared.sort_unstable();
    declared
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // That of a crate of its own, and in it code that build scripts make.
            if !path.ends_with("target") {
                files.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
