//! HTTP/1.1 answers as bytes, before a parser settles what is ambiguous.
//!
//! Two programs that read one head differently disagree about where the next answer begins.
//! So a head passes only if there is one way to read it (RFC 9112 §2.2, §5, §6, §7.1.1);
//! everything that a lenient parser would repair is refused. Requests are read as strictly by
//! every listener, before they come here.

use super::BadHead;
use super::framing::decimal;

/// Most bytes behind the size of a chunk.
pub const CHUNK_EXTENSION_MAX: usize = 256;

/// Checks the head of an answer, an informational one or the last: all bytes up to and with the
/// empty line.
///
/// # Errors
/// There is more than one way to read it.
pub fn check_answer(head: &[u8]) -> Result<(), BadHead> {
    let (first, fields) = lines(head)?;
    let wrong = BadHead::Framing("the status line");
    let (version, rest) = first.split_at_checked(8).ok_or(wrong)?;
    let [b' ', a, b, c, reason @ ..] = rest else { return Err(wrong) };
    let is_status = matches!(a, b'1'..=b'5') && b.is_ascii_digit() && c.is_ascii_digit();
    if !is_status || !matches!(reason, [] | [b' ', ..]) || !reason.iter().all(|c| is_text(*c)) {
        return Err(wrong);
    }
    check_fields(fields, is_1_1(version)?)
}

/// Checks the line before a chunk, without its line end.
///
/// # Errors
/// It is no size, or says too much else.
pub fn check_chunk_line(line: &[u8]) -> Result<(), BadHead> {
    let wrong = Err(BadHead::Framing("the size of a chunk"));
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let extension = &line[digits..];
    if !(1..=16).contains(&digits) || !matches!(extension, [] | [b';' | b' ' | b'\t', ..]) {
        return wrong;
    }
    if extension.len() > CHUNK_EXTENSION_MAX || !extension.iter().all(|c| is_text(*c)) {
        return wrong;
    }
    Ok(())
}

/// The first line and the fields' lines, all of which end with CR LF.
fn lines(head: &[u8]) -> Result<(&[u8], Vec<&[u8]>), BadHead> {
    let wrong = BadHead::Framing("line ends");
    let head = head.strip_suffix(b"\r\n\r\n").ok_or(wrong)?;
    let mut lines = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        lines.push(line);
    }
    let last = lines.len() - 1;
    for (at, line) in lines.iter_mut().enumerate() {
        if at != last {
            *line = line.strip_suffix(b"\r").ok_or(wrong)?;
        }
        if line.contains(&b'\r') {
            return Err(wrong);
        }
    }
    let first = lines.remove(0);
    Ok((first, lines))
}

fn is_1_1(version: &[u8]) -> Result<bool, BadHead> {
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(BadHead::Framing("the version")),
    }
}

fn check_fields(lines: Vec<&[u8]>, is_1_1: bool) -> Result<(), BadHead> {
    let mut length: Option<u64> = None;
    let mut codings = 0;
    for line in lines {
        if matches!(line, [b' ' | b'\t', ..]) {
            return Err(BadHead::Framing("a folded field"));
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or(BadHead::Framing("a field's line"))?);
        if !is_token(name) {
            return Err(BadHead::Framing("a field's name"));
        }
        if !value.iter().all(|c| is_text(*c)) {
            return Err(BadHead::Framing("a control character in a field"));
        }
        let value = value[1..].trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let this = decimal(value).filter(|_| !value.is_empty());
            let this = this.ok_or(BadHead::Framing("Content-Length"))?;
            if length.replace(this).is_some_and(|before| before != this) {
                return Err(BadHead::Framing("differing Content-Length"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings += 1;
            if codings > 1 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(BadHead::Framing("Transfer-Encoding other than chunked"));
            }
        }
    }
    match (codings > 0, length) {
        (true, Some(_)) => Err(BadHead::Framing("both Content-Length and Transfer-Encoding")),
        (true, None) if !is_1_1 => Err(BadHead::Framing("Transfer-Encoding outside HTTP/1.1")),
        _ => Ok(()),
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &[u8]) -> bool {
    let one = |c: &u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.iter().all(one)
}

/// What a field's value may hold: no control character but TAB.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A head with `|` for a line end.
    fn head(text: &str) -> Vec<u8> {
        text.replace('|', "\r\n").into_bytes()
    }

    #[test]
    fn plain_heads_pass() {
        for text in [
            "HTTP/1.1 200 OK|Content-Length: 0||",
            "HTTP/1.1 200 OK|Content-Length: 3|content-length:\t3 ||",
            "HTTP/1.1 200 OK|Transfer-Encoding: Chunked||",
            "HTTP/1.1 200 Très bien|X:|X-Text: é \t~||",
            "HTTP/1.1 204||",
            "HTTP/1.0 599 ||",
            "HTTP/1.1 100 Continue||",
        ] {
            assert_eq!(check_answer(&head(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn heads_that_can_be_read_twice_are_refused() {
        for fields in [
            "Content-Length: 3|Transfer-Encoding: chunked",
            "Transfer-Encoding: chunked|Content-Length: 3",
            "Content-Length: 3|Content-Length: 4",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length: -3",
            "Content-Length: 0x3",
            "Content-Length: 3 3",
            "Content-Length:",
            "Content-Length: 18446744073709551616",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked|Transfer-Encoding: identity",
            "Transfer-Encoding: chunked;q=1",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: chunk\u{b}ed",
            "Transfer-Encoding:\u{b}chunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding\t: chunked",
            " Transfer-Encoding: chunked",
            "X: 1| folded: 2",
            "X: 1|\tfolded",
            "X: 1\nContent-Length: 3",
            "X: 1\rContent-Length: 3",
            "X: 1\r\r",
            "X: \0",
            "X: \x7f",
            "X\0: 1",
            "X(: 1",
            ": 1",
            "X",
            "|X: 1",
        ] {
            let text = format!("HTTP/1.1 200 OK|{fields}||");
            assert!(check_answer(&head(&text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn first_lines_have_one_form() {
        for text in [
            "",
            "||",
            "HTTP/1.1 200 OK|",
            "HTTP/1.1 200 OK\n\n",
            " HTTP/1.1 200 OK||",
            "|HTTP/1.1 200 OK||",
            "http/1.1 200 OK||",
            "HTTP/1.10 200 OK||",
            "HTTP/1.1\t200 OK||",
            "HTTP/1.1 200 \u{1}||",
            "HTTP/1.0 200 OK|Transfer-Encoding: chunked||",
            "HTTP/1.1 20||",
            "HTTP/1.1 2000||",
            "HTTP/1.1  200||",
            "HTTP/1.1 099||",
            "HTTP/2 200||",
        ] {
            assert!(check_answer(&head(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn lines_of_chunks_are_bounded() {
        let long = format!("1;{}", "x".repeat(CHUNK_EXTENSION_MAX));
        for (line, ok) in [
            ("0", true),
            ("1aF", true),
            ("a;x=\"y\"", true),
            ("a ;x", true),
            (&long[..long.len() - 1], true),
            (&*long, false),
            ("", false),
            ("x", false),
            ("-1", false),
            ("+1", false),
            ("0x1", false),
            ("11111111111111111", false),
            ("1;\n", false),
            (" 1", false),
        ] {
            assert_eq!(check_chunk_line(line.as_bytes()).is_ok(), ok, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (check_answer(&bytes), check_chunk_line(&bytes));
            let ended = [&bytes[..], b"\r\n\r\n"].concat();
            let _ = check_answer(&ended);
        }
    }
}
