//! Runs the `request` body under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culvert_fuzz::request(data));
