//! Webhooks through real sockets and files.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]
#![allow(clippy::disallowed_methods, reason = "tasks of a test end with its runtime")]

mod admin;
mod deliver;
mod ingest;
