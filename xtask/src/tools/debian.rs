//! nginx, which the relay is measured beside.
//!
//! Debian's package, unpacked below the build directory and not installed. apt checks that it is
//! what Debian signed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command::run;
use crate::say;

/// The program within the package.
const PROGRAM: &str = "usr/sbin/nginx";

/// The program, with what it needs of libraries from this machine.
///
/// # Errors
/// Not Debian, no way to its archive, or a library is missing. Nothing is left half done.
pub(crate) fn ensure(target: &Path) -> Result<PathBuf> {
    let directory = target.join("tools/nginx");
    let program = directory.join(PROGRAM);
    if !program.is_file() {
        say("getting Debian's nginx with apt-get");
        let unfinished = target.join(format!("tools/.nginx.{}", std::process::id()));
        fs::create_dir_all(&unfinished)?;
        let unpacked = unpack(&unfinished);
        let _ = fs::remove_dir_all(&directory);
        let moved = unpacked.and_then(|unpacked| Ok(fs::rename(unpacked, &directory)?));
        let _ = fs::remove_dir_all(&unfinished);
        moved.context("cannot get nginx; `apt-get update` may be needed")?;
    }
    let mut version = Command::new(&program);
    let status = version.arg("-v").stderr(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        bail!("{} does not run here: see `ldd` of it", program.display());
    }
    Ok(program)
}

/// Downloads and unpacks into a directory below this one.
fn unpack(directory: &Path) -> Result<PathBuf> {
    let mut download = Command::new("apt-get");
    // The build directory need not be open to apt's own user.
    download.args(["-qq", "-o", "APT::Sandbox::User=root", "download", "nginx"]);
    run(download.current_dir(directory))?;
    let files = fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    let package = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb"));
    let package = package.context("apt-get downloaded no package")?;
    let unpacked = directory.join("unpacked");
    run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&unpacked))?;
    Ok(unpacked)
}
