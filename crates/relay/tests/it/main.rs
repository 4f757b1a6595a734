//! The relay's parts against each other, over real sockets on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests: a failure is a panic, and tasks end with their test"
)]

mod dial;
