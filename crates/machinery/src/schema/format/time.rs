//! Formats of times.

use std::sync::LazyLock;

use jiff::civil::Date;
use regex::Regex;

/// `2006-01-02`, a day that exists (RFC 3339 full-date).
pub(super) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, c)| match at {
            4 | 7 => *c == b'-',
            _ => c.is_ascii_digit(),
        });
    let number = |from: usize, to: usize| text[from..to].parse::<i16>().unwrap_or(-1);
    let small = |from: usize, to: usize| text[from..to].parse::<i8>().unwrap_or(-1);
    shape && Date::new(number(0, 4), small(5, 7), small(8, 10)).is_ok()
}

/// A date, `T`, a time of day and an offset or `Z` (RFC 3339 date-time). No leap seconds.
pub(super) fn is_date_time(text: &str) -> bool {
    static TIME: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?([zZ]|[+-][0-9]{2}:[0-9]{2})$",
        )
        .expect("a constant pattern compiles")
    });
    let parts = text.split_once(['t', 'T']);
    parts.is_some_and(|(date, time)| is_date(date) && TIME.is_match(time))
}

/// A duration of Go (`1h2.5m`) or, in looser words, of Scala (`22 ns`, `3 weeks`).
pub(super) fn is_duration(text: &str) -> bool {
    static WORDS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"([0-9]+)[\t\n\x0c\r ]*([A-Za-zµ]+)").expect("a constant pattern compiles")
    });
    if is_go_duration(text) {
        return true;
    }
    let mut found = false;
    for words in WORDS.captures_iter(text) {
        if words[1].parse::<i64>().is_err() {
            return false;
        }
        found |= is_unit(&words[2].to_lowercase());
    }
    found
}

fn is_unit(word: &str) -> bool {
    let short = ["ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"];
    let starts = ["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];
    short.contains(&word) || starts.iter().any(|start| word.starts_with(start))
}

/// Signed numbers with units, no more than 290 years in all (Go's time.ParseDuration).
fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut total = 0.0;
    loop {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let whole = rest.len() - digits.len();
        let fraction = digits.strip_prefix('.');
        let after =
            fraction.map_or(digits, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        let number = &rest[..rest.len() - after.len()];
        let units = after.trim_start_matches(|c: char| c != '.' && !c.is_ascii_digit());
        let nanoseconds = match &after[..after.len() - units.len()] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return false,
        };
        if whole == 0 && number.len() < 2 {
            return false;
        }
        // `.5` and `5.` are numbers here, and to Rust.
        total += number.parse::<f64>().unwrap_or(f64::INFINITY) * nanoseconds;
        rest = units;
        if rest.is_empty() {
            // i64::MAX nanoseconds.
            return total <= 9_223_372_036_854_775_807.0;
        }
    }
}
