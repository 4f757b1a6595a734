//! `cargo xtask soak ROW…`: end-to-end tests that take more than two minutes, or more of a machine
//! than CI has.
//!
//! Each is left out elsewhere by an attribute that says what it takes and what runs it,
//! `ignore = "2 h; cargo xtask soak row_16"`, and its name begins with that row. `tidy` refuses
//! every other test that does not run.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::command::root;
use crate::tidy::walk::walk;
use crate::{print, test};

/// Where such tests are.
const TESTS: &str = "crates/strait/tests/e2e";
/// How the attribute begins. Split, for `tidy` looks for it.
pub(crate) const IGNORE: &str = concat!("#[ig", "nore");
/// What stands in its reason between what the test takes and its row.
const COMMAND: &str = "; cargo xtask soak ";

/// A test that is run by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    /// What it is run by: its name's beginning, `row_16`.
    row: String,
    /// Its name.
    test: String,
    /// Time, or what of a machine.
    takes: String,
}

/// Runs the tests of rows, one at a time, with the release binary; their figures are printed.
///
/// # Errors
/// There is no such row, the binary does not build, or a test fails.
pub(crate) fn run(rows: &[&str]) -> Result<()> {
    let tests = choose(&all()?, rows)?;
    let mut arguments = vec!["--test", "e2e", "--", "--ignored", "--nocapture", "--test-threads=1"];
    arguments.extend(tests.iter().map(String::as_str));
    test::end_to_end(&arguments)
}

/// Prints which rows there are.
///
/// # Errors
/// The tests cannot be read.
pub(crate) fn list() -> Result<()> {
    print(listed(&all()?));
    Ok(())
}

/// What is wrong with tests of a file that are left out: its line, and why.
pub(crate) fn check(path: &str, text: &str) -> Vec<(usize, &'static str)> {
    let wrong = |(line, row): (usize, Option<Row>)| match row {
        Some(_) if path.starts_with(TESTS) => None,
        Some(_) => Some((line, "is no end-to-end test, which alone are run by name")),
        None => {
            Some((line, "needs the reason `\"TIME; cargo xtask soak ROW\"` and a name `ROW_…`"))
        }
    };
    find(text).filter_map(wrong).collect()
}

fn all() -> Result<Vec<Row>> {
    let directory = root().join(TESTS);
    let mut rows = Vec::new();
    for file in walk(&directory)?.files().filter(|file| file.ends_with(".rs")) {
        let text = fs::read_to_string(directory.join(file))
            .with_context(|| format!("cannot read {TESTS}/{file}"))?;
        rows.extend(find(&text).filter_map(|(_, row)| row));
    }
    rows.sort();
    Ok(rows)
}

/// The tests of a file that are left out, by line; none where the attribute is not as it should be.
fn find(text: &str) -> impl Iterator<Item = (usize, Option<Row>)> {
    let lines = (1..).zip(text.lines());
    let starts = lines.filter(|(_, line)| line.trim_start().starts_with(IGNORE));
    starts.map(|(number, line)| {
        let name = text.lines().skip(number).find_map(|line| line.trim_start().strip_prefix("fn "));
        let name = name.and_then(|rest| rest.split_once('(')).map(|(name, _)| name);
        (number, name.and_then(|name| read(line, name)))
    })
}

/// A row from an attribute, and the name of the test below it.
fn read(attribute: &str, test: &str) -> Option<Row> {
    let reason = attribute.trim().strip_prefix(IGNORE)?.strip_prefix(" = \"")?;
    let (takes, row) = reason.strip_suffix("\"]")?.split_once(COMMAND)?;
    let rest = test.strip_prefix(row)?;
    let named = row.starts_with("row_") && rest.starts_with('_') && !takes.is_empty();
    named.then(|| Row { row: row.to_owned(), test: test.to_owned(), takes: takes.to_owned() })
}

/// The tests that words ask for: rows, or names of tests.
fn choose(rows: &[Row], words: &[&str]) -> Result<BTreeSet<String>> {
    let mut tests = BTreeSet::new();
    for word in words {
        let mut meant = rows.iter().filter(|row| row.row == *word || row.test == *word).peekable();
        if meant.peek().is_none() {
            bail!("there is no test of `{word}` to be run by name; there are\n{}", listed(rows));
        }
        tests.extend(meant.map(|row| row.test.clone()));
    }
    Ok(tests)
}

fn listed(rows: &[Row]) -> String {
    let line = |row: &Row| format!("  {:<8} {:<18} {}", row.row, row.takes, row.test);
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const E2E: &str = "crates/strait/tests/e2e/a.rs";

    /// A file with one test.
    fn file(reason: &str, name: &str) -> String {
        format!("//! D.\n\n#[test]\n{IGNORE}{reason}]\nfn {name}() {{}}\n")
    }

    #[test]
    fn a_test_that_is_left_out_says_how_it_is_run() {
        let good = file(" = \"2 h; cargo xtask soak row_16\"", "row_16_events");
        assert_eq!(check(E2E, &good), []);
        assert_eq!(check("crates/hub/tests/it/a.rs", &good).len(), 1);
        for (reason, name) in [
            ("", "row_16_events"),
            (" = \"2 h\"", "row_16_events"),
            (" = \"; cargo xtask soak row_16\"", "row_16_events"),
            (" = \"2 h; cargo xtask soak row_16\"", "row_17_events"),
            (" = \"2 h; cargo xtask soak row_1\"", "row_16_events"),
            (" = \"2 h; cargo xtask soak events\"", "events_come"),
        ] {
            assert_eq!(check(E2E, &file(reason, name))[0].0, 4, "{reason} {name}");
        }
    }

    #[test]
    fn a_word_chooses_all_tests_of_its_row_and_no_others() {
        let row = |row: &str, test: &str| Row {
            row: row.to_owned(),
            test: test.to_owned(),
            takes: "3 minutes".to_owned(),
        };
        let rows = [row("row_1", "row_1_a"), row("row_11", "row_11_b"), row("row_11", "row_11_c")];
        let chosen = |words: &[&str]| choose(&rows, words).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(chosen(&["row_1"]), ["row_1_a"]);
        assert_eq!(chosen(&["row_11"]), ["row_11_b", "row_11_c"]);
        assert_eq!(chosen(&["row_11_c", "row_1"]), ["row_11_c", "row_1_a"]);
        let error = choose(&rows, &["row_2"]).unwrap_err().to_string();
        assert!(error.contains("`row_2`") && error.contains("row_11_c"), "{error}");
    }
}
