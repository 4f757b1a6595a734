//! Python's packages of gRPC, WebSocket and HTTP/2, with which the relay is tested.
//!
//! pip gets them below the build directory, in the versions and with the hashes of
//! `python.txt`; nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::run;
use crate::say;

/// The Python of the machine, whose version the packages are for.
const PYTHON: &str = "/usr/bin/python3";
const REQUIREMENTS: &str = include_str!("python.txt");
/// Says what is in the directory, which is complete once it has its name.
const STAMP: &str = "REQUIREMENTS";

/// The directory with the packages, for `PYTHONPATH`.
///
/// # Errors
/// There is no Python with pip, no way to its index, or no package for this version.
pub(crate) fn ensure(target: &Path) -> Result<PathBuf> {
    let directory = target.join("tools/python");
    if fs::read_to_string(directory.join(STAMP)).is_ok_and(|stamp| stamp == REQUIREMENTS) {
        return Ok(directory);
    }
    say("getting packages of Python with pip");
    let unfinished = target.join(format!("tools/.python.{}", std::process::id()));
    fs::create_dir_all(&unfinished)?;
    let file = unfinished.join(STAMP);
    fs::write(&file, REQUIREMENTS)?;
    let mut pip = Command::new(PYTHON);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]);
    pip.args(["--only-binary", ":all:", "--root-user-action=ignore", "--target"]).arg(&unfinished);
    let got = run(pip.arg("--requirement").arg(&file));
    let _ = fs::remove_dir_all(&directory);
    let moved = got.and_then(|()| Ok(fs::rename(&unfinished, &directory)?));
    let _ = fs::remove_dir_all(&unfinished);
    moved.with_context(|| format!("cannot get packages; `{PYTHON} -m pip` is needed"))?;
    Ok(directory)
}
