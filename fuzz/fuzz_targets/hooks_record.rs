//! A disk's bytes as a record of the log.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| strait_hooks::log::fuzz_record(data));
