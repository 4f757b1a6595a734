//! Durations and sizes as people write them in flags and files.

use std::fmt::Write as _;
use std::time::Duration;

/// A text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct InvalidUnits {
    text: String,
    expected: &'static str,
}

/// Largest first: the order in which they may stand.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZE_UNITS: [(&str, u32); 4] = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];

/// Reads whole numbers with units `d`, `h`, `m`, `s`, `ms`, larger before smaller, each at most
/// once: `10s`, `1h30m`, `250ms`. A lone `0` needs no unit.
///
/// # Errors
/// Anything else, or more than 2^64 milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidUnits> {
    let total = if text == "0" { Some(0) } else { milliseconds(text) };
    total.map(Duration::from_millis).ok_or_else(|| InvalidUnits {
        text: text.to_owned(),
        expected: "a duration such as 250ms, 10s or 1h30m",
    })
}

fn milliseconds(text: &str) -> Option<u64> {
    let mut units = DURATION_UNITS.iter();
    let mut rest = text;
    let mut total = 0_u64;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let end = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |length| digits + length);
        let unit = &rest[digits..end];
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(count.checked_mul(*factor)?)?;
        rest = &rest[end..];
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// Writes what [`parse_duration`] reads; what is below a millisecond is cut off.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, factor) in DURATION_UNITS {
        let count = rest / u128::from(factor);
        rest %= u128::from(factor);
        if count > 0 {
            // A string takes all text.
            let _ = write!(text, "{count}{unit}");
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// Reads a number of bytes, or of `Ki`, `Mi`, `Gi`, `Ti` (powers of 1024): `4096`, `256Mi`.
///
/// # Errors
/// Anything else, or more than 2^64 bytes.
pub fn parse_bytes(text: &str) -> Result<u64, InvalidUnits> {
    let unit = SIZE_UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (digits, shift) =
        unit.map_or((text, 0), |(unit, shift)| (&text[..text.len() - unit.len()], *shift));
    let count =
        digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
    count.and_then(|count| count.checked_mul(1 << shift)).ok_or_else(|| InvalidUnits {
        text: text.to_owned(),
        expected: "a size such as 4096, 64Ki or 256Mi",
    })
}

/// Writes a number of bytes in the largest unit that divides it.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let whole = |shift: u32| bytes.trailing_zeros() >= shift && bytes != 0;
    match SIZE_UNITS.iter().find(|(_, shift)| whole(*shift)) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1m1ms", 60_001),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "s",
            "10",
            "10x",
            "1.5h",
            "-1s",
            "+1s",
            " 1s",
            "1s ",
            "1 s",
            "30m1h",
            "1s1s",
            "1h30",
            "18446744073709551616s",
            "18446744073709551615s",
            "1S",
            "１s",
        ] {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.ends_with("is not a duration such as 250ms, 10s or 1h30m"));
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64Ki", 65_536), ("256Mi", 268_435_456), ("1Ti", 1 << 40)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "Ki", "1K", "1KiB", "-1", "+1", "1.5Gi", "1 Ki", "16777216Ti", "é"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        for (bytes, text) in [(0, "0"), (1000, "1000"), (1536, "1536"), (3 << 20, "3Mi")] {
            assert_eq!(format_bytes(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in any::<u64>(), bytes in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = (parse_duration(&text), parse_bytes(&text));
        }
    }
}
