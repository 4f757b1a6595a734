//! Programs of Debian: nginx, which the relay is measured beside and tested behind, PostgreSQL, and
//! LLVM's tool for profiles.
//!
//! Debian's packages, unpacked below the build directory and not installed. apt checks that they
//! are what Debian signed. Libraries that they need are this machine's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command::run;
use crate::say;

/// nginx.
///
/// # Errors
/// Not Debian, no way to its archive, or a library is missing. Nothing is left half done.
pub(crate) fn nginx(target: &Path) -> Result<PathBuf> {
    let home = ensure(target, "nginx", || Ok(vec!["nginx".into()]))?;
    check(home.join("usr/sbin/nginx"), "-v")
}

/// The directory of PostgreSQL's programs, in the version of this Debian.
///
/// # Errors
/// As for [`nginx`].
pub(crate) fn postgresql(target: &Path) -> Result<PathBuf> {
    let home = ensure(target, "postgresql", || {
        let version = postgresql_version()?;
        Ok(vec![format!("postgresql-{version}"), format!("postgresql-client-{version}")])
    })?;
    let versions = fs::read_dir(home.join("usr/lib/postgresql"))?.flatten().next();
    let programs = versions.context("Debian's PostgreSQL has no programs")?.path().join("bin");
    check(programs.join("postgres"), "--version")?;
    check(programs.join("psql"), "--version")?;
    Ok(programs)
}

/// What merges profiles of LLVM's, of this major version, ready to be given what it is to do.
///
/// # Errors
/// As for [`nginx`].
pub(crate) fn llvm_profdata(target: &Path, version: u32) -> Result<Command> {
    let installed = Path::new("/usr/lib").join(format!("llvm-{version}/bin/llvm-profdata"));
    if let Ok(program) = check(installed, "--version") {
        return Ok(Command::new(program));
    }
    let packages = || Ok(vec![format!("llvm-{version}"), format!("libllvm{version}")]);
    let home = ensure(target, &format!("llvm-{version}"), packages)?;
    let llvm = home.join(format!("usr/lib/llvm-{version}"));
    let libraries = [llvm.join("lib"), home.join("usr/lib/x86_64-linux-gnu")];
    let libraries = env::join_paths(libraries)?;
    let made = || {
        let mut command = Command::new(llvm.join("bin/llvm-profdata"));
        command.env("LD_LIBRARY_PATH", &libraries);
        command
    };
    check_command(made().arg("--version"))
        .with_context(|| format!("`apt-get install llvm-{version}` gets what it needs"))?;
    Ok(made())
}

/// The version that the package without one stands for.
fn postgresql_version() -> Result<String> {
    let mut depends = Command::new("apt-cache");
    let told = depends.args(["depends", "postgresql"]).output()?.stdout;
    let told = String::from_utf8(told)?;
    let version = told.lines().find_map(|line| line.trim().strip_prefix("Depends: postgresql-"));
    Ok(version.context("apt knows no postgresql")?.to_owned())
}

/// A directory with what packages hold.
fn ensure(
    target: &Path,
    name: &str,
    packages: impl FnOnce() -> Result<Vec<String>>,
) -> Result<PathBuf> {
    let directory = target.join("tools").join(name);
    if !directory.is_dir() {
        say(format_args!("getting Debian's {name} with apt-get"));
        let unfinished = target.join(format!("tools/.{name}.{}", std::process::id()));
        fs::create_dir_all(&unfinished)?;
        let unpacked = packages().and_then(|packages| unpack(&unfinished, &packages));
        let moved = unpacked.and_then(|unpacked| Ok(fs::rename(unpacked, &directory)?));
        let _ = fs::remove_dir_all(&unfinished);
        moved.with_context(|| format!("cannot get {name}; `apt-get update` may be needed"))?;
    }
    Ok(directory)
}

/// The program, where it runs.
fn check(program: PathBuf, version: &str) -> Result<PathBuf> {
    check_command(Command::new(&program).arg(version))?;
    Ok(program)
}

/// Fails where a command does.
fn check_command(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        let program = Path::new(command.get_program()).display();
        bail!("{program} does not run here: see `ldd` of it");
    }
    Ok(())
}

/// Downloads and unpacks into a directory below this one.
fn unpack(directory: &Path, packages: &[String]) -> Result<PathBuf> {
    let mut download = Command::new("apt-get");
    // The build directory need not be open to apt's own user.
    download.args(["-qq", "-o", "APT::Sandbox::User=root", "download"]).args(packages);
    run(download.current_dir(directory))?;
    let files = fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "deb")).collect();
    let unpacked = directory.join("unpacked");
    for package in files {
        run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&unpacked))?;
    }
    Ok(unpacked)
}
