//! Base64 as Go's `StdEncoding` reads it: line breaks skipped, spare bits ignored, padding
//! demanded, and the offset of what is wrong.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;

/// Writes bytes as base64.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Number of bytes that canonical base64 stands for.
pub(crate) fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// Reads base64; the error is the offset that Go would name.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut at = 0;
    loop {
        let mut bits = 0_u32;
        let mut count = 0;
        while count < 4 {
            let Some(&byte) = text.get(at) else {
                return if count == 0 { Ok(out) } else { Err(at - count) };
            };
            at += 1;
            match sextet(byte) {
                Some(value) => {
                    bits = bits << 6 | value;
                    count += 1;
                }
                None if is_break(byte) => {}
                None if byte == b'=' => {
                    end_padding(text, at, count)?;
                    let tail = (bits << (6 * (4 - count))).to_be_bytes();
                    out.extend_from_slice(&tail[1..count]);
                    return Ok(out);
                }
                None => return Err(at - 1),
            }
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
}

/// Checks what follows the first `=`, which stands before `at` and after `count` digits.
fn end_padding(text: &[u8], mut at: usize, count: usize) -> Result<(), usize> {
    let skip_breaks = |mut at: usize| {
        while text.get(at).is_some_and(|byte| is_break(*byte)) {
            at += 1;
        }
        at
    };
    match count {
        0 | 1 => return Err(at - 1),
        2 => {
            at = skip_breaks(at);
            match text.get(at) {
                None => return Err(text.len()),
                Some(b'=') => at += 1,
                Some(_) => return Err(at - 1),
            }
        }
        _ => {}
    }
    at = skip_breaks(at);
    if at < text.len() { Err(at) } else { Ok(()) }
}

const fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

const fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads_and_names_the_same_offsets() {
        for (text, expected) in [
            ("", Ok(&b""[..])),
            ("aGk=", Ok(b"hi")),
            ("aG\nk=\r\n", Ok(b"hi")),
            ("aGl=", Ok(b"hi")),
            ("aA==", Ok(b"h")),
            ("aA=\n=", Ok(b"h")),
            ("!!", Err(0)),
            ("aGk", Err(0)),
            ("aGkxaG", Err(4)),
            ("aGkx===", Err(4)),
            ("aG=k", Err(2)),
            ("aG=", Err(3)),
            ("aGk=aGk=", Err(4)),
            ("a-k=", Err(1)),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), expected.as_ref().map(|b| *b), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn what_is_written_is_read_back(bytes: Vec<u8>) {
            let text = encode(&bytes);
            prop_assert_eq!(decoded_len(&text), bytes.len());
            prop_assert_eq!(decode(text.as_bytes()), Ok(bytes));
        }
    }
}
