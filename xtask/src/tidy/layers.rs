//! The direction of dependencies. `ARCHITECTURE.md` has a table of layers, lowest first, with the
//! crates of each in order. A crate depends only on crates of lower rows and on those to its left
//! in its own; its tests on any of its own row or below. The layer in each manifest says the same.

use std::collections::BTreeMap;
use std::path::Path;

use super::Finding;
use crate::metadata::{Metadata, Package};

/// The page with the table.
pub(crate) const PAGE: &str = "ARCHITECTURE.md";
/// How the table begins.
const HEADER: &str = "| layer | crates |";

/// Controllers are clients of an API, whoever serves it: they know nothing of how it is served.
const CONTROLLERS: &str = "controllers/";
const SERVERS: [&str; 2] = ["apiserver", "workspaces"];

/// Where a crate stands: row, then position in the row.
type Place = (usize, usize);

/// Checks every crate's place and what it depends on.
pub(crate) fn check(page: &str, metadata: &Metadata, root: &Path) -> Vec<Finding> {
    let places = places(page);
    let by_package: BTreeMap<&str, String> =
        metadata.ours().map(|package| (package.name.as_str(), short_name(package, root))).collect();
    let mut findings = numbers(&places, metadata, root);
    for package in metadata.ours() {
        let name = &by_package[package.name.as_str()];
        let Some(place) = places.get(name.as_str()) else {
            findings
                .push(Finding::new(PAGE, format!("`{name}` is in no row of the table of layers")));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(other) = by_package.get(dependency.name.as_str()) else { continue };
            let Some(other_place) = places.get(other.as_str()) else { continue };
            let mistake = if dependency.development {
                (other_place.0 > place.0)
                    .then(|| format!("its tests use `{other}` of a higher layer"))
            } else {
                mistake(name, *place, other, *other_place)
            };
            findings.extend(mistake.map(|mistake| Finding::new(&manifest(package, root), mistake)));
        }
    }
    for name in places.keys() {
        if !by_package.values().any(|existing| existing == name) {
            findings.push(Finding::new(PAGE, format!("`{name}` does not exist")));
        }
    }
    findings
}

/// The places that the table gives.
fn places(page: &str) -> BTreeMap<&str, Place> {
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with(HEADER))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut places = BTreeMap::new();
    for (row, line) in rows.enumerate() {
        let crates = line.split('|').nth(2).unwrap_or_default();
        for (position, name) in crates.split('`').skip(1).step_by(2).enumerate() {
            places.insert(name, (row, position));
        }
    }
    places
}

fn mistake(name: &str, place: Place, other: &str, other_place: Place) -> Option<String> {
    if name.starts_with(CONTROLLERS) && SERVERS.contains(&other) {
        return Some(format!("a controller depends on `{other}`"));
    }
    match other_place {
        (row, _) if row > place.0 => Some(format!("depends on `{other}` of a higher layer")),
        (row, position) if row == place.0 && position >= place.1 => {
            Some(format!("depends on `{other}`, which is to its right in its layer"))
        }
        _ => None,
    }
}

/// The numbers in manifests rise from row to row and are the same within one.
fn numbers(places: &BTreeMap<&str, Place>, metadata: &Metadata, root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_order: Vec<(Place, f64, String)> = Vec::new();
    for package in metadata.ours() {
        let path = manifest(package, root);
        let Some(layer) = package.layer else {
            findings.push(Finding::new(&path, "no `package.metadata.strait.layer`"));
            continue;
        };
        if let Some(place) = places.get(short_name(package, root).as_str()) {
            in_order.push((*place, layer, path));
        }
    }
    in_order.sort_by_key(|(place, ..)| *place);
    for pair in in_order.windows(2) {
        let ((before, lower, _), (place, layer, path)) = (&pair[0], &pair[1]);
        let fits = if before.0 == place.0 { lower == layer } else { lower < layer };
        if !fits {
            let message = format!("layer {layer} does not fit its row in {PAGE}, after {lower}");
            findings.push(Finding::new(path, message));
        }
    }
    findings
}

/// A crate's directory, without `crates/`: the name that the table has.
fn short_name(package: &Package, root: &Path) -> String {
    let path = manifest(package, root);
    let directory = path.strip_suffix("/Cargo.toml").unwrap_or(&path);
    directory.strip_prefix("crates/").unwrap_or(directory).to_owned()
}

fn manifest(package: &Package, root: &Path) -> String {
    package.manifest.strip_prefix(root).unwrap_or(&package.manifest).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    const TABLE: &str = "\
# Layers
| layer | crates |
|---|---|
| 0 pure | `types`, `machinery` (trees) |
| 2 service | `apiserver`, `workspaces` |
| 2b controller | `controllers/requests` |
| 4 binary | `strait` |

`not` in the table
";
    const ALL: [(&str, f64); 6] = [
        ("types", 0.0),
        ("machinery", 0.0),
        ("apiserver", 2.0),
        ("workspaces", 2.0),
        ("controllers/requests", 2.5),
        ("strait", 4.0),
    ];

    fn workspace(from: &str, to: &str, development: bool) -> Metadata {
        let packages = ALL.iter().map(|(name, layer)| Package {
            name: format!("strait-{name}"),
            manifest: format!("/w/crates/{name}/Cargo.toml").into(),
            ours: true,
            layer: Some(*layer),
            dependencies: Vec::from_iter((*name == from).then(|| Dependency {
                name: format!("strait-{to}"),
                development,
                default_features: true,
                local: true,
                requirement: "*".into(),
            })),
            ..Package::default()
        });
        Metadata { packages: packages.collect(), ..Metadata::default() }
    }

    fn found(page: &str, metadata: &Metadata) -> Vec<String> {
        check(page, metadata, Path::new("/w")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dependencies_point_down_and_left() {
        let controllers =
            "crates/controllers/requests/Cargo.toml: a controller depends on `apiserver`";
        for (from, to, development, wanted) in [
            ("apiserver", "types", false, None),
            ("machinery", "types", false, None),
            ("strait", "controllers/requests", false, None),
            (
                "types",
                "machinery",
                false,
                Some(
                    "crates/types/Cargo.toml: depends on `machinery`, which is to its right in its layer",
                ),
            ),
            ("types", "machinery", true, None),
            (
                "types",
                "apiserver",
                false,
                Some("crates/types/Cargo.toml: depends on `apiserver` of a higher layer"),
            ),
            (
                "types",
                "apiserver",
                true,
                Some("crates/types/Cargo.toml: its tests use `apiserver` of a higher layer"),
            ),
            ("controllers/requests", "apiserver", false, Some(controllers)),
            ("controllers/requests", "apiserver", true, None),
        ] {
            let found = found(TABLE, &workspace(from, to, development));
            assert_eq!(found, Vec::from_iter(wanted), "{from} → {to}");
        }
    }

    #[test]
    fn the_table_and_the_manifests_agree() {
        let all = workspace("", "", false);
        assert!(found(TABLE, &all).is_empty());
        let more = TABLE.replace("`types`,", "`types`, `blob`,");
        assert_eq!(found(&more, &all), ["ARCHITECTURE.md: `blob` does not exist"]);
        let less = TABLE.replace("`types`, ", "");
        let absent = "ARCHITECTURE.md: `types` is in no row of the table of layers";
        assert_eq!(found(&less, &all), [absent]);

        let mut renumbered = all;
        renumbered.packages[1].layer = Some(1.0);
        let number =
            "crates/machinery/Cargo.toml: layer 1 does not fit its row in ARCHITECTURE.md, after 0";
        assert_eq!(found(TABLE, &renumbered), [number]);
        renumbered.packages[1].layer = None;
        let number = "crates/machinery/Cargo.toml: no `package.metadata.strait.layer`";
        assert_eq!(found(TABLE, &renumbered), [number]);
    }
}
