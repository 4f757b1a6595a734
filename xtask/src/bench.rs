//! `cargo xtask bench`: the goals for speed and size beside what this machine reaches.
//!
//! The release binary, or with `--dist` the one that is shipped, runs as a process of its own on an empty directory below the build
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

use anyhow::{Context as _, Result, bail};
use report::{Row, percentile};

use crate::command::{cargo, run as run_command};
use crate::dist::DIST;
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

/// The binary that is measured unless said, below the build directory.
const RELEASE: &str = "release/strait";

/// What is measured, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan<'a> {
    /// One measurement, a group of them, or `all`.
    what: &'a str,
    /// With fewer rounds.
    quick: bool,
    /// Of the binary that `dist` built.
    dist: bool,
}

impl<'a> Plan<'a> {
    /// Reads the words behind `bench`; none where they ask for nothing that there is.
    pub(crate) fn read(words: &[&'a str]) -> Option<Self> {
        let mut plan = Self { what: "all", quick: false, dist: false };
        let options = match words {
            [what, options @ ..] if !what.starts_with("--") => {
                plan.what = what;
                options
            }
            options => options,
        };
        for option in options {
            match *option {
                "--quick" => plan.quick = true,
                "--dist" => plan.dist = true,
                _ => return None,
            }
        }
        MEASUREMENTS.iter().any(|(name, _)| is_meant(plan.what, name)).then_some(plan)
    }

    /// As words again.
    fn words(self) -> Vec<&'a str> {
        let options = [self.quick.then_some("--quick"), self.dist.then_some("--dist")];
        [self.what].into_iter().chain(options.into_iter().flatten()).collect()
    }
}

/// Whether a word means a measurement: its name, that of its group, or all.
fn is_meant(what: &str, name: &str) -> bool {
    let group = name.split_once('-').map_or(name, |(group, _)| group);
    [name, group, "all"].contains(&what)
}

/// Measures and prints a table.
///
/// # Errors
/// The binary does not build, or does not do what is measured.
pub(crate) fn run(plan: Plan<'_>) -> Result<()> {
    let Plan { what, quick, dist } = plan;
    let built: &[&str] = if dist { &["xtask"] } else { &["strait", "xtask"] };
    if in_release(built, &[&["bench"][..], &plan.words()].concat())? {
        return Ok(());
    }
    let target = Metadata::read()?.target_directory;
    let binary = target.join(if dist { DIST } else { RELEASE });
    if !binary.is_file() {
        bail!("{} is not there: `cargo xtask dist` builds it", binary.display());
    }
    if dist && let Ok(age) = fs::metadata(&binary)?.modified()?.elapsed() {
        say(format_args!("{} was built {} minutes ago", binary.display(), age.as_secs() / 60));
    }
    let mut ground = Ground::new(&target, binary, quick)?;
    let syncs = disk::syncs(&ground, disk::BLOCK)?;
    ground.sync = percentile(&syncs, 0.5);
    let mut rows = vec![disk::row(&syncs)];
    let result = measure(&ground, |name| is_meant(what, name), &mut rows);
    print(report::table(&rows));
    result
}

/// Has a binary do what these measurements have it do, quickly, and a minute of the soak.
///
/// # Errors
/// It does not do it.
pub(crate) fn train(target: &Path, binary: PathBuf, names: &[&str]) -> Result<()> {
    let ground = Ground::new(target, binary, true)?;
    measure(&ground, |name| names.contains(&name), &mut Vec::new())?;
    say("a minute of the soak");
    soak::minute(&ground)
}

fn measure(ground: &Ground, is_meant: impl Fn(&str) -> bool, rows: &mut Vec<Row>) -> Result<()> {
    let mut result = Ok(());
    for (name, measure) in MEASUREMENTS.into_iter().filter(|(name, _)| is_meant(name)) {
        say(format_args!("measuring {name}"));
        match measure(ground).with_context(|| format!("cannot measure {name}")) {
            Ok(measured) => rows.extend(measured),
            // What was measured is worth its time.
            Err(error) => result = result.and(Err(error)),
        }
    }
    result
}

/// Builds packages for release. Load made by unoptimised code would measure that code: if this is
/// such, the other is run with these arguments. Whether it was.
///
/// # Errors
/// They do not build, or the other fails.
pub(crate) fn in_release(packages: &[&str], arguments: &[&str]) -> Result<bool> {
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    let build: Vec<_> = ["build", "--release"].into_iter().chain(packages).collect();
    run_command(&mut cargo(&build))?;
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
    fn new(target: &Path, binary: PathBuf, quick: bool) -> Result<Self> {
        let directory = target.join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        Ok(Self { binary, directory, quick, sync: Duration::ZERO })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_what_its_words_say() {
        for (words, expected) in [
            (&[][..], Some(("all", false, false))),
            (&["relay"], Some(("relay", false, false))),
            (&["relay-small", "--dist", "--quick"], Some(("relay-small", true, true))),
            (&["--quick"], Some(("all", true, false))),
            (&["all", "--dist"], Some(("all", false, true))),
            (&["relays"], None),
            (&["relay", "--slow"], None),
            (&["relay", "hooks"], None),
        ] {
            let plan = Plan::read(words);
            assert_eq!(plan.map(|Plan { what, quick, dist }| (what, quick, dist)), expected);
            assert_eq!(plan.and_then(|plan| Plan::read(&plan.words())), plan);
        }
    }
}
