//! What cargo knows of the workspace and of everything it depends on.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command::cargo;

/// The platform that a release runs on. Dependencies of others are not looked at.
pub(crate) const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The workspace and its resolved dependencies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    /// Where cargo builds.
    pub(crate) target_directory: PathBuf,
    /// Every package that is built.
    pub(crate) packages: Vec<Package>,
}

/// One package, at one version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression, empty where the package has none.
    pub(crate) licence: String,
    /// Registry or repository; none for a path.
    pub(crate) source: Option<String>,
    pub(crate) manifest: PathBuf,
    /// Whether it is a member of the workspace.
    pub(crate) ours: bool,
    /// `package.metadata.strait.layer`.
    pub(crate) layer: Option<f64>,
    /// What its manifest asks for.
    pub(crate) dependencies: Vec<Dependency>,
    /// Ids of the packages that it is built with.
    pub(crate) built_with: BTreeSet<String>,
}

/// One dependency in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only tests, examples and benchmarks need it.
    pub(crate) development: bool,
    /// The package's default features are on.
    pub(crate) default_features: bool,
    /// It is a path in the repository.
    pub(crate) local: bool,
    /// The version that is asked for.
    pub(crate) requirement: String,
}

impl Metadata {
    /// Asks cargo.
    ///
    /// # Errors
    /// Cargo fails: a manifest is wrong, or `Cargo.lock` is out of date.
    pub(crate) fn read() -> Result<Self> {
        let metadata = ["metadata", "--all-features", "--format-version", "1"];
        let metadata = ask(&[&metadata[..], &["--filter-platform", PLATFORM]].concat())?;
        // `cargo metadata` has what the lock file has, and that has packages that no feature asks
        // for; the tree is what is built.
        let tree = ["tree", "--workspace", "--all-features", "--target", PLATFORM];
        let tree = ask(&[&tree[..], &["--prefix", "none", "--format", "{p}"]].concat())?;
        let metadata = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
        Ok(Self::from_json(&metadata, &tree))
    }

    /// The packages of the workspace.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.ours)
    }

    fn from_json(metadata: &Value, tree: &str) -> Self {
        let built: BTreeSet<(&str, &str)> =
            tree.lines().filter_map(|line| line.split_once(" v")).map(named).collect();
        let members: BTreeSet<&str> = strings(&metadata["workspace_members"]).collect();
        let nodes = array(&metadata["resolve"]["nodes"]);
        let built_with = |id: &Value| {
            let node = nodes.iter().find(|node| node["id"] == *id).unwrap_or(&Value::Null);
            strings(&node["dependencies"]).map(str::to_owned).collect()
        };
        let packages = array(&metadata["packages"])
            .iter()
            .filter(|package| built.contains(&(text(&package["name"]), text(&package["version"]))))
            .map(|package| Package {
                ours: members.contains(text(&package["id"])),
                built_with: built_with(&package["id"]),
                ..Package::from_json(package)
            });
        Self {
            target_directory: text(&metadata["target_directory"]).into(),
            packages: packages.collect(),
        }
    }
}

/// Name and version of a line `name v1.2.3 (more)` that was split at the `v`.
fn named<'a>((name, rest): (&'a str, &'a str)) -> (&'a str, &'a str) {
    (name, rest.split(' ').next().unwrap_or(rest))
}

/// What cargo says to a question about the workspace as it is locked.
fn ask(question: &[&str]) -> Result<String> {
    let output = cargo(question).arg("--locked").output().context("cannot run cargo")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("cargo {} failed:\n{}", question[0], error.trim());
    }
    String::from_utf8(output.stdout).context("cargo did not answer in UTF-8")
}

impl Package {
    fn from_json(value: &Value) -> Self {
        Self {
            id: text(&value["id"]).to_owned(),
            name: text(&value["name"]).to_owned(),
            version: text(&value["version"]).to_owned(),
            licence: text(&value["license"]).to_owned(),
            source: value["source"].as_str().map(str::to_owned),
            manifest: text(&value["manifest_path"]).into(),
            ours: false,
            layer: value["metadata"]["strait"]["layer"].as_f64(),
            dependencies: array(&value["dependencies"]).iter().map(Dependency::from_json).collect(),
            built_with: BTreeSet::new(),
        }
    }
}

impl Dependency {
    fn from_json(value: &Value) -> Self {
        Self {
            name: text(&value["name"]).to_owned(),
            development: value["kind"] == "dev",
            default_features: value["uses_default_features"] == true,
            local: value["path"].is_string(),
            requirement: text(&value["req"]).to_owned(),
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    array(value).iter().map(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keeps_what_is_built_and_leaves_the_rest() {
        let package = |name: &str| {
            json!({
                "id": name, "name": name, "version": "1.0.0", "license": "MIT", "source": null,
                "manifest_path": "/w/Cargo.toml", "metadata": {"strait": {"layer": 2.5}},
                "dependencies": [
                    {"name": "x", "kind": "dev", "uses_default_features": true, "req": "^1"},
                ],
            })
        };
        let metadata = json!({
            "target_directory": "/t", "workspace_members": ["ours"],
            "packages": [package("ours"), package("theirs"), package("not-enabled")],
            "resolve": {"nodes": [
                {"id": "ours", "dependencies": ["theirs"]},
                {"id": "theirs", "dependencies": ["not-enabled"]},
                {"id": "not-enabled", "dependencies": []},
            ]},
        });
        let tree = "ours v1.0.0 (/w)\ntheirs v1.0.0\n\nnot-enabled v2.0.0 (*)\n";
        let metadata = Metadata::from_json(&metadata, tree);
        let names: Vec<&str> = metadata.packages.iter().map(|package| &*package.name).collect();
        assert_eq!(names, ["ours", "theirs"]);
        let ours: Vec<&Package> = metadata.ours().collect();
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].layer, Some(2.5));
        assert!(ours[0].built_with.contains("theirs"));
        assert!(ours[0].dependencies[0].development && ours[0].dependencies[0].default_features);
    }
}
