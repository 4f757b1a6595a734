//! The one executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    strait_cli::main()
}
