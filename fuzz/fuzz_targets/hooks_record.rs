//! A disk's bytes as a record of the log.
#![cfg_attr(feature = "run", no_main)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| strait_hooks::log::fuzz_record(data));

/// What is only built with the workspace.
#[cfg(not(feature = "run"))]
fn main() {}
