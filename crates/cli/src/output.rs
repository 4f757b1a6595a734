//! What commands print on standard output.

use std::io::{self, Write};

/// Spaces between columns, as kubectl has them.
const GAP: usize = 3;

/// Prints rows in columns as wide as their widest cell; the last one ends where it ends. Control
/// characters are escaped: cells hold what others wrote, and a terminal would obey them.
///
/// # Errors
/// The output takes no more, for example because its reader has gone.
pub(crate) fn table(rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or_default() + GAP).collect();
    for row in &rows {
        let Some((last, cells)) = row.split_last() else {
            continue;
        };
        for (cell, width) in cells.iter().zip(&widths) {
            write!(out, "{cell:<width$}")?;
        }
        writeln!(out, "{last}")?;
    }
    Ok(())
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
    }
}
