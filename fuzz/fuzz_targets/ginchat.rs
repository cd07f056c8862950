//! One frame of a `ginchat` client.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| heartwire::fuzzing::ginchat(input));
