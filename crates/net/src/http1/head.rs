//! HTTP/1.1 heads as bytes, before anything settles what is ambiguous.
//!
//! Two programs that read one head differently disagree about where the next message begins.
//! So a head passes only if there is one way to read it (RFC 9112 §2.2, §3.2, §5, §6, §7.1.1);
//! everything that a lenient parser would repair is refused. Of a request more is: what our own
//! clients do not need, and what has been read differently somewhere, is refused as well.
//!
//! Limits: [`FIELDS_MAX`] fields; how long a head may be is its reader's to say.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Uri, Version};
use memchr::memchr;
use strait_types::{field_name_byte, is_field_value};

use super::Malformed;
use crate::fields::{Fields, Line};

/// Most fields of a head.
pub const FIELDS_MAX: usize = 256;
/// Most bytes behind the size of a chunk of an answer.
pub(super) const CHUNK_EXTENSION_MAX: usize = 256;
/// Room for the fields that most heads have.
const FIELDS: usize = 16;
/// Digits of a length: more than any body is long, less than overflows.
const LENGTH_DIGITS_MAX: usize = 18;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Known(u64),
    /// By its last chunk.
    Chunked,
    /// By the end of the connection: answers alone.
    Close,
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// HTTP/1.0 or HTTP/1.1.
    pub(crate) version: Version,
    /// All of them, in their order.
    pub(crate) fields: Fields,
    /// Known or chunked.
    pub(crate) length: Length,
    /// Whether another request may follow on the connection.
    pub(crate) keeps: bool,
    /// Whether 100 is waited for before the body is sent (RFC 9110 §10.1.1).
    pub(crate) expects: bool,
    /// Whether it asks for another protocol (RFC 9110 §7.8).
    pub(crate) upgrades: bool,
}

/// The head of an answer, an informational one or the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// From 100 to 599.
    pub status: StatusCode,
    /// All of them, in their order.
    pub fields: Fields,
    /// What the fields say of a body, if there is one.
    pub length: Length,
    /// Whether another request may follow on the connection.
    pub keeps: bool,
}

/// Reads the head of a request: all bytes up to and with the empty line.
///
/// # Errors
/// There is more than one way to read it, or it has too many fields.
pub(crate) fn read_request(mut head: BytesMut) -> Result<RequestHead, Malformed> {
    let (end, rest) = line_at(&head, 0)?;
    let wrong = Malformed::Framing("the request line");
    let mut words = head[..end].split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(wrong);
    };
    let version = read_version(version)?;
    let target_at = method.len() + 1..method.len() + 1 + target.len();
    let method = Method::from_bytes(method).map_err(|_| wrong)?;
    if method == Method::CONNECT {
        // It would make a tunnel of the connection, which nothing here is for.
        return Err(Malformed::Framing("the method CONNECT"));
    }
    if target.contains(&b'#') {
        // Some drop a fragment, others take it for a part of the path (RFC 9112 §3.2).
        return Err(Malformed::Framing("a fragment"));
    }
    let lines = read_fields(&mut head, rest)?;
    let head = head.freeze();
    let target = Uri::from_maybe_shared(head.slice(target_at));
    let uri = target.map_err(|_| Malformed::Framing("the request target"))?;
    let length = lines.length(version)?;
    // RFC 9112 §3.2.
    match lines.hosts {
        0 if version == Version::HTTP_11 => return Err(Malformed::Framing("no Host")),
        0 | 1 => {}
        _ => return Err(Malformed::Framing("more than one Host")),
    }
    if lines.lengths > 1 {
        return Err(Malformed::Framing("more than one Content-Length"));
    }
    Ok(RequestHead {
        method,
        uri,
        version,
        keeps: lines.keeps(version),
        length: length.unwrap_or(Length::Known(0)),
        expects: lines.expects && version == Version::HTTP_11,
        upgrades: lines.upgrades && lines.upgrade && version == Version::HTTP_11,
        fields: lines.of(head),
    })
}

/// Reads the head of an answer: all bytes up to and with the empty line.
///
/// # Errors
/// There is more than one way to read it, or it has too many fields.
pub fn read_answer(mut head: BytesMut) -> Result<AnswerHead, Malformed> {
    let (end, rest) = line_at(&head, 0)?;
    let wrong = Malformed::Framing("the status line");
    let (version, status) = head[..end].split_at_checked(8).ok_or(wrong)?;
    let version = read_version(version)?;
    let (status, reason) = status.split_at_checked(4).ok_or(wrong)?;
    let status = status.strip_prefix(b" ").ok_or(wrong)?;
    let status = StatusCode::from_bytes(status).map_err(|_| wrong)?;
    let is_plain = matches!(reason, [] | [b' ', ..]) && reason.iter().all(|c| is_text(*c));
    if status.as_u16() > 599 || !is_plain {
        return Err(wrong);
    }
    let lines = read_fields(&mut head, rest)?;
    let length = lines.length(version)?.unwrap_or(Length::Close);
    let keeps = lines.keeps(version);
    Ok(AnswerHead { version, status, fields: lines.of(head.freeze()), length, keeps })
}

fn read_version(version: &[u8]) -> Result<Version, Malformed> {
    match version {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        _ => Err(Malformed::Framing("the version")),
    }
}

/// Reads the fields behind a last chunk: all bytes up to and with the empty line.
///
/// # Errors
/// There is more than one way to read them, or they say how long the body is.
pub(super) fn read_trailers(mut trailers: BytesMut) -> Result<Fields, Malformed> {
    let lines = read_fields(&mut trailers, 0)?;
    if lines.chunked || lines.lengths > 0 {
        return Err(Malformed::Framing("the length of a body behind it"));
    }
    Ok(lines.of(trailers.freeze()))
}

/// Reads the line before a chunk, without its line end: how many bytes the chunk has.
///
/// # Errors
/// It is no size or too large a one, or says too much else.
pub fn read_chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let wrong = Malformed::Framing("the size of a chunk");
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let is_plain = matches!(extension, [] | [b';' | b' ' | b'\t', ..])
        && extension.iter().all(|c| is_text(*c));
    if extension.len() > CHUNK_EXTENSION_MAX || !is_plain {
        return Err(wrong);
    }
    let size = std::str::from_utf8(digits).ok().filter(|digits| digits.len() <= 16);
    let size = size.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    size.filter(|size| *size < u64::MAX / 2).ok_or(wrong)
}

/// What lines of fields say.
#[derive(Default)]
struct Lines {
    /// Where they are.
    fields: Vec<Line>,
    length: Option<u64>,
    lengths: usize,
    hosts: usize,
    chunked: bool,
    close: bool,
    keep: bool,
    /// As an option of the connection.
    upgrade: bool,
    expects: bool,
    upgrades: bool,
}

/// Reads lines from there up to an empty one, behind which there is nothing. Their names are
/// written in lower case.
fn read_fields(head: &mut [u8], from: usize) -> Result<Lines, Malformed> {
    let mut read = Lines { fields: Vec::with_capacity(FIELDS), ..Lines::default() };
    let mut at = from;
    loop {
        let rest = &mut head[at..];
        if rest.starts_with(b"\r\n") {
            let last = rest.len() == 2;
            return if last { Ok(read) } else { Err(Malformed::Framing("line ends")) };
        }
        let length = lower(rest);
        if length == 0 || rest.get(length) != Some(&b':') {
            return Err(no_name(rest));
        }
        let (end, next) = line_at(head, at)?;
        if read.fields.len() == FIELDS_MAX {
            return Err(Malformed::Size("256 fields"));
        }
        let (name, value) = (at..at + length, without_blanks(head, at + length + 1..end));
        if !is_field_value(&head[value.clone()]) {
            return Err(Malformed::Framing("a control character in a field"));
        }
        read.take(&head[name.clone()], &head[value.clone()])?;
        let line = Line::at(name, value).map_err(|_| Malformed::Size("4 GiB"))?;
        read.fields.push(line);
        at = next;
    }
}

/// Writes a name in lower case; how many bytes it has.
fn lower(line: &mut [u8]) -> usize {
    let mut length = 0;
    for byte in line {
        let Some(lower) = field_name_byte(*byte) else { break };
        *byte = lower;
        length += 1;
    }
    length
}

/// Why lines do not begin with a name and a colon.
fn no_name(lines: &[u8]) -> Malformed {
    match line_at(lines, 0) {
        Err(malformed) => malformed,
        Ok(_) if lines.first().is_some_and(|byte| is_blank(*byte)) => {
            Malformed::Framing("a folded field")
        }
        Ok((end, _)) if !lines[..end].contains(&b':') => Malformed::Framing("a field's line"),
        Ok(_) => Malformed::Framing("a field's name"),
    }
}

impl Lines {
    /// As the fields of this head, which they were read from.
    fn of(self, head: Bytes) -> Fields {
        Fields::of(head, self.fields)
    }

    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        match name {
            b"content-length" => {
                let this = decimal(value).ok_or(Malformed::Framing("Content-Length"))?;
                self.lengths += 1;
                if self.length.replace(this).is_some_and(|before| before != this) {
                    return Err(Malformed::Framing("differing Content-Length"));
                }
            }
            b"transfer-encoding" => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed::Framing("Transfer-Encoding other than chunked"));
                }
                self.chunked = true;
            }
            b"connection" => {
                for option in value.split(|byte| *byte == b',') {
                    let option = &option[without_blanks(option, 0..option.len())];
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep |= option.eq_ignore_ascii_case(b"keep-alive");
                    self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            b"host" => self.hosts += 1,
            b"expect" => self.expects |= value.eq_ignore_ascii_case(b"100-continue"),
            b"upgrade" => self.upgrades = true,
            _ => {}
        }
        Ok(())
    }

    /// How long the body is, where the fields say so.
    fn length(&self, version: Version) -> Result<Option<Length>, Malformed> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Malformed::Framing("both Content-Length and Transfer-Encoding")),
            (true, None) if version != Version::HTTP_11 => {
                Err(Malformed::Framing("Transfer-Encoding outside HTTP/1.1"))
            }
            (true, None) => Ok(Some(Length::Chunked)),
            (false, length) => Ok(length.map(Length::Known)),
        }
    }

    /// Whether another message may follow.
    fn keeps(&self, version: Version) -> bool {
        !self.close && (self.keep || version == Version::HTTP_11)
    }
}

/// Digits and nothing else.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().filter(|_| digits && text.len() <= LENGTH_DIGITS_MAX)
}

/// Where the line ends that begins there, and where the next one begins. Lines end with CR LF; a CR
/// within one is no part of anything that a line may say.
fn line_at(bytes: &[u8], from: usize) -> Result<(usize, usize), Malformed> {
    let wrong = Malformed::Framing("line ends");
    let line = &bytes[from..];
    let end = memchr(b'\n', line).ok_or(wrong)?;
    match line[..end].strip_suffix(b"\r") {
        Some(line) => Ok((from + line.len(), from + end + 1)),
        None => Err(wrong),
    }
}

/// A part of a text without the blanks around it, of which a control character is none.
fn without_blanks(text: &[u8], part: Range<usize>) -> Range<usize> {
    let Range { mut start, mut end } = part;
    while start < end && is_blank(text[start]) {
        start += 1;
    }
    while start < end && is_blank(text[end - 1]) {
        end -= 1;
    }
    start..end
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What a reason or an extension may hold: no control character but TAB.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_answer(head: &[u8]) -> Result<(), Malformed> {
        read_answer(head.into()).map(drop)
    }

    /// A head with `|` for a line end.
    fn head(text: &str) -> BytesMut {
        text.replace('|', "\r\n").as_bytes().into()
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
            "HTTP/1.1 200 a\rb||",
            "HTTP/1.1\r200 OK||",
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
    fn no_line_holds_a_line_end() {
        for text in [
            "GET /\r HTTP/1.1|Host: h||",
            "GET /a?\r HTTP/1.1|Host: h||",
            "GET\r / HTTP/1.1|Host: h||",
            "GET / HTTP/1.1\r|Host: h||",
            "GET / HTTP/1.1|Host: h\r||",
            "GET / HTTP/1.1|Host\r: h||",
            "GET / HTTP/1.1|Host: h\rX: y||",
        ] {
            assert!(read_request(head(text)).is_err(), "{text:?}");
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
            assert_eq!(read_chunk_size(line.as_bytes()).is_ok(), ok, "{line:?}");
        }
    }

    #[test]
    fn a_head_is_what_its_lines_say() {
        use Length::{Chunked, Close, Known};
        for (text, status, version, length, keeps) in [
            ("HTTP/1.1 200 OK|Content-Length: 3||", 200, Version::HTTP_11, Known(3), true),
            ("HTTP/1.1 200 OK|Connection: x, Close ||", 200, Version::HTTP_11, Close, false),
            ("HTTP/1.1 503|Transfer-Encoding: chunked||", 503, Version::HTTP_11, Chunked, true),
            ("HTTP/1.0 200 OK|Content-Length: 0||", 200, Version::HTTP_10, Known(0), false),
            ("HTTP/1.0 200 OK|Connection: Keep-Alive||", 200, Version::HTTP_10, Close, true),
            (
                "HTTP/1.0 200 OK|Connection: close|Connection: keep-alive||",
                200,
                Version::HTTP_10,
                Close,
                false,
            ),
        ] {
            let read = read_answer(head(text)).unwrap();
            let found = (read.status.as_u16(), read.version, read.length, read.keeps);
            assert_eq!(found, (status, version, length, keeps), "{text}");
        }
        let read = read_answer(head("HTTP/1.1 200 OK|X-A: \t1 2\t |B:|x-a: 3||")).unwrap();
        let all: Vec<_> = read.fields.iter().map(|own| (own.name, own.value)).collect();
        assert_eq!(all, [(&b"x-a"[..], &b"1 2"[..]), (b"b", b""), (b"x-a", b"3")]);
        let many = |count| head(&format!("HTTP/1.1 200 OK|{}|", "a: b|".repeat(count)));
        assert!(check_answer(&many(FIELDS_MAX)).is_ok());
        assert!(check_answer(&many(FIELDS_MAX + 1)).is_err());
    }

    #[test]
    fn trailers_say_nothing_of_a_body() {
        for (text, count) in [
            ("|", Some(0)),
            ("Grpc-Status: 0|X: 1||", Some(2)),
            ("Content-Length: 3||", None),
            ("Transfer-Encoding: chunked||", None),
            ("X : 1||", None),
            ("X: 1||Y: 2||", None),
        ] {
            let read = read_trailers(head(text));
            assert_eq!(read.ok().map(|fields| fields.len()), count, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (check_answer(&bytes), read_chunk_size(&bytes));
            let ended = [&bytes[..], b"\r\n\r\n"].concat();
            let _ = check_answer(&ended);
        }
    }
}
