//! Webhooks against real sockets, files and clocks.
#![allow(clippy::unwrap_used, reason = "tests")]

mod ingest;
//! Webhooks through real sockets and files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod deliver;
