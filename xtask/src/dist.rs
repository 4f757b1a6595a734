//! `cargo xtask dist`: the binary that is shipped, built by what it does under load.
//!
//! A compiler that has seen a program run puts what runs often together and makes it fast, and
//! what seldom does small. So it is built twice: once with counters, to go through loads of the
//! benchmarks and a minute of the soak; then, by what those counted, with link-time optimisation.
//! Clang's and rustc's documentation call that profile-guided optimisation. It takes half an hour
//! on two cores, so neither tests nor `cargo build --release` do it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::bench::{in_release, train};
use crate::command::{cargo_with, run as run_command};
use crate::metadata::{Metadata, PLATFORM};
use crate::tools::debian;
use crate::{print, say};

/// The binary, below the build directory.
pub(crate) const DIST: &str = "dist/strait";

/// The loads: what clients of the API, requests, webhooks and the relay do.
const LOADS: [&str; 6] =
    ["crossing", "gets", "creates", "hooks-rates", "relay-small", "relay-bulk"];

/// Builds it and says where it is.
///
/// # Errors
/// It does not build, does not do what it is to be trained by, or there is no `llvm-profdata` that
/// reads what it counted.
pub(crate) fn run() -> Result<()> {
    if in_release(&["xtask"], &["dist"])? {
        return Ok(());
    }
    let target = Metadata::read()?.target_directory;
    let home = target.join("guided");
    let (counts, profile) = (home.join("counts"), home.join("strait.profdata"));
    // First, since half of the work is for nothing without them.
    let mut merge = profdata(&target)?;
    debian::nginx(&target)?;
    say("building with counters");
    let counting = build(&home, &format!("-Cprofile-generate={}", shown(&counts)?))?;
    // The other build is at the same place.
    let counting = moved(counting, &home.join("counting"))?;
    if counts.is_dir() {
        fs::remove_dir_all(&counts)?;
    }
    train(&target, counting, &LOADS)?;
    if !counts.is_dir() {
        bail!("nothing was counted: is LLVM_PROFILE_FILE set?");
    }
    run_command(merge.args(["merge", "--output"]).arg(&profile).arg(&counts))?;
    say("building by what was counted");
    let built = build(&home, &format!("-Cprofile-use={}", shown(&profile)?))?;
    fs::create_dir_all(target.join("dist"))?;
    let binary = moved(built, &target.join(DIST))?;
    print(binary.display());
    Ok(())
}

/// A copy at another place, where whoever runs the one before goes on running that.
fn moved(from: PathBuf, to: &Path) -> Result<PathBuf> {
    let unfinished = to.with_extension("new");
    fs::copy(from, &unfinished)?;
    fs::rename(unfinished, to)?;
    Ok(to.to_owned())
}

/// Builds with these flags. What counted and what is built by that must be optimised alike: counts
/// are of branches as the first passes leave them.
fn build(home: &Path, flags: &str) -> Result<PathBuf> {
    let arguments = ["build", "--package", "strait", "--profile", "dist", "--locked"];
    run_command(&mut cargo_with(flags, home, &arguments))?;
    Ok(home.join(PLATFORM).join("dist/strait"))
}

/// A path as a flag of the compiler's can say it: flags are told apart by blanks.
fn shown(path: &Path) -> Result<&str> {
    let text = path.to_str().filter(|text| !text.contains(char::is_whitespace));
    text.with_context(|| format!("{} must have no blanks in it", path.display()))
}

/// The tool that reads what this compiler's programs count: rustup's, or else Debian's.
fn profdata(target: &Path) -> Result<Command> {
    let own = said(&["--print", "sysroot"])?;
    let own = Path::new(own.trim()).join("lib/rustlib").join(PLATFORM).join("bin/llvm-profdata");
    if own.is_file() {
        return Ok(Command::new(own));
    }
    let version = said(&["--version", "--verbose"])?;
    let Some(version) = llvm_version(&version) else {
        bail!("rustc does not say which LLVM it has");
    };
    debian::llvm_profdata(target, version)
        .context("no llvm-profdata: `rustup component add llvm-tools` gets one")
}

/// What the compiler answers.
fn said(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc").args(arguments).output().context("cannot run rustc")?;
    if !output.status.success() {
        bail!("rustc {} failed: {}", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The major version in what `rustc --version --verbose` says.
fn llvm_version(said: &str) -> Option<u32> {
    let version = said.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_llvm_is_read() {
        for (said, expected) in [
            ("rustc 1.95.0\nrelease: 1.95.0\nLLVM version: 22.1.2\n", Some(22)),
            ("LLVM version: 22", Some(22)),
            ("LLVM version: x", None),
            ("rustc 1.95.0", None),
        ] {
            assert_eq!(llvm_version(said), expected, "{said}");
        }
    }

    #[test]
    fn a_path_with_blanks_is_no_flag() {
        assert_eq!(shown(Path::new("/a/b")).unwrap(), "/a/b");
        let error = shown(Path::new("/a b")).unwrap_err().to_string();
        assert_eq!(error, "/a b must have no blanks in it");
    }
}
