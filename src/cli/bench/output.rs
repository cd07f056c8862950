//! What a command prints, and what it draws.

use super::machine::Machine;
use super::measured::Measured;
use super::{plot, progress, report};
use crate::cli::{Failure, print};
use clap::Args;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The flags of the output.
#[derive(Args)]
pub(super) struct Output {
    /// Print one object of JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,

    /// Print comma-separated values, behind a line of their names
    #[arg(long)]
    csv: bool,

    /// Draw what was measured into this file, too, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

impl Output {
    /// Whether a picture was asked for.
    pub(super) fn has_plot(&self) -> bool {
        self.plot.is_some()
    }

    /// Whether a picture could be written: to be asked before anything is measured. Leaves no file that was not there.
    ///
    /// # Errors
    /// Why it could not.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Some(path) = &self.plot else { return Ok(()) };
        let tried = match File::create_new(path) {
            Ok(_) => fs::remove_file(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                OpenOptions::new().write(true).open(path).map(drop)
            }
            Err(error) => Err(error),
        };
        tried.map_err(|error| refused(path, &error))
    }

    /// Prints one run, and draws its latency.
    ///
    /// # Errors
    /// What cannot be written, and a picture of a run without latency.
    pub(super) fn run(&self, run: &Measured) -> Result<ExitCode, Failure> {
        let runs = std::slice::from_ref(run);
        let printed = self.print(runs, || report::json(run), || report::table(runs));
        self.draw(|| {
            let latency = run.latency_us.ok_or_else(|| format!("{} has no latency to draw", run.workload))?;
            plot::latency(&report::heading(runs), &Machine::read().line(), &latency)
        })?;
        printed
    }

    /// Prints some runs in the form that was asked for. What casts doubt on them is in the table, and beside the others.
    pub(super) fn print(
        &self,
        runs: &[Measured],
        json: impl FnOnce() -> String,
        table: impl FnOnce() -> String,
    ) -> Result<ExitCode, Failure> {
        let text = match (self.json, self.csv) {
            (true, _) => json(),
            (_, true) => report::csv(runs),
            _ => table(),
        };
        if self.json || self.csv {
            report::doubts(runs).iter().for_each(progress::note);
        }
        print(text.as_bytes())
    }

    /// Writes the picture, if one was asked for.
    pub(super) fn draw(&self, picture: impl FnOnce() -> Result<String, String>) -> Result<(), Failure> {
        let Some(path) = &self.plot else { return Ok(()) };
        let svg = picture().map_err(|error| refused(path, &error))?;
        fs::write(path, svg).map_err(|error| refused(path, &error))
    }
}

fn refused(path: &Path, error: &dyn Display) -> Failure {
    Failure::Run(format!("--plot {}: {error}", path.display()))
}
