//! A bar on a terminal; nothing elsewhere.

use std::io::{IsTerminal as _, Write};

const WIDTH: u64 = 30;

/// How far something is, on one line of standard error.
pub(crate) struct Bar {
    terminal: bool,
    shown: bool,
}

impl Bar {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown: false }
    }

    /// Shows that `done` of `total` are done.
    pub(crate) fn show(&mut self, done: u64, total: u64, what: &str) {
        if self.terminal {
            self.shown = true;
            // Whoever cannot see it does without.
            let _ = write!(std::io::stderr().lock(), "\r{}\x1b[K", line(done, total, what));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn line(done: u64, total: u64, what: &str) -> String {
    let done = done.min(total);
    let full = (done * WIDTH).checked_div(total).unwrap_or(WIDTH);
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let cells: String = (0..WIDTH).map(|cell| if cell < full { '#' } else { '.' }).collect();
    format!("[{cells}] {percent:>3}% {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_grows() {
        for (done, total, full, percent) in [
            (0, 10, 0, "  0%"),
            (5, 10, 15, " 50%"),
            (10, 10, 30, "100%"),
            (0, 0, 30, "100%"),
            (9, 3, 30, "100%"),
        ] {
            let line = line(done, total, "x");
            assert_eq!(line.matches('#').count(), full, "{line}");
            assert!(line.contains(percent) && line.ends_with(" x"), "{line}");
        }
    }
}
