//! What crosses between a real hub and a real agent, both in this process.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests: a failure is a panic, and tasks end with their test"
)]

#[path = "../../../hub/tests/it/harness.rs"]
#[expect(dead_code, reason = "the hub's own tests use the rest")]
mod harness;
mod hooks;
mod incoming;
mod requests;
mod service;
mod site;
mod traces;
mod tunnel;
