//! The store as its users see it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "these are tests: what is wrong ends them"
)]

mod consistency;
mod engines;
mod support;
