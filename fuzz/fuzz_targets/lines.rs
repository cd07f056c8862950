//! Bytes of raw TCP, in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| heartwire::fuzzing::lines(input));
