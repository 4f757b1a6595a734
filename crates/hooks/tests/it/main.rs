//! Webhooks through real sockets and files.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

mod deliver;
mod ingest;
