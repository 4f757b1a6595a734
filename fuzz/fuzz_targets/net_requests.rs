//! The bytes of a connection of somebody whom nobody vouches for: taken alike in whatever pieces
//! they come.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| strait_net::http1::fuzz_requests(data));
