//! `cargo xtask fuzz`: fuzz targets with a stable toolchain and a C++ compiler.
//!
//! LibFuzzer needs the program to count which edges it takes; LLVM's own pass does that and is
//! there in every rustc. There is no address sanitizer: the code below has no `unsafe`. What was
//! found to reach new code is kept in `target/fuzz/corpus`, what makes a target fail in
//! `target/fuzz/TARGET-*`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo_with, root, run as run_command};
use crate::metadata::{Metadata, PLATFORM};
use crate::say;

/// What LLVM is told.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Clink-dead-code -Cdebug-assertions -Ccodegen-units=1";

/// Runs each target, or one, for so many seconds.
///
/// # Errors
/// A target does not build, is not there, or fails: what made it fail is named.
pub(crate) fn run(what: Option<&str>, seconds: u32) -> Result<()> {
    let home = Metadata::read()?.target_directory.join("fuzz");
    let known = targets()?;
    let chosen: Vec<&String> =
        known.iter().filter(|name| what.is_none_or(|what| what == *name)).collect();
    if chosen.is_empty() {
        bail!("there is no such target; there are {}", known.join(", "));
    }
    let build = ["build", "--release", "--package", "strait-fuzz", "--features", "run"];
    run_command(&mut cargo_with(FLAGS, &home, &build))?;
    for name in chosen {
        say(format_args!("fuzzing {name} for {seconds} s"));
        let corpus = home.join("corpus").join(name);
        fs::create_dir_all(&corpus)?;
        let failures = format!("-artifact_prefix={}/{name}-", home.display());
        let mut command = Command::new(binary(&home, name));
        command.arg(format!("-max_total_time={seconds}")).arg(failures).arg(&corpus);
        run_command(&mut command).with_context(|| format!("{name} failed"))?;
    }
    Ok(())
}

fn binary(home: &Path, name: &str) -> std::path::PathBuf {
    home.join(PLATFORM).join("release").join(name)
}

/// The names of the targets.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}
