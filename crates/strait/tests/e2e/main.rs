//! Strait as people meet it: the release binary as a process, kubectl and helm in front of it.
//!
//! `cargo xtask test` runs these; they need its `STRAIT_TOOLS`, and say so where it is missing.
//! Every test starts what it needs on a directory and a port of its own, and ends it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests: a failure is a panic, and time is the machine's"
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
