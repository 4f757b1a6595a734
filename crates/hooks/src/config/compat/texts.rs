//! Texts as sprayproxy's environment has them: those of Go.

use std::time::Duration;

/// What bodies may take in memory unless one alone may be larger.
pub(super) const MEMORY: u64 = 128 << 20;

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "is not a port".to_owned())
}

/// As `strconv.ParseBool` reads it.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("is not true or false".to_owned()),
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = text.parse().ok().filter(|bytes| digits && *bytes > 0);
    bytes.ok_or_else(|| "is not a positive number of bytes, without a unit".to_owned())
}

/// A positive duration as `time.ParseDuration` reads it, rounded up to milliseconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let why = "is not a positive duration with its unit such as 15s or 1m30s";
    nanoseconds(text)
        .filter(|nanos| *nanos > 0)
        .and_then(|nanos| u64::try_from(nanos.div_ceil(1_000_000)).ok())
        // Longer than any process runs.
        .filter(|millis| *millis < 1 << 53)
        .map(Duration::from_millis)
        .ok_or_else(|| why.to_owned())
}

/// Digits with at most one point, and a unit, again and again.
fn nanoseconds(text: &str) -> Option<u128> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0_u128;
    loop {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let number = rest.find(|c: char| !is_number(c))?;
        let end = rest[number..].find(is_number).map_or(rest.len(), |length| number + length);
        let unit: u128 = match &rest[number..end] {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, part) = rest[..number].split_once('.').unwrap_or((&rest[..number], ""));
        if whole.is_empty() && part.is_empty() || part.contains('.') || part.len() > 18 {
            return None;
        }
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part_value: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
        let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
        total = total.checked_add(whole.checked_mul(unit)?)?;
        total = total.checked_add(part_value.checked_mul(unit)? / scale)?;
        rest = &rest[end..];
        if rest.is_empty() {
            return Some(total);
        }
    }
}
