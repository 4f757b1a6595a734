//! What plain scalars mean (go-yaml v2 resolve.go).

/// The meaning of a plain scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    /// An integer beyond [`i64::MAX`].
    Unsigned(u64),
    Float(f64),
    /// Text that is a point in time in YAML 1.1.
    Timestamp,
    Text,
}

/// What a plain scalar means.
pub(super) fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Scalar::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' if is_decimal(text) => float(text),
        b'0'..=b'9' | b'+' | b'-' if is_timestamp(text) => Scalar::Timestamp,
        b'0'..=b'9' | b'+' | b'-' => number(&text.replace('_', "")),
        _ => Scalar::Text,
    }
}

fn number(text: &str) -> Scalar {
    if let Some(integer) = integer(text) {
        return integer;
    }
    if is_decimal(text) { float(text) } else { Scalar::Text }
}

fn float(text: &str) -> Scalar {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Scalar::Float(value),
        _ => Scalar::Text,
    }
}

/// An integer with or without a prefix that says its base (strconv.ParseInt with base 0).
fn integer(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        let value = 0i64.checked_sub_unsigned(magnitude)?;
        return Some(Scalar::Integer(value));
    }
    match i64::try_from(magnitude) {
        Ok(value) => Some(Scalar::Integer(value)),
        // Go reads a sign as part of a signed number only.
        Err(_) if text.starts_with('+') => None,
        Err(_) => Some(Scalar::Unsigned(magnitude)),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = digits(unsigned);
    let mut rest = &unsigned[whole..];
    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix('.') {
        fraction = digits(after);
        rest = &after[fraction..];
    }
    if whole + fraction == 0 {
        return false;
    }
    match rest.strip_prefix(['e', 'E']) {
        None => rest.is_empty(),
        Some(exponent) => {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
    }
}

/// `2001-12-14`, `2001-12-14T21:59:43.10-05:00`, `2001-12-14 21:59:43.10`.
fn is_timestamp(text: &str) -> bool {
    let Some((year, rest)) = text.split_once('-') else {
        return false;
    };
    if year.len() != 4 || !year.bytes().all(|c| c.is_ascii_digit()) {
        return false;
    }
    let date_end = rest.find(['T', 't', ' ']).unwrap_or(rest.len());
    let (date, time) = rest.split_at(date_end);
    let Some((month, day)) = date.split_once('-') else {
        return false;
    };
    let year: i16 = year.parse().unwrap_or(-1);
    let (Some(month), Some(day)) = (short(month), short(day)) else {
        return false;
    };
    if jiff::civil::Date::new(year, month, day).is_err() {
        return false;
    }
    match time.as_bytes().first() {
        None => true,
        Some(b' ') => is_clock(&time[1..]),
        Some(_) => {
            let clock = &time[1..];
            let zone = clock.find(['Z', '+', '-']);
            zone.is_some_and(|at| is_clock(&clock[..at]) && is_zone(&clock[at..]))
        }
    }
}

/// One or two digits.
fn short(text: &str) -> Option<i8> {
    let good = matches!(text.len(), 1 | 2) && text.bytes().all(|c| c.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

fn is_clock(text: &str) -> bool {
    let parts: Vec<_> = text.splitn(3, ':').collect();
    let [hour, minute, seconds] = parts[..] else {
        return false;
    };
    let (second, fraction) = match seconds.find(['.', ',']) {
        Some(at) => (&seconds[..at], &seconds[at + 1..]),
        None => (seconds, "0"),
    };
    let below = |text, limit| short(text).is_some_and(|number| number < limit);
    below(hour, 24)
        && below(minute, 60)
        && below(second, 60)
        && !fraction.is_empty()
        && fraction.bytes().all(|c| c.is_ascii_digit())
}

fn is_zone(text: &str) -> bool {
    let two =
        |text: &str, limit| text.len() == 2 && short(text).is_some_and(|number| number <= limit);
    text == "Z"
        || text[1..].split_once(':').is_some_and(|(hour, minute)| two(hour, 24) && two(minute, 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_they_mean_to_go_yaml() {
        use Scalar::{Bool, Float, Integer, Null, Text, Timestamp, Unsigned};
        for (text, meaning) in [
            ("", Null),
            ("~", Null),
            ("yes", Bool(true)),
            ("Off", Bool(false)),
            ("yEs", Text),
            ("0644", Integer(420)),
            ("0o17", Integer(15)),
            ("0x1F", Integer(31)),
            ("-0b11", Integer(-3)),
            ("1_000", Integer(1000)),
            ("+1", Integer(1)),
            ("-9223372036854775808", Integer(i64::MIN)),
            ("18446744073709551615", Unsigned(u64::MAX)),
            ("18446744073709551616", Float(18_446_744_073_709_551_616.0)),
            ("08", Float(8.0)),
            ("1.5e3", Float(1500.0)),
            (".5", Float(0.5)),
            ("5.", Float(5.0)),
            ("-.inf", Float(f64::NEG_INFINITY)),
            (".", Text),
            ("1e999", Text),
            ("1:30", Text),
            ("0x", Text),
            ("_1", Text),
            ("2001-12-14", Timestamp),
            ("2001-1-1T1:1:1Z", Timestamp),
            ("2001-12-14t21:59:43.10-05:00", Timestamp),
            ("2001-12-14 21:59:43.10", Timestamp),
            ("2001-02-30", Text),
            ("2001-12-14 21:59:43 Z", Text),
        ] {
            assert_eq!(resolve(text), meaning, "{text:?}");
        }
    }
}
