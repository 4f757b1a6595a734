//! What a hub does, seen from its port.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is an assertion")]

mod api;
mod certificates;
mod harness;
