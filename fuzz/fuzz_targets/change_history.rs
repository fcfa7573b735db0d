//! Runs the `change_history` body under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culvert_fuzz::change_history(data));
