//! The headers of proxies.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| heartwire::fuzzing::proxy(input));
