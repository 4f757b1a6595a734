//! `cargo xtask tidy`: the rules of CONTRIBUTING.md that no compiler checks.
//!
//! Every check is a function from what was read to what is wrong, tested as a table; only this
//! module reads files.

mod deny;
mod dependencies;
mod files;
mod layers;
mod licence;
mod links;
mod manifest;
pub(crate) mod walk;

use std::fmt;
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::command::root;
use crate::metadata::Metadata;
use crate::say;

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Relative to the workspace.
    path: String,
    /// From 1; none where it concerns the whole file.
    line: Option<usize>,
    /// It should be better, and does not fail.
    warning: bool,
    message: String,
}

impl Finding {
    fn new(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, warning: false, message: message.into() }
    }

    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::new(path, message) }
    }

    fn warning(path: &str, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::new(path, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let severity = if self.warning { " warning:" } else { "" };
        write!(f, ":{severity} {}", self.message)
    }
}

/// Checks everything and says all that is wrong.
///
/// # Errors
/// Something is wrong, or something cannot be read.
pub(crate) fn run() -> Result<()> {
    let mut findings = check()?;
    findings.sort();
    for finding in &findings {
        say(finding);
    }
    match findings.iter().filter(|finding| !finding.warning).count() {
        0 => Ok(()),
        wrong => bail!("{wrong} against the rules of CONTRIBUTING.md"),
    }
}

fn check() -> Result<Vec<Finding>> {
    let root = root();
    let read = |path: &str| {
        fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
    };
    let tree = walk::walk(&root)?;
    let metadata = Metadata::read()?;
    let workspace = read("Cargo.toml")?;
    let mut findings = Vec::new();
    for path in tree.files() {
        findings.extend(files::check_name(path));
        if files::is_text(path) {
            let text = read(path)?;
            findings.extend(files::check(path, &text));
            if path.ends_with("Cargo.toml") {
                findings.extend(manifest::check(path, &text, &workspace));
            }
            if path.ends_with(".md") {
                findings.extend(links::check(path, &text, &tree));
            }
        }
    }
    findings.extend(manifest::check_run("Cargo.toml", &workspace));
    let asked = manifest::workspace_dependencies(&workspace);
    findings.extend(dependencies::check(&asked, &read(dependencies::PAGE)?, &metadata));
    findings.extend(deny::check(&read(deny::FILE)?, &metadata));
    findings.extend(layers::check(&read(layers::PAGE)?, &metadata, &root));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_compilers_write_them() {
        assert_eq!(Finding::at("a.rs", 3, "no").to_string(), "a.rs:3: no");
        assert_eq!(Finding::warning("a.rs", "long").to_string(), "a.rs: warning: long");
    }
}
