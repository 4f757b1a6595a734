//! What a crash leaves: kill -9 at any moment, and a disk that forgets what was not synced.
//!
//! The release's own binary runs as a process under load and is killed. A page cache survives
//! that, so for a power cut a library loaded into the process records what it wrote and what it
//! synced (`disk.c`), and the test puts in place what a disk would have kept (`disk`). Then the
//! process starts again, and everything that it had acknowledged or shown must be there.
//!
//! Seeds are printed; `cargo test` shows them with what failed.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests: a failure is a panic, and tasks end with their test"
)]

mod agents;
mod chance;
mod client;
mod cuts;
mod disk;
mod faults;
mod hooks;
mod hub;
mod kills;
mod load;
mod model;
#[path = "../e2e/harness/process.rs"]
#[expect(dead_code, reason = "what kubectl prints is read elsewhere")]
mod process;
mod site;
