//! What `deny.toml` demands of the crates that are built in: their licences, which must not be
//! there, who alone may use them, and which must be there once only. It is checked here because
//! cargo-deny cannot be assumed; who has it gets the same answer, and advisories as well.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::Finding;
use super::licence::satisfied;
use crate::metadata::{Metadata, Package};

/// The file with the demands.
pub(crate) const FILE: &str = "deny.toml";

/// The demands that are checked here.
#[derive(Debug, Default)]
struct Demands<'a> {
    licences: BTreeSet<&'a str>,
    bans: Vec<Ban<'a>>,
}

/// An entry of `bans.deny`.
#[derive(Debug)]
struct Ban<'a> {
    name: &'a str,
    /// The crates that may use it, where it is not banned altogether.
    wrappers: Vec<&'a str>,
    /// It may be there, but once.
    once: bool,
}

/// Checks the packages that are built in.
pub(crate) fn check(file: &str, metadata: &Metadata) -> Vec<Finding> {
    let demands = read(file);
    if demands.licences.is_empty() || demands.bans.is_empty() {
        return vec![Finding::new(FILE, "no allowed licences, or no bans, were found in it")];
    }
    let mut findings = licences(&demands.licences, metadata);
    for ban in &demands.bans {
        findings.extend(banned(ban, metadata));
    }
    findings
}

/// Reads the two lists: `allow`, and `deny` with one entry a line.
fn read(file: &str) -> Demands<'_> {
    let list = |start: &str| {
        let at = file.find(start).map_or(file.len(), |at| at + start.len());
        let rest = &file[at..];
        &rest[..rest.find("\n]").or_else(|| rest.find(']')).unwrap_or(rest.len())]
    };
    let allow = list("\nallow = [");
    let allow = &allow[..allow.find(']').unwrap_or(allow.len())];
    Demands {
        licences: quoted(allow).collect(),
        bans: list("\ndeny = [").lines().filter_map(ban).collect(),
    }
}

fn ban(line: &str) -> Option<Ban<'_>> {
    let after = |key: &str| line.split_once(key).map(|(_, rest)| rest);
    let wrappers = after("wrappers = [").and_then(|rest| rest.split(']').next());
    Some(Ban {
        name: quoted(after("crate = ")?).next()?,
        wrappers: wrappers.map(|list| quoted(list).collect()).unwrap_or_default(),
        once: line.contains("deny-multiple-versions = true"),
    })
}

/// The strings in a text: what is between its first and second quotation mark, and so on.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

fn licences(allowed: &BTreeSet<&str>, metadata: &Metadata) -> Vec<Finding> {
    let met = RefCell::new(BTreeSet::new());
    let accepted = |licence: &str| {
        let accepted = allowed.get(licence);
        met.borrow_mut().extend(accepted);
        accepted.is_some()
    };
    let refused =
        metadata.packages.iter().filter(|package| !satisfied(&package.licence, &accepted));
    let mut findings: Vec<Finding> = refused
        .map(|package| {
            let (name, licence) = (&package.name, &package.licence);
            Finding::new(FILE, format!("the licence of {name}, {licence:?}, is not allowed"))
        })
        .collect();
    for licence in allowed.difference(&met.borrow()) {
        findings.push(Finding::new(FILE, format!("{licence} is allowed and nothing has it")));
    }
    findings
}

fn banned(ban: &Ban<'_>, metadata: &Metadata) -> Vec<Finding> {
    let found: Vec<&Package> =
        metadata.packages.iter().filter(|package| package.name == ban.name).collect();
    if ban.once {
        let versions: Vec<&str> = found.iter().map(|package| package.version.as_str()).collect();
        let message =
            || format!("{} is built {} times: {}", ban.name, found.len(), versions.join(", "));
        return (found.len() > 1).then(|| Finding::new(FILE, message())).into_iter().collect();
    }
    let users = metadata.packages.iter().filter(|package| {
        found.iter().any(|banned| package.built_with.contains(&banned.id))
            && !ban.wrappers.contains(&package.name.as_str())
    });
    users
        .map(|user| Finding::new(FILE, format!("{} must not use {}", user.name, ban.name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMANDS: &str = r#"
[licenses]
allow = ["MIT", "ISC"]

[bans]
deny = [
  { crate = "ring", reason = "another provider" },
  { crate = "sqlite", wrappers = ["store", "tests"] },
  { crate = "tls", deny-multiple-versions = true, reason = "providers" },
]
"#;

    fn package(name: &str, version: &str, licence: &str, built_with: &[&str]) -> Package {
        Package {
            id: format!("{name} {version}"),
            name: name.into(),
            version: version.into(),
            licence: licence.into(),
            built_with: built_with.iter().map(|id| (*id).to_owned()).collect(),
            ..Package::default()
        }
    }

    fn found(packages: Vec<Package>) -> Vec<String> {
        let metadata = Metadata { packages, ..Metadata::default() };
        check(DEMANDS, &metadata).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn demands_are_met_or_named() {
        let fine = || vec![package("a", "1", "MIT", &[]), package("b", "1", "MIT OR ISC", &[])];
        let with = |more: &[Package]| found([fine(), more.to_vec()].concat());
        assert!(with(&[]).is_empty());
        assert_eq!(
            with(&[package("c", "1", "GPL-3.0", &[])]),
            [r#"the licence of c, "GPL-3.0", is not allowed"#]
        );
        assert_eq!(
            found(vec![package("a", "1", "MIT", &[])]),
            ["ISC is allowed and nothing has it"]
        );
        let ring = package("ring", "1", "ISC", &[]);
        assert_eq!(with(&[ring, package("c", "1", "MIT", &["ring 1"])]), ["c must not use ring"]);
        let sqlite = package("sqlite", "1", "MIT", &[]);
        assert!(with(&[sqlite.clone(), package("store", "1", "MIT", &["sqlite 1"])]).is_empty());
        assert_eq!(
            with(&[sqlite, package("hub", "1", "MIT", &["sqlite 1"])]),
            ["hub must not use sqlite"]
        );
        let tls = |version: &str| package("tls", version, "MIT", &[]);
        assert!(with(&[tls("1")]).is_empty());
        assert_eq!(with(&[tls("1"), tls("2")]), ["tls is built 2 times: 1, 2"]);
    }

    #[test]
    fn a_file_that_demands_nothing_is_a_mistake() {
        assert_eq!(check("", &Metadata::default()).len(), 1);
    }
}
