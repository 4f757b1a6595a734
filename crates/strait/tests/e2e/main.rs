//! Strait as people meet it: the release binary as a process, kubectl and helm in front of it.
//!
//! `cargo xtask test` runs these; they need its `STRAIT_TOOLS`, and say so where it is missing.
//! Every test starts what it needs on a directory and a port of its own, and ends it.
//! `cargo xtask soak ROW` runs those that take longer than CI has, and shows the figures that
//! they print.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests: a failure is a panic, time is the machine's, and figures are printed"
)]

mod agent;
mod approval;
mod crossing;
mod discovery;
mod guides;
mod harness;
mod helm;
mod hooks;
mod hub;
mod lifecycle;
mod objects;
mod relay;
mod service;
mod traces;
mod up;
mod watching;
