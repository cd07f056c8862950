//! A file of settings, and another one that takes its place while the server runs.
#![no_main]

#[allow(dead_code, reason = "the commands that call the rest are not here")]
mod cli;

libfuzzer_sys::fuzz_target!(|input: &[u8]| cli::fuzzing::configuration(input));
