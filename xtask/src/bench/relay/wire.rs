//! The little of HTTP/1.1 that load and service say to each other.
//!
//! Both are made to cost next to nothing beside what is measured, so neither uses an HTTP library.
//! They read what well-behaved programs between them pass on, not what anyone might send.

/// The most bytes of a head.
pub(crate) const HEAD_MAX: usize = 16 << 10;

/// What ends a head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Where the body begins, if the whole head is there.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END)?;
    Some(at + HEAD_END.len())
}

/// The body's length, if the head says it.
pub(crate) fn content_length(head: &[u8]) -> Option<u64> {
    let value = field(head, b"content-length")?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// The status of an answer.
pub(crate) fn status(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

/// Method and target of a request.
pub(crate) fn request_line(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = head.split(|byte| *byte == b' ');
    Some((words.next()?, words.next()?))
}

/// What the chunks of a body hold that came so far.
pub(crate) fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(at) = body.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&body[..at]).ok();
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else { break };
        let rest = &body[at + 2..];
        data.extend_from_slice(&rest[..size.min(rest.len())]);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    data
}

/// The value of the first field of this name, in lower case.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        if found.eq_ignore_ascii_case(name) { value.strip_prefix(b":") } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_a_head_ends() {
        for (bytes, wanted) in
            [("GET / HTTP/1.1\r\n\r\nbody", Some(18)), ("GET / HTTP/1.1\r\n", None), ("", None)]
        {
            assert_eq!(head_end(bytes.as_bytes()), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn puts_chunks_together() {
        for (body, wanted) in [
            ("", ""),
            ("5\r\ndata:\r\n", "data:"),
            ("1\r\nd\r\n4\r\nata:\r\n", "data:"),
            ("1\r\nd\r\n4\r\nat", "dat"),
            ("1\r\nd\r\n4\r", "d"),
            ("1\r\nd\r", "d"),
        ] {
            assert_eq!(unchunked(body.as_bytes()), wanted.as_bytes(), "{body:?}");
        }
    }

    #[test]
    fn reads_a_head() {
        let head =
            b"HTTP/1.1 206 Partial Content\r\nx: content-length: 1\r\nContent-Length:  42\r\n";
        assert_eq!(status(head), Some(206));
        assert_eq!(content_length(head), Some(42));
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\ncontent-lengthy: 4\r\n"), None);
        assert_eq!(status(b"HTTP/1.1 2"), None);
        let line = request_line(b"PUT /bulk HTTP/1.1\r\n");
        assert_eq!(line, Some((&b"PUT"[..], &b"/bulk"[..])));
    }
}
