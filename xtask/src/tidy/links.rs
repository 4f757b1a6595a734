//! Links of Markdown pages that point into the repository point at something.

use super::Finding;
use super::walk::Tree;

/// Checks the links of one page.
pub(crate) fn check(path: &str, text: &str, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let targets = targets(line).filter(|_| !fenced);
        let broken = targets.filter(|target| resolve(path, target).is_none_or(|to| !tree.has(&to)));
        findings.extend(
            broken.map(|target| {
                Finding::at(path, number, format!("{target} is not in the repository"))
            }),
        );
    }
    findings
}

/// What the links of a line point at, inline (`[text](target)`) and by reference
/// (`[name]: target`), without those that leave the repository or stay on the page.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    // Code is every second piece between backticks.
    let prose = line.split('`').step_by(2);
    let inline = prose.flat_map(|piece| piece.split("](").skip(1)).map(|rest| {
        let end = rest.find([')', ' ']).unwrap_or(rest.len());
        &rest[..end]
    });
    inline
        .chain(definition.map(|(_, target)| target.trim()))
        .map(|target| target.split('#').next().unwrap_or(target))
        .filter(|target| {
            !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")
        })
}

/// A target's path from the root; none where it leads out of the repository.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let directory = page.rsplit_once('/').map_or("", |(directory, _)| directory);
    let (directory, target) = match target.strip_prefix('/') {
        Some(absolute) => ("", absolute),
        None => (directory, target),
    };
    for part in directory.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_directories() {
        let tree = Tree::of(&["README.md", "docs/a.md", "docs/adr/0001.md"]);
        for (page, text, broken) in [
            ("README.md", "see [a](docs/a.md) and [them](docs/adr/)", &[][..]),
            ("README.md", "see [a](docs/a.md#part \"title\"), [here](#below)", &[]),
            ("docs/a.md", "back [up](../README.md), [root](/docs/adr/0001.md)", &[]),
            ("docs/a.md", "out [up](../../other)", &["../../other"]),
            ("docs/a.md", "[x](y.md) and [z](../z.md)", &["y.md", "../z.md"]),
            ("docs/a.md", "[x]: y.md", &["y.md"]),
            ("docs/a.md", "[x](https://example.com/y), [m](mailto:a@example.com)", &[]),
            ("docs/a.md", "```\n[x](y.md)\n```\nand `[x](y.md)`", &[]),
        ] {
            let found: Vec<String> =
                check(page, text, &tree).into_iter().map(|finding| finding.message).collect();
            let wanted: Vec<String> =
                broken.iter().map(|target| format!("{target} is not in the repository")).collect();
            assert_eq!(found, wanted, "{text}");
        }
    }
}
