//! `cargo xtask test`: everything CI runs, in an order that fails early.

use std::time::Duration;

use anyhow::Result;

use crate::command::{cargo, run as run_command};
use crate::metadata::Metadata;
use crate::stopwatch::Stopwatch;
use crate::{say, tidy, tools};

/// Where the end-to-end tests find other people's programs.
const TOOLS_VARIABLE: &str = "STRAIT_TOOLS";

/// The tests of the release binary.
const END_TO_END: [&str; 6] = ["test", "--release", "--package", "strait", "--features", "e2e"];

/// What is released is looked at without what fuzz targets alone need of it.
const WITHOUT_FUZZ: &str = "--exclude=strait-fuzz";

/// One step: its name, and what it does.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 8] = [
    ("format", || cargo_step(&["fmt", "--all", "--check"])),
    ("tidy", tidy::run),
    ("clippy", || {
        cargo_step(&[
            "clippy",
            "--workspace",
            WITHOUT_FUZZ,
            "--all-targets",
            "--features",
            "strait/e2e",
            "--",
            "-D",
            "warnings",
        ])
    }),
    ("fuzz targets", || {
        cargo_step(&["clippy", "--package", "strait-fuzz", "--", "-D", "warnings"])
    }),
    ("tests", || cargo_step(&["test", "--workspace", WITHOUT_FUZZ])),
    ("tools", || tools::all(&Metadata::read()?.target_directory).map(drop)),
    ("release build", || cargo_step(&[&END_TO_END[..], &["--tests", "--no-run"]].concat())),
    ("end to end", || end_to_end(&["--tests"])),
];

/// Runs all steps; the first that fails is the last.
pub(crate) fn run() -> Result<()> {
    let total = Stopwatch::start();
    let mut times = Vec::new();
    let mut result = Ok(());
    for (name, step) in STEPS {
        say(format_args!("== {name}"));
        let stopwatch = Stopwatch::start();
        result = step();
        times.push((name, stopwatch.elapsed()));
        if result.is_err() {
            break;
        }
    }
    say(summary(&times, total.elapsed(), result.is_ok()));
    result
}

fn cargo_step(arguments: &[&str]) -> Result<()> {
    run_command(&mut cargo(arguments))
}

/// Runs tests of the release binary with other people's programs.
///
/// # Errors
/// Those programs cannot be got, the binary does not build, or a test fails.
pub(crate) fn end_to_end(arguments: &[&str]) -> Result<()> {
    let tools = tools::all(&Metadata::read()?.target_directory)?;
    run_command(cargo(&END_TO_END).args(arguments).env(TOOLS_VARIABLE, tools))
}

/// The steps that ran with the time each took; those that did not run are named as such.
fn summary(times: &[(&str, Duration)], total: Duration, passed: bool) -> String {
    let mut text = String::from("\n");
    for (index, (name, _)) in STEPS.iter().enumerate() {
        let line = match times.get(index) {
            Some((_, time)) if passed || index + 1 < times.len() => {
                format!("  {name:<14} {:>7.1} s\n", time.as_secs_f64())
            }
            Some((_, time)) => format!("  {name:<14} {:>7.1} s  FAILED\n", time.as_secs_f64()),
            None => format!("  {name:<14}         -  not run\n"),
        };
        text.push_str(&line);
    }
    text + &format!("  {:<14} {:>7.1} s", "all", total.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_step_failed_and_which_did_not_run() {
        let second = Duration::from_millis(1500);
        let text = summary(&[("format", second), ("tidy", second)], 2 * second, false);
        let lines: Vec<&str> = text.trim_start().lines().collect();
        assert_eq!(lines[0], "format             1.5 s");
        assert_eq!(lines[1], "  tidy               1.5 s  FAILED");
        assert_eq!(lines[2], "  clippy                 -  not run");
        assert_eq!(lines[8], "  all                3.0 s");
    }
}
