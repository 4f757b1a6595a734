//! The one executable.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

// A hub lives for months: docs/adr/0014-allocator.md.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    strait_cli::main()
}
