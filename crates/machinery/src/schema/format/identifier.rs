//! Formats of identifiers, numbers on cards and colours.

/// 32 hexadecimal digits, dashes after the 8th, 12th, 16th and 20th if at all; `version` stands
/// in its place.
pub(super) fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut rest = text;
    for (group, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if group > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((digits, tail)) = rest.split_at_checked(length) else {
            return false;
        };
        let first = digits.chars().next();
        let fits = match (group, version) {
            (2, Some(version)) => first == Some(version),
            (3, Some('4' | '5')) => matches!(first, Some('8' | '9' | 'a' | 'b' | 'A' | 'B')),
            _ => true,
        };
        if !fits || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            return false;
        }
        rest = tail;
    }
    rest.is_empty()
}

/// The digits without blanks and dashes.
fn isbn_digits(text: &str) -> Vec<u32> {
    let separator = |c: &char| matches!(c, ' ' | '-' | '\t' | '\n' | '\r' | '\u{c}');
    let value = |c: char| {
        if c == 'X' { 10 } else { c.to_digit(10).unwrap_or(99) }
    };
    text.chars().filter(|c| !separator(c)).map(value).collect()
}

pub(super) fn is_isbn10(text: &str) -> bool {
    let digits = isbn_digits(text);
    let good = digits.len() == 10 && digits[..9].iter().all(|&digit| digit < 10) && digits[9] <= 10;
    good && digits.iter().zip(1..).map(|(digit, weight)| digit * weight).sum::<u32>() % 11 == 0
}

pub(super) fn is_isbn13(text: &str) -> bool {
    let digits = isbn_digits(text);
    let good = digits.len() == 13 && digits.iter().all(|&digit| digit < 10);
    let weights = [1, 3].into_iter().cycle();
    good && digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum::<u32>() % 10 == 0
}

pub(super) fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let prefix = |length| digits.get(..length).and_then(|digits| digits.parse::<u32>().ok());
    let two = prefix(2).unwrap_or(0);
    let three = prefix(3).unwrap_or(0);
    let four = prefix(4).unwrap_or(0);
    let issued = match digits.len() {
        13 => two / 10 == 4,
        14 => matches!(three, 300..=305) || matches!(two, 36 | 38),
        15 => matches!(two, 34 | 37) || matches!(four, 2131 | 1800),
        16 => two / 10 == 4 || matches!(two, 51..=55 | 65) || four == 6011 || two == 35,
        _ => false,
    };
    issued && luhn(&digits)
}

/// The check digit of card numbers (ISO/IEC 7812-1).
fn luhn(digits: &str) -> bool {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let digits = digits.chars().rev().filter_map(|c| c.to_digit(10));
    let sum: u32 = digits
        .enumerate()
        .map(|(at, digit)| if at % 2 == 1 { doubled(digit) } else { digit })
        .sum();
    sum.is_multiple_of(10)
}

/// `123-45-6789`; blanks may stand for dashes.
pub(super) fn is_social_security_number(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 11
        && bytes.iter().enumerate().all(|(at, c)| match at {
            3 | 6 => matches!(c, b'-' | b' '),
            _ => c.is_ascii_digit(),
        })
}

pub(super) fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|c| c.is_ascii_hexdigit())
}

/// `rgb(0, 31, 255)`.
pub(super) fn is_rgb_color(text: &str) -> bool {
    let Some(inside) = text.strip_prefix("rgb(").and_then(|text| text.strip_suffix(')')) else {
        return false;
    };
    let space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}');
    let parts: Vec<_> = inside.split(',').map(|part| part.trim_matches(space)).collect();
    let value = |part: &&str| {
        let canonical = *part == "0" || !part.starts_with('0');
        canonical && part.bytes().all(|c| c.is_ascii_digit()) && part.parse::<u8>().is_ok()
    };
    parts.len() == 3 && parts.iter().all(value)
}

/// Padded base64 (RFC 4648 §4) of at least one byte.
pub(super) fn is_base64(text: &str) -> bool {
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    let alphabet = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
    !text.is_empty() && text.len().is_multiple_of(4) && padding <= 2 && data.bytes().all(alphabet)
}
