//! Feeds, endpoints and writes against a hub in this process.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is an assertion")]

mod fake_hub;
mod follow;
mod write;
