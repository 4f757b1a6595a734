//! What tests start, and what they run against it.

mod hub;
mod link;
mod process;
mod up;
mod wire;

use std::path::PathBuf;
use std::process::Command;

pub(crate) use hub::Hub;
pub(crate) use link::{FAR, Line, Link, NEAR};
pub(crate) use process::{Output, Process};
pub(crate) use up::{Up, up, wait_for_end};
pub(crate) use wire::{Message, Recorder, ask};

/// The variable that names the directory with other people's programs.
const TOOLS_VARIABLE: &str = "STRAIT_TOOLS";

/// The program, knowing nothing of who runs the test.
pub(crate) fn strait() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.env_clear();
    command
}

/// The path of a program that is not ours, or of a directory of them.
///
/// # Panics
/// It is not there: a test that cannot run has not passed.
pub(crate) fn tool(name: &str) -> PathBuf {
    let directory = std::env::var_os(TOOLS_VARIABLE)
        .unwrap_or_else(|| panic!("{TOOLS_VARIABLE} is not set; `cargo xtask test` sets it"));
    let tool = PathBuf::from(directory).join(name);
    assert!(tool.exists(), "{} does not exist; `cargo xtask test` gets it", tool.display());
    tool
}
