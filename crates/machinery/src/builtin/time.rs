//! Times as Go reads and writes them, with its messages (`time.Parse`).

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Whole seconds; a fraction is read and dropped.
    Seconds,
    /// Exactly six digits of fraction.
    Micros,
}

impl Layout {
    const fn text(self) -> &'static str {
        match self {
            Self::Seconds => "2006-01-02T15:04:05Z07:00",
            Self::Micros => "2006-01-02T15:04:05.000000Z07:00",
        }
    }
}

/// The moment that Go calls zero: midnight of the first of January of the year 1.
const ZERO_SECONDS: i64 = -62_135_596_800;

/// Whether Go calls this moment zero, which reads as absence.
pub(crate) fn is_zero(time: Timestamp) -> bool {
    time.as_second() == ZERO_SECONDS && time.subsec_nanosecond() == 0
}

/// Writes a time in UTC.
pub(crate) fn format(time: Timestamp, layout: Layout) -> String {
    let civil = Offset::UTC.to_datetime(time);
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second()
    );
    if layout == Layout::Micros {
        let written = write!(text, ".{:06}", civil.subsec_nanosecond() / 1000);
        debug_assert!(written.is_ok(), "a String takes all text");
    }
    text.push('Z');
    text
}

/// Reads a time; the error is Go's message.
pub(crate) fn parse(text: &str, layout: Layout) -> Result<Timestamp, String> {
    Reader { whole: text.as_bytes(), rest: text.as_bytes(), layout }.read()
}

struct Reader<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
    layout: Layout,
}

impl<'a> Reader<'a> {
    fn read(mut self) -> Result<Timestamp, String> {
        let year = self.year()?;
        self.literal(b'-', "-")?;
        let month = self.number("01", true)?;
        self.check((1..=12).contains(&month), "month")?;
        self.literal(b'-', "-")?;
        let day = self.number("02", true)?;
        self.literal(b'T', "T")?;
        let hour = self.number("15", false)?;
        self.check(hour < 24, "hour")?;
        self.literal(b':', ":")?;
        let minute = self.number("04", true)?;
        self.check(minute < 60, "minute")?;
        self.literal(b':', ":")?;
        let second = self.number("05", true)?;
        self.check(second < 60, "second")?;
        let nanos = self.fraction()?;
        let offset_minutes = self.zone()?;
        if !self.rest.is_empty() {
            return Err(self.message(&format!(": extra text: {}", quote(self.rest))));
        }
        let civil = DateTime::new(year, month, day, hour, minute, second, nanos)
            .map_err(|_| self.message(": day out of range"))?;
        civil
            .to_zoned(TimeZone::UTC)
            .ok()
            .and_then(|zoned| {
                let offset = jiff::SignedDuration::from_mins(offset_minutes);
                zoned.timestamp().checked_sub(offset).ok()
            })
            .ok_or_else(|| self.message(": year out of range"))
    }

    fn message(&self, what: &str) -> String {
        format!("parsing time {}{what}", quote(self.whole))
    }

    /// The text at `at` is not what the layout wants.
    fn mismatch(&self, at: &[u8], wanted: &str) -> String {
        let layout = self.layout.text();
        self.message(&format!(" as \"{layout}\": cannot parse {} as \"{wanted}\"", quote(at)))
    }

    fn check(&self, ok: bool, what: &str) -> Result<(), String> {
        if ok { Ok(()) } else { Err(self.message(&format!(": {what} out of range"))) }
    }

    fn literal(&mut self, byte: u8, wanted: &str) -> Result<(), String> {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(self.mismatch(self.rest, wanted)),
        }
    }

    fn year(&mut self) -> Result<i16, String> {
        let held = self.rest;
        let digits = held.get(..4).and_then(digits_of);
        let year = digits.and_then(|year| i16::try_from(year).ok());
        let year = year.ok_or_else(|| self.mismatch(held, "2006"))?;
        self.rest = &held[4..];
        Ok(year)
    }

    /// Two digits, or one if that is all there is and `fixed` is off.
    fn number(&mut self, wanted: &str, fixed: bool) -> Result<i8, String> {
        let held = self.rest;
        let length = match held {
            [b'0'..=b'9', b'0'..=b'9', ..] => 2,
            [b'0'..=b'9', ..] if !fixed => 1,
            _ => return Err(self.mismatch(held, wanted)),
        };
        self.rest = &held[length..];
        let number = digits_of(&held[..length]).and_then(|number| i8::try_from(number).ok());
        number.ok_or_else(|| self.mismatch(held, wanted))
    }

    /// Nanoseconds.
    fn fraction(&mut self) -> Result<i32, String> {
        let held = self.rest;
        let starts = matches!(held, [b'.' | b',', b'0'..=b'9', ..]);
        let length = match self.layout {
            Layout::Seconds if !starts => return Ok(0),
            Layout::Seconds => held[1..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
            Layout::Micros => 6,
        };
        let digits = held.get(1..=length).filter(|_| starts);
        let nanos = digits.and_then(|digits| digits_of(&digits[..digits.len().min(9)]));
        let Some(nanos) = nanos else {
            return Err(self.mismatch(held, ".000000"));
        };
        self.rest = &held[length + 1..];
        let missing = u32::try_from(9_usize.saturating_sub(length)).unwrap_or(0);
        Ok(nanos * 10_i32.pow(missing))
    }

    /// Minutes east of UTC.
    fn zone(&mut self) -> Result<i64, String> {
        let held: &'a [u8] = self.rest;
        if let [b'Z', rest @ ..] = held {
            self.rest = rest;
            return Ok(0);
        }
        let fail = |reader: &Self| reader.mismatch(held, "Z07:00");
        let [sign, h1, h2, b':', m1, m2, rest @ ..] = held else {
            return Err(fail(self));
        };
        let (Some(hours), Some(minutes)) = (digits_of(&[*h1, *h2]), digits_of(&[*m1, *m2])) else {
            return Err(fail(self));
        };
        self.rest = rest;
        self.check(hours <= 24, "time zone offset hour")?;
        self.check(minutes <= 60, "time zone offset minute")?;
        let total = i64::from(hours * 60 + minutes);
        match sign {
            b'+' => Ok(total),
            b'-' => Ok(-total),
            _ => Err(fail(self)),
        }
    }
}

/// The number that up to nine digits write.
fn digits_of(text: &[u8]) -> Option<i32> {
    text.iter().try_fold(0_i32, |number, byte| {
        let digit = char::from(*byte).to_digit(10).and_then(|digit| i32::try_from(digit).ok())?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// As the `time` package quotes: bytes outside printable ASCII in hexadecimal.
fn quote(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=0x7f => out.push(char::from(byte)),
            _ => {
                let written = write!(out, "\\x{byte:02x}");
                debug_assert!(written.is_ok(), "a String takes all text");
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, layout: Layout) -> Result<String, String> {
        parse(text, layout).map(|time| format(time, layout))
    }

    #[test]
    fn times_are_written_in_utc_with_the_layouts_precision() {
        for (text, expected) in [
            ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z"),
            ("2020-01-02T03:04:05.999Z", "2020-01-02T03:04:05Z"),
            ("2020-01-02T03:04:05,1234567891Z", "2020-01-02T03:04:05Z"),
            ("2020-01-02T3:04:05Z", "2020-01-02T03:04:05Z"),
            ("2020-01-02T03:04:05+01:30", "2020-01-02T01:34:05Z"),
            ("1965-12-31T23:00:00-02:00", "1966-01-01T01:00:00Z"),
        ] {
            assert_eq!(read(text, Layout::Seconds).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(
            read("2020-01-01T00:00:00.123456+01:00", Layout::Micros).as_deref(),
            Ok("2019-12-31T23:00:00.123456Z")
        );
        assert!(is_zero(parse("0001-01-01T00:00:00Z", Layout::Seconds).unwrap()));
    }

    /// Recorded from kube-apiserver 1.34.
    #[test]
    fn what_is_wrong_is_said_in_gos_words() {
        let as_seconds = "as \"2006-01-02T15:04:05Z07:00\": cannot parse";
        let as_micros = "as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse";
        for (layout, text, expected) in [
            (Layout::Seconds, "x", format!("{as_seconds} \"x\" as \"2006\"")),
            (Layout::Seconds, "", format!("{as_seconds} \"\" as \"2006\"")),
            (Layout::Seconds, "2020-01-01T00:00:00", format!("{as_seconds} \"\" as \"Z07:00\"")),
            (
                Layout::Seconds,
                "2020-01-01 00:00:00Z",
                format!("{as_seconds} \" 00:00:00Z\" as \"T\""),
            ),
            (
                Layout::Seconds,
                "2020-1-01T00:00:00Z",
                format!("{as_seconds} \"1-01T00:00:00Z\" as \"01\""),
            ),
            (Layout::Seconds, "2020-01-01T00:00:00z", format!("{as_seconds} \"z\" as \"Z07:00\"")),
            (
                Layout::Seconds,
                "2020-01-01T00:00:00+0100",
                format!("{as_seconds} \"+0100\" as \"Z07:00\""),
            ),
            (Layout::Micros, "2020-01-01T00:00:00Z", format!("{as_micros} \"Z\" as \".000000\"")),
            (
                Layout::Micros,
                "2020-01-01T00:00:00.123Z",
                format!("{as_micros} \".123Z\" as \".000000\""),
            ),
            (
                Layout::Micros,
                "2020-01-01T00:00:00.1234567Z",
                format!("{as_micros} \"7Z\" as \"Z07:00\""),
            ),
        ] {
            assert_eq!(read(text, layout), Err(format!("parsing time \"{text}\" {expected}")));
        }
    }

    /// Recorded from kube-apiserver 1.34.
    #[test]
    fn what_is_out_of_range_is_said_in_gos_words() {
        for (text, expected) in [
            ("2020-13-01T00:00:00Z", "month out of range"),
            ("2020-02-30T00:00:00Z", "day out of range"),
            ("2020-01-01T25:00:00Z", "hour out of range"),
            ("2020-01-01T00:00:60Z", "second out of range"),
            ("2020-01-01T00:00:00+25:00", "time zone offset hour out of range"),
            ("2020-01-01T00:00:00Zx", "extra text: \"x\""),
        ] {
            let expected = format!("parsing time \"{text}\": {expected}");
            assert_eq!(read(text, Layout::Seconds), Err(expected));
        }
        assert!(
            read("é\"2020", Layout::Seconds)
                .unwrap_err()
                .starts_with(r#"parsing time "\xc3\xa9\"2020""#)
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", digits in "[0-9TZ:.,+ -]{0,32}") {
            for text in [&text, &digits] {
                let _ = parse(text, Layout::Seconds);
                let _ = parse(text, Layout::Micros);
            }
        }

        #[test]
        fn what_is_written_is_read_back(seconds in -62_135_596_800_i64..253_402_300_000, micros in 0..1_000_000_i32) {
            let time = Timestamp::new(seconds, 0).unwrap();
            prop_assert_eq!(parse(&format(time, Layout::Seconds), Layout::Seconds), Ok(time));
            let time = Timestamp::new(seconds.max(0), micros * 1000).unwrap();
            prop_assert_eq!(parse(&format(time, Layout::Micros), Layout::Micros), Ok(time));
        }
    }
}
