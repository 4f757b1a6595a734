//! The bytes of a connection of somebody whom nobody vouches for: taken alike in whatever pieces
//! they come.
#![cfg_attr(feature = "run", no_main)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| strait_net::http1::fuzz_requests(data));

/// What is only built with the workspace.
#[cfg(not(feature = "run"))]
fn main() {}
