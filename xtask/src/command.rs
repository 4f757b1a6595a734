//! Running programs: cargo in the workspace, and others until they are to end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::metadata::PLATFORM;
use crate::say;
use crate::stopwatch::Stopwatch;

/// What a process has for its end, before it is killed: as much as docs/operations.md asks for, and a
/// little more.
const END_MAX: Duration = Duration::from_secs(35);
/// Between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The workspace's directory.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// The cargo that runs this, at the workspace's directory.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args(arguments);
    command
}

/// Cargo with flags of the compiler's that are not for build scripts, so the platform is named, and
/// a build directory of its own.
pub(crate) fn cargo_with(flags: &str, home: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    // Cargo would take it in place of RUSTFLAGS.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.args(["--target", PLATFORM]).env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", home);
    command
}

/// Runs a command to its end, its output passed on.
///
/// # Errors
/// It cannot be started, or it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Has a process end: in order, so that it writes what it writes then, or else by force.
pub(crate) fn end(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        && matches!(child.try_wait(), Ok(None))
    {
        let _ = kill_process(pid, Signal::TERM);
        let stopwatch = Stopwatch::start();
        while matches!(child.try_wait(), Ok(None)) {
            if stopwatch.elapsed() > END_MAX {
                say(format_args!("process {pid:?} does not end and is killed"));
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A command as a person would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    [program.to_string_lossy()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_process_ends_in_order() {
        let script = "trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.01; done";
        let mut command = Command::new("/bin/sh");
        let mut child = command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        end(&mut child);
        said.read_to_string(&mut line).unwrap();
        assert_eq!(line, "up\nbye\n");
        // What has ended is left alone.
        end(&mut child);
    }

    #[test]
    fn shows_a_command_as_it_would_be_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["fmt", "--all"]);
        assert_eq!(shown(&command), "cargo fmt --all");
    }
}
