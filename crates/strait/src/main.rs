//! The one executable.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// Most allocations are made and freed on one thread, and a hub lives for months: pages that
// emptied have to go back to the kernel. docs/measurements.md has what it gains.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    strait_cli::main()
}
