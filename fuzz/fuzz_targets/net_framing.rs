//! The bytes of a connection of somebody whom nobody vouches for.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| strait_net::fuzz_framing(data));
