//! One frame of a native client.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| heartwire::fuzzing::native(input));
