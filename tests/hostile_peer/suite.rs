//! Rows, their two sizes, and the table that is printed at the end.

use crate::vitals::raise_descriptor_limit;
use libtest_mimic::{Arguments, Completion, Trial};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::Instant;

/// One threat, and the attack that shows what becomes of it.
pub struct Row {
    /// The name of the test; `_full_size` is added for the other size.
    pub name: &'static str,
    /// What `docs/hardening.md` calls it.
    pub threat: &'static str,
    /// The attack. It panics where the server does not withstand it.
    pub run: fn(Size) -> Figures,
}

/// How much of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Seconds, in whatever build.
    Reduced,
    /// What the table promises.
    Full,
}

impl Size {
    pub fn of<T>(self, reduced: T, full: T) -> T {
        match self {
            Self::Reduced => reduced,
            Self::Full => full,
        }
    }

    fn suffix(self) -> &'static str {
        self.of("", "_full_size")
    }
}

/// What a row measured, in short phrases.
#[derive(Debug, Default)]
pub struct Figures {
    measured: Vec<String>,
    /// What is missing here.
    needs: Option<&'static str>,
}

impl Figures {
    /// Those of a row that cannot run here for want of this: it counts as ignored, not as passed.
    pub fn not_run(needs: &'static str) -> Self {
        Self { measured: vec![format!("not run: it needs {needs}")], needs: Some(needs) }
    }

    #[must_use]
    pub fn with(mut self, figure: &impl ToString) -> Self {
        self.measured.push(figure.to_string());
        self
    }
}

/// Runs the rows that the arguments choose, one at a time: each measures, and would disturb the others.
pub fn run(files: &[&'static [Row]]) -> ExitCode {
    raise_descriptor_limit();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let table = Arc::new(Mutex::new(Vec::new()));
    let rows: Vec<&'static Row> = files.iter().copied().flatten().collect();
    let sizes = |row: &&'static Row| [Size::Reduced, Size::Full].map(|size| trial(row, size, &table));
    let mut trials: Vec<Trial> = rows.iter().flat_map(sizes).collect();
    trials.push(Trial::test("every_row_is_documented", move || {
        assert_documented(&rows);
        Ok(())
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let table = table.lock().unwrap();
    if !table.is_empty() {
        println!("On {}:\n\n| threat | test | measured | took |\n|---|---|---|---|", machine());
        table.iter().for_each(|line| println!("{line}"));
        println!();
    }
    conclusion.exit_code()
}

fn trial(row: &'static Row, size: Size, table: &Arc<Mutex<Vec<String>>>) -> Trial {
    let (name, table) = (format!("{}{}", row.name, size.suffix()), Arc::clone(table));
    let test = name.clone();
    Trial::ignorable_test(name, move || {
        let begun = Instant::now();
        let Figures { measured, needs } = (row.run)(size);
        let took = begun.elapsed().as_secs_f64();
        let line = format!("| {} | `{test}` | {} | {took:.1} s |", row.threat, measured.join("; "));
        table.lock().unwrap().push(line);
        Ok(needs.map_or(Completion::Completed, |needs| Completion::ignored_with(format!("it needs {needs}"))))
    })
    .with_ignored_flag(size == Size::Full)
}

/// The table of the documentation has a line for each row, and no empty cell.
fn assert_documented(rows: &[&Row]) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hardening.md");
    let page = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| !line.starts_with("| threat | what holds | test |"))
        .skip(2)
        .map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|cells| cells.split(" | ").collect())
        .collect();
    for line in &lines {
        assert!(line.len() == 6 && line.iter().all(|cell| !cell.trim().is_empty()), "an open row: {line:?}");
    }
    let named = |cells: &Vec<&str>| (cells[0].to_owned(), cells[2].trim_matches('`').to_owned());
    let documented: Vec<_> = lines.iter().map(named).collect();
    let tested: Vec<_> = rows.iter().map(|row| (row.threat.to_owned(), row.name.to_owned())).collect();
    assert_eq!(documented, tested);
}

/// What the figures were taken on.
fn machine() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: Option<u64> = memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
    let cores = available_parallelism().map_or(0, usize::from);
    let build = if cfg!(debug_assertions) { "a debug build" } else { "a release build" };
    format!("Linux {}, {cores} cores, {} GiB, {build}", release.trim(), memory_kib.unwrap_or(0) >> 20)
}
