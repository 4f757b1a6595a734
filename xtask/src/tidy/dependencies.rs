//! Rules for what is built in that other people wrote: every crate that a manifest asks for is
//! in `docs/dependencies.md` with its licence and its reason, without default features, from
//! crates.io.

use std::collections::BTreeMap;

use super::Finding;
use crate::metadata::{Metadata, Package};

/// The page with a line for each.
pub(crate) const PAGE: &str = "docs/dependencies.md";
const MANIFEST: &str = "Cargo.toml";

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks the page against what is asked for and what cargo resolved.
pub(crate) fn check(asked: &[String], page: &str, metadata: &Metadata) -> Vec<Finding> {
    let mut findings = documented(asked, &rows(page), metadata);
    for package in metadata.ours() {
        findings.extend(default_features(package));
    }
    findings.extend(metadata.packages.iter().filter_map(source));
    findings
}

/// A line of the page: line number, licence, reason.
type Row<'a> = (usize, &'a str, &'a str);

/// The lines of the page's tables, by crate.
fn rows(page: &str) -> BTreeMap<&str, Row<'_>> {
    let mut rows = BTreeMap::new();
    for (number, line) in (1..).zip(page.lines()) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", name, licence, reason, ""] = cells[..]
            && let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'))
        {
            rows.insert(name, (number, licence, reason));
        }
    }
    rows
}

fn documented(
    asked: &[String],
    rows: &BTreeMap<&str, Row<'_>>,
    metadata: &Metadata,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in asked {
        let Some((line, licence, reason)) = rows.get(name.as_str()) else {
            findings.push(Finding::new(PAGE, format!("no line for `{name}`")));
            continue;
        };
        if reason.is_empty() {
            findings.push(Finding::at(PAGE, *line, format!("no reason for `{name}`")));
        }
        match metadata
            .packages
            .iter()
            .find(|package| package.name == *name && package.source.is_some())
        {
            Some(package) if package.licence != *licence => {
                let message = format!("the licence of `{name}` is {}", package.licence);
                findings.push(Finding::at(PAGE, *line, message));
            }
            Some(_) => {}
            None => {
                let message = format!("no crate uses `{name}`");
                findings.push(Finding::warning(MANIFEST, message));
            }
        }
    }
    for (name, (line, ..)) in rows {
        if !asked.iter().any(|asked| asked == name) {
            findings.push(Finding::at(PAGE, *line, format!("nothing asks for `{name}` any more")));
        }
    }
    findings
}

fn default_features(package: &Package) -> Vec<Finding> {
    let theirs = package.dependencies.iter().filter(|dependency| !dependency.local);
    let mut findings = Vec::new();
    for dependency in theirs {
        if dependency.default_features {
            let message = format!("`{}` of {} has default features", dependency.name, package.name);
            findings.push(Finding::new(MANIFEST, message));
        }
        if dependency.requirement == "*" {
            let message = format!("`{}` of {} has no version", dependency.name, package.name);
            findings.push(Finding::new(MANIFEST, message));
        }
    }
    findings
}

fn source(package: &Package) -> Option<Finding> {
    let source = package.source.as_deref()?;
    (source != CRATES_IO).then(|| {
        Finding::new(MANIFEST, format!("{} comes from {source}, not crates.io", package.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn theirs(name: &str, licence: &str, source: &str) -> Package {
        Package {
            name: name.into(),
            licence: licence.into(),
            source: Some(source.into()),
            ..Package::default()
        }
    }

    fn found(asked: &[&str], page: &str, packages: Vec<Package>) -> Vec<String> {
        let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
        let metadata = Metadata { packages, ..Metadata::default() };
        check(&asked, page, &metadata).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_dependency_has_a_line_with_its_licence_and_a_reason() {
        let packages = vec![theirs("a", "MIT", CRATES_IO), theirs("b", "ISC", CRATES_IO)];
        let page = "| crate | licence | why |\n|---|---|---|\n| `a` | MIT | because |\n";
        for (asked, page, wanted) in [
            (&["a"][..], page.to_owned(), &[][..]),
            (&["a", "b"], page.into(), &["docs/dependencies.md: no line for `b`"]),
            (
                &["a"],
                page.replace("MIT", "ISC"),
                &["docs/dependencies.md:3: the licence of `a` is MIT"],
            ),
            (&["a"], page.replace("because ", ""), &["docs/dependencies.md:3: no reason for `a`"]),
            (&[], page.into(), &["docs/dependencies.md:3: nothing asks for `a` any more"]),
            (
                &["a", "c"],
                format!("{page}| `c` | MIT | because |\n"),
                &["Cargo.toml: warning: no crate uses `c`"],
            ),
        ] {
            assert_eq!(found(asked, &page, packages.clone()), wanted, "{page}");
        }
    }

    #[test]
    fn refuses_default_features_any_version_and_other_sources() {
        let dependency = |name: &str, default_features, local, requirement: &str| Dependency {
            name: name.into(),
            development: false,
            default_features,
            local,
            requirement: requirement.into(),
        };
        let ours = Package {
            name: "ours".into(),
            ours: true,
            dependencies: vec![
                dependency("with-defaults", true, false, "^1"),
                dependency("any", false, false, "*"),
                dependency("local", true, true, "*"),
            ],
            ..Package::default()
        };
        let git = theirs("forked", "MIT", "git+https://example.com/forked");
        let wanted = [
            "Cargo.toml: `with-defaults` of ours has default features",
            "Cargo.toml: `any` of ours has no version",
            "Cargo.toml: forked comes from git+https://example.com/forked, not crates.io",
        ];
        assert_eq!(found(&[], "", vec![ours, git]), wanted);
    }
}
