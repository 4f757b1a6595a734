//! What follows a source's path.
#![cfg_attr(feature = "run", no_main)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| strait_hooks::path::fuzz_path(path));

/// What is only built with the workspace.
#[cfg(not(feature = "run"))]
fn main() {}
