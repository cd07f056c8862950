//! Another configuration for a server that runs; the binary's fuzzer reads both from files.

use crate::config::Config;

/// What of `wanted` a server cannot change that runs by `running`, by the names of the command line.
#[must_use]
pub fn reload(running: &Config, wanted: &Config) -> Vec<&'static str> {
    let mut config = wanted.clone();
    let kept = config.keep_fixed(running);
    assert!(config.keep_fixed(running).is_empty(), "what was kept still differs");
    assert_eq!(config.clone().keep_fixed(wanted), kept, "something else was kept than is named");
    // The pair may not fit together, which is told and changes nothing.
    if let Err(error) = config.validate() {
        assert!(!kept.is_empty() && !error.to_string().is_empty(), "{error}");
    }
    kept
}
