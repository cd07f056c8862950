//! `heartwire check-config`: whether `heartwire serve` with the same arguments would start, without starting anything.

use super::settings::Settings;
use super::setup::Absent;
use super::{Failure, print};
use std::ffi::OsString;
use std::process::ExitCode;

/// Reads everything that a start would read; makes nothing. Whatever is wrong is a wrong configuration here.
pub(super) fn run(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let checked = Settings::load(arguments).and_then(|settings| {
        settings.setup()?.open(Absent::Ignore)?;
        Ok(settings)
    });
    match checked {
        Ok(settings) => {
            let what = settings.file().map_or_else(|| "the flags".into(), |path| path.display().to_string());
            print(format!("{what}: ok\n").as_bytes())
        }
        Err(Failure::Usage(why) | Failure::Run(why)) => Err(Failure::Usage(why)),
    }
}
