//! Webhooks against real sockets, files and clocks.
#![allow(clippy::unwrap_used, reason = "tests")]

mod ingest;
