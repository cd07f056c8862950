//! A request to the second listener.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| heartwire::fuzzing::admin(input));
