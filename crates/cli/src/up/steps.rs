//! What people see while things start: on a terminal, one line that changes.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use strait_runtime::Clock;

/// The steps of a start.
pub(super) struct Steps {
    terminal: bool,
    clock: Arc<dyn Clock>,
    began: Duration,
}

impl Steps {
    /// Nothing has begun.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let began = clock.monotonic();
        Self { terminal: std::io::stderr().is_terminal(), clock, began }
    }

    /// A step begins.
    pub(super) fn next(&self, what: &str) {
        if self.terminal {
            let passed = self.clock.monotonic().saturating_sub(self.began);
            say(&format!("\r\x1b[K{:>5.1} s  {what}…", passed.as_secs_f32()));
        }
    }

    /// A line that stays.
    pub(super) fn say(&self, line: &str) {
        self.finish();
        say(&format!("{line}\n"));
    }

    /// Takes the changing line away.
    pub(super) fn finish(&self) {
        if self.terminal {
            say("\r\x1b[K");
        }
    }
}

/// Talks. Whoever cannot read it does without.
pub(super) fn say(text: &str) {
    let mut out = anstream::stderr().lock();
    drop(out.write_all(text.as_bytes()));
    drop(out.flush());
}
