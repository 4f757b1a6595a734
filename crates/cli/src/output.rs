//! What commands print on standard output.

use std::io::{self, Write};

use clap::ValueEnum;
use strait_machinery::json::Value;
use strait_machinery::yaml;

/// Spaces between columns, as kubectl has them.
const GAP: usize = 3;

/// Prints rows in columns as wide as their widest cell; the last one ends where it ends. Control
/// characters are escaped: cells hold what others wrote, and a terminal would obey them.
///
/// # Errors
/// The output takes no more, for example because its reader has gone.
pub(crate) fn table(rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
    Columns::default().print(rows, out)
}

/// Columns that stay where they are while rows come one by one.
#[derive(Default)]
pub(crate) struct Columns(Vec<usize>);

impl Columns {
    /// Prints rows, with the columns at least as wide as before; see [`table`].
    ///
    /// # Errors
    /// The output takes no more.
    pub(crate) fn print(&mut self, rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
        for row in &rows {
            self.0.resize(self.0.len().max(row.len()), 0);
            for (width, cell) in self.0.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count() + GAP);
            }
        }
        for row in &rows {
            let Some((last, cells)) = row.split_last() else {
                continue;
            };
            for (cell, width) in cells.iter().zip(&self.0) {
                write!(out, "{cell:<width$}")?;
            }
            writeln!(out, "{last}")?;
        }
        Ok(())
    }
}

/// Formats of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerFormat {
    Json,
    Yaml,
    Name,
}

/// An answer as it is printed: in no format the one text that it was asked for.
pub(crate) fn answer(
    format: Option<AnswerFormat>,
    value: &Value,
    text: &str,
    name: &str,
) -> String {
    match format {
        None => format!("{text}\n"),
        Some(AnswerFormat::Name) => format!("{name}\n"),
        Some(AnswerFormat::Json) => {
            format!("{}\n", String::from_utf8_lossy(&value.to_pretty_bytes()))
        }
        Some(AnswerFormat::Yaml) => yaml::to_text(value),
    }
}

/// Says something on standard error.
pub(crate) fn note(text: &str) {
    // Talk: whoever cannot read it does without.
    // In one piece: a program that runs beside it may write there too.
    let _ = anstream::stderr().lock().write_all(format!("strait: {text}\n").as_bytes());
}

/// A text without control characters.
pub(crate) fn printable(text: &str) -> String {
    let escaped =
        |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["NAME", "AGE"], ["a-long-one", "1s"], ["ü\x1b[2J", "10m"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        table(&rows, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "NAME         AGE\na-long-one   1s\nü\\u{1b}[2J   10m\n");
        let mut columns = Columns::default();
        let mut out = Vec::new();
        for row in [["NAME", "AGE"], ["a-long-one", "1s"], ["b", "2s"]] {
            columns.print(&[row.map(str::to_owned).to_vec()], &mut out).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "NAME   AGE\na-long-one   1s\nb            2s\n");
    }
}
