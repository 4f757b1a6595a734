//! Rules for single files: length, module documentation, words that must not stay, blanks.

use super::Finding;
use crate::rows;

/// Lines of a source file that should not be exceeded.
const LINES_WISHED: usize = 500;
/// Lines that must not be.
const LINES_MAX: usize = 700;

/// Text that people write. Test data is what other programs wrote, and stays as it was.
const TEXT: [&str; 6] = [".rs", ".md", ".toml", ".yaml", ".sh", ".ci/run"];
const DATA: [&str; 2] = ["/testdata/", "/kinds/"];

/// What must not be committed, and why. Split, for this file is checked as well.
const WORDS: [(&str, &str); 4] = [
    (concat!("todo", "!("), "unfinished code"),
    (concat!("unimplemented", "!("), "unfinished code"),
    (concat!("dbg", "!("), "left from debugging"),
    (concat!("#![ig", "nore"), "a test that does not run proves nothing"),
];

/// Files that `strait completions` writes.
const COMPLETIONS: [&str; 5] =
    ["_strait", "strait.bash", "strait.fish", "strait.elv", "_strait.ps1"];

/// Whether a path is text that people write.
pub(crate) fn is_text(path: &str) -> bool {
    TEXT.iter().any(|end| path.ends_with(end)) && !DATA.iter().any(|data| path.contains(data))
}

/// Checks what a file is called.
pub(crate) fn check_name(path: &str) -> Option<Finding> {
    let name = path.rsplit('/').next().unwrap_or(path);
    COMPLETIONS
        .contains(&name)
        .then(|| Finding::new(path, "completions are generated where they are installed"))
}

/// Checks what is in a file.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = blanks(path, text);
    if path.ends_with(".rs") {
        findings.extend(length(path, text));
        findings.extend(documentation(path, text));
        findings.extend(words(path, text));
        findings.extend(reasons(path, text));
        let left_out = rows::check(path, text);
        findings.extend(left_out.into_iter().map(|(line, why)| {
            Finding::at(path, line, format!("a test that does not run proves nothing: it {why}"))
        }));
    }
    findings
}

fn blanks(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        if line.contains('\t') {
            findings.push(Finding::at(path, number, "a tab"));
        }
        if line.ends_with([' ', '\r']) {
            findings.push(Finding::at(path, number, "a blank at the end of the line"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding::new(path, "no line feed at the end"));
    }
    findings
}

fn length(path: &str, text: &str) -> Option<Finding> {
    let message = |lines, limit| format!("{lines} lines; a file holds one concept, under {limit}");
    match text.lines().count() {
        lines if lines > LINES_MAX => Some(Finding::new(path, message(lines, LINES_MAX))),
        lines if lines > LINES_WISHED => Some(Finding::warning(path, message(lines, LINES_WISHED))),
        _ => None,
    }
}

fn documentation(path: &str, text: &str) -> Option<Finding> {
    (!text.starts_with("//!"))
        .then(|| Finding::at(path, 1, "no module documentation (`//!`) at the top"))
}

fn words(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (word, reason) in WORDS {
            if code(line).contains(word) {
                findings.push(Finding::at(path, number, format!("`{word}`: {reason}")));
            }
        }
    }
    findings
}

/// Attributes that allow something must say why.
fn reasons(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for start in [concat!("#[al", "low("), concat!("#![al", "low(")] {
        for (at, _) in text.match_indices(start) {
            let line_start = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let end = text[at..].find(")]").map_or(text.len(), |end| at + end);
            let commented = code(&text[line_start..at]).len() < at - line_start;
            if !commented && !text[at..end].contains("reason = ") {
                let number = text[..at].matches('\n').count() + 1;
                findings.push(Finding::at(path, number, "a lint is allowed without a reason"));
            }
        }
    }
    findings
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(path, text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn finds_what_must_not_stay_in_a_file() {
        let allow = concat!("#[al", "low(dead_code)]");
        let reasoned = concat!("#[al", "low(dead_code, reason = \"x\")]");
        let across = concat!("#[al", "low(\n    dead_code,\n    reason = \"x\"\n)]");
        let todo = concat!("todo", "!()");
        let table: [(&str, String, &[&str]); 10] = [
            ("a.rs", "//! Doc.\n".into(), &[]),
            ("a.rs", "fn a() {}\n".into(), &["a.rs:1: no module documentation (`//!`) at the top"]),
            ("a.rs", "//! Doc. \n".into(), &["a.rs:1: a blank at the end of the line"]),
            ("a.md", "a\tb\n".into(), &["a.md:1: a tab"]),
            ("a.md", "a".into(), &["a.md: no line feed at the end"]),
            ("a.rs", format!("//! D.\n{allow}\n"), &["a.rs:2: a lint is allowed without a reason"]),
            ("a.rs", format!("//! D.\n{reasoned}\n{across}\n"), &[]),
            ("a.rs", format!("//! D.\n// not {allow}\n"), &[]),
            ("a.rs", format!("//! D.\n{todo}\n"), &["a.rs:2: `todo!(`: unfinished code"]),
            ("a.rs", format!("//! D.\n// not {todo}\n"), &[]),
        ];
        for (path, text, wanted) in table {
            assert_eq!(found(path, &text), wanted, "{text}");
        }
    }

    #[test]
    fn warns_of_a_long_file_and_refuses_a_very_long_one() {
        let lines = |count: usize| "//!\n".repeat(count);
        assert!(found("a.rs", &lines(LINES_WISHED)).is_empty());
        assert!(check("a.rs", &lines(LINES_WISHED + 1))[0].warning);
        assert!(check("a.rs", &lines(LINES_MAX))[0].warning);
        assert!(!check("a.rs", &lines(LINES_MAX + 1))[0].warning);
    }

    #[test]
    fn leaves_test_data_as_it_is() {
        for (path, wanted) in [
            ("crates/a/src/lib.rs", true),
            (".ci/run", true),
            ("crates/a/testdata/b.yaml", false),
            ("crates/a/kinds/b.yaml", false),
            ("Cargo.lock", false),
        ] {
            assert_eq!(is_text(path), wanted, "{path}");
        }
    }

    #[test]
    fn refuses_generated_completions() {
        assert!(check_name("deploy/strait.fish").is_some());
        assert!(check_name("crates/strait/src/main.rs").is_none());
    }
}
