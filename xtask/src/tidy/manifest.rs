//! Rules for manifests.

use super::Finding;

/// Checks that a crate inherits the workspace's lints, or, where it must differ in one, repeats
/// them all: cargo cannot inherit and change.
pub(crate) fn check(path: &str, text: &str, workspace: &str) -> Option<Finding> {
    let has = |name: &str| text.lines().any(|line| line.trim() == name);
    if !has("[package]") {
        return None;
    }
    if section(text, "[lints]").any(|line| line.replace(' ', "") == "workspace=true") {
        return None;
    }
    let missing: Vec<&str> = ["rust", "clippy"]
        .into_iter()
        .flat_map(|tool| {
            let own: Vec<&str> = names(section(text, &format!("[lints.{tool}]"))).collect();
            let all: Vec<&str> =
                names(section(workspace, &format!("[workspace.lints.{tool}]"))).collect();
            all.into_iter().filter(move |lint| !own.contains(lint)).collect::<Vec<_>>()
        })
        .collect();
    (!missing.is_empty()).then(|| {
        let message =
            format!("neither inherits the workspace's lints nor has {}", missing.join(", "));
        Finding::new(path, message)
    })
}

/// Checks that `cargo run` runs the one program there is, and needs no `--bin`.
pub(crate) fn check_run(path: &str, workspace: &str) -> Option<Finding> {
    let one = r#"default-members=["crates/strait"]"#;
    let is_one = section(workspace, "[workspace]").any(|line| line.replace(' ', "") == one);
    (!is_one).then(|| Finding::new(path, format!("[workspace] lacks {one}: `cargo run` needs it")))
}

/// The names of the other people's crates in `[workspace.dependencies]`.
pub(crate) fn workspace_dependencies(text: &str) -> Vec<String> {
    let theirs = section(text, "[workspace.dependencies]").filter(|line| !line.contains("path = "));
    names(theirs).map(str::to_owned).collect()
}

/// The lines of a section that are not blank or comments.
fn section<'a>(text: &'a str, header: &str) -> impl Iterator<Item = &'a str> {
    let header = header.to_owned();
    text.lines()
        .map(str::trim)
        .skip_while(move |line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn names<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_run_has_one_program() {
        let one = "[workspace]\ndefault-members = [\"crates/strait\"]\n";
        assert!(check_run("Cargo.toml", one).is_none());
        for other in ["[workspace]\n", "[workspace]\ndefault-members = [\"xtask\"]\n"] {
            assert!(check_run("Cargo.toml", other).is_some(), "{other}");
        }
    }

    #[test]
    fn every_crate_has_the_lints() {
        let workspace = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n\n\
                         [workspace.lints.clippy]\ntodo = \"warn\"\n";
        let own = "[package]\n[lints.rust]\nunsafe_code = \"deny\"\n[lints.clippy]\n";
        for (text, wanted) in [
            ("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n".to_owned(), None),
            (format!("{own}todo = \"warn\"\n"), None),
            (own.to_owned(), Some("todo")),
            ("[package]\n\n[dependencies]\nworkspace = true\n".into(), Some("unsafe_code, todo")),
            ("[workspace]\nmembers = []\n".into(), None),
        ] {
            let found = check("Cargo.toml", &text, workspace).map(|finding| finding.message);
            let wanted = wanted
                .map(|lints| format!("neither inherits the workspace's lints nor has {lints}"));
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn lists_the_dependencies_that_are_not_ours() {
        let text = "[workspace.dependencies]\n# ours\na = { path = \"a\" }\n\n# theirs\n\
                    b = { version = \"1\" }\nc = \"2\"\n\n[workspace.lints.rust]\nd = \"warn\"\n";
        assert_eq!(workspace_dependencies(text), ["b", "c"]);
    }
}
