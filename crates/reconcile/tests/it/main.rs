//! Feeds, endpoints and writes against a hub in this process.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is an assertion")]

#[expect(dead_code, reason = "the controllers' tests use the rest")]
mod fake_hub;
mod follow;
mod write;
