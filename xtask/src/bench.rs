//! `cargo xtask bench`: the goals for speed and size beside what this machine reaches.
//!
//! The release binary runs as a process of its own on an empty directory below the build
//! directory, so that the disk is the one that people build on. The load is made here, in one
//! process: on a machine with two cores it takes its share of them, which the CPU seconds of both
//! sides show. Nothing here fails because a machine is slow; it says so.

mod cpu;
mod creates;
mod crossing;
mod disk;
mod gets;
mod hooks;
mod hub;
mod kubeconfig;
mod load;
mod relay;
mod report;
mod rss;
pub(crate) mod soak;
mod start;
mod up;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use report::{Row, percentile};

use crate::command::{cargo, run as run_command};
use crate::metadata::Metadata;
use crate::{print, say};

/// A measurement: its name on the command line, and what does it.
type Measurement = (&'static str, fn(&Ground) -> Result<Vec<Row>>);

const MEASUREMENTS: [Measurement; 18] = [
    ("hub-start", start::measure),
    ("rss", rss::measure),
    ("crossing", crossing::measure),
    ("gets", gets::measure),
    ("creates", creates::measure),
    ("hooks-rates", hooks::rates::measure),
    ("hooks-bad-days", hooks::bad_days::measure),
    ("hooks-memory", hooks::memory::measure),
    ("hooks-slow", hooks::slow::measure),
    ("hooks-restart", hooks::restart::measure),
    ("hooks-cut", hooks::cut::measure),
    ("relay-small", relay::small),
    ("relay-bulk", relay::bulk),
    ("relay-memory", relay::memory),
    ("relay-neighbours", relay::neighbours),
    ("relay-crowd", relay::crowd),
    ("relay-restart", relay::restart),
    ("relay-far", relay::far),
];

/// Asks for a quick run.
pub(crate) const QUICK: &str = "--quick";

/// Whether there is such a measurement.
pub(crate) fn knows(what: &str) -> bool {
    MEASUREMENTS.iter().any(|(name, _)| is_meant(what, name))
}

/// Whether a word means a measurement: its name, that of its group, or all.
fn is_meant(what: &str, name: &str) -> bool {
    let group = name.split_once('-').map_or(name, |(group, _)| group);
    [name, group, "all"].contains(&what)
}

/// Measures and prints a table; a quick run of the relay's has fewer rounds.
///
/// # Errors
/// The binary does not build, or does not do what is measured.
pub(crate) fn run(what: &str, quick: bool) -> Result<()> {
    if in_release(&[&["bench", what][..], quick.then_some(QUICK).as_slice()].concat())? {
        return Ok(());
    }
    let mut ground = Ground::new(&Metadata::read()?.target_directory, quick)?;
    let syncs = disk::syncs(&ground, disk::BLOCK)?;
    ground.sync = percentile(&syncs, 0.5);
    let mut rows = vec![disk::row(&syncs)];
    let mut result = Ok(());
    for (name, measure) in MEASUREMENTS {
        if is_meant(what, name) {
            say(format_args!("measuring {name}"));
            match measure(&ground).with_context(|| format!("cannot measure {name}")) {
                Ok(measured) => rows.extend(measured),
                // What was measured is worth its time.
                Err(error) => result = result.and(Err(error)),
            }
        }
    }
    print(report::table(&rows));
    result
}

/// Builds for release. Load made by unoptimised code would measure that code: if this is such, the
/// other is run with these arguments. Whether it was.
fn in_release(arguments: &[&str]) -> Result<bool> {
    run_command(&mut cargo(&["build", "--release", "--package", "strait", "--package", "xtask"]))?;
    if cfg!(debug_assertions) {
        let program = Metadata::read()?.target_directory.join("release/xtask");
        run_command(Command::new(program).args(arguments))?;
    }
    Ok(cfg!(debug_assertions))
}

/// Where measurements take place: a directory that is removed afterwards, and the binary.
#[derive(Debug)]
struct Ground {
    binary: PathBuf,
    directory: PathBuf,
    /// Whether fewer rounds do.
    quick: bool,
    /// What a sync of its disk takes (p50).
    sync: Duration,
}

impl Ground {
    fn new(target: &Path, quick: bool) -> Result<Self> {
        let directory = target.join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let binary = target.join("release/strait");
        Ok(Self { binary, directory, quick, sync: Duration::ZERO })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
