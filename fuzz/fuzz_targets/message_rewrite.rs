//! Runs the `message_rewrite` body under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culvert_fuzz::message_rewrite(data));
