//! What follows a source's path.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| strait_hooks::path::fuzz_path(path));
