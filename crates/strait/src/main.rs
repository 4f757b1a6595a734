//! The one executable.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

// A hub lives for months, and its memory stays as it is after an hour: docs/adr/0014-allocator.md.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    strait_cli::main()
}
