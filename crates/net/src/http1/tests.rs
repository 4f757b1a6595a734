//! Requests as they are cut into pieces, and those that are not taken.

use proptest::prelude::*;

use super::head::{RequestHead, read_request};
use super::requests::read;
use super::*;

const HEAD: &str = "POST / HTTP/1.1\r\nHost: h\r\n";

fn head_of(rest: &str) -> Result<RequestHead, Malformed> {
    read_request(format!("{HEAD}{rest}").as_bytes().into())
}

#[test]
fn requests_end_where_they_say() {
    for (rest, ended) in [
        ("\r\n", true),
        ("", false),
        ("\r\nPOST", false),
        ("Content-Length: 3\r\n\r\nab", false),
        ("Content-Length: 3\r\n\r\nabc", true),
        ("content-length:\t3 \r\n\r\nabc\r\n", true),
        ("Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
        ("Transfer-Encoding: Chunked\r\n\r\n3\r\na\nb\r\n0\r\n", false),
        ("Transfer-Encoding: chunked\r\n\r\n00A\r\n0123456789\r\n0\r\nX: y\r\n\r\n", true),
        ("X-Length: a b\r\nX:\r\n\r\n", true),
    ] {
        for pieces in [1, 2, 7, 1000] {
            let read = read(format!("{HEAD}{rest}").as_bytes(), pieces);
            assert_eq!(read.map(|(_, ended)| ended), Some(ended), "{rest:?} in pieces of {pieces}");
        }
    }
}

#[test]
fn what_two_could_read_differently_is_refused() {
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for rest in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
        "Content-Length: 3, 3\r\n\r\n",
        "Content-Length: +3\r\n\r\n",
        "Content-Length: 0x3\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: \r\n\r\n",
        "Content-Length: 9999999999999999999\r\n\r\n",
        "Content-Length : 3\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n",
        "Transfer-Encoding: chunked, chunked\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n",
        "Transfer-Encoding:\x0bchunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "X: a\r\n b\r\n\r\n",
        "X: a\r\n\tContent-Length: 3\r\n\r\n",
        "X: a\n\r\n",
        "X: a\r\n\n",
        "X: a\rb\r\n\r\n",
        "no colon\r\n\r\n",
        ": no name\r\n\r\n",
        &format!("{chunked}3\nabc\r\n"),
        &format!("{chunked}3\r\nabcd\r\n"),
        &format!("{chunked}3\r\nabc\n"),
        &format!("{chunked}3\r\nab\r\n\r\n"),
        &format!("{chunked}3;x=y\r\nabc\r\n"),
        &format!("{chunked}3 \r\nabc\r\n"),
        &format!("{chunked}0x3\r\nabc\r\n"),
        &format!("{chunked}-1\r\nabc\r\n"),
        &format!("{chunked}\r\n"),
        &format!("{chunked}10000000000000003\r\nabc\r\n"),
        &format!("{chunked}0\r\n folded\r\n\r\n"),
        &format!("{chunked}0\r\nX: y\n\r\n"),
    ] {
        for pieces in [1, 2, 7, 1000] {
            let read = read(format!("{HEAD}{rest}").as_bytes(), pieces);
            assert_eq!(read, None, "{rest:?} in pieces of {pieces}");
        }
    }
    assert_eq!(read(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 99), None);
}

#[test]
fn a_head_says_what_its_request_wants() {
    for (rest, length, keeps, expects, upgrades) in [
        ("\r\n", Length::Known(0), true, false, false),
        ("Content-Length: 3\r\n\r\n", Length::Known(3), true, false, false),
        ("Transfer-Encoding: chunked\r\nX-Upgrade: y\r\n\r\n", Length::Chunked, true, false, false),
        (
            "Connection: a, Close\r\nExpect: 100-Continue\r\n\r\n",
            Length::Known(0),
            false,
            true,
            false,
        ),
        (
            "upgrade: a/1\r\nConnection: x, Upgrade\r\nExpect: other\r\n\r\n",
            Length::Known(0),
            true,
            false,
            true,
        ),
    ] {
        let head = head_of(rest).unwrap();
        let found = (head.length, head.keeps, head.expects, head.upgrades);
        assert_eq!(found, (length, keeps, expects, upgrades), "{rest:?}");
    }
    let old = read_request(
        "GET /a?b HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n".into(),
    );
    let old = old.unwrap();
    assert_eq!(
        (old.keeps, old.expects, old.uri.path(), old.uri.query()),
        (true, false, "/a", Some("b"))
    );
}

#[test]
fn a_request_names_its_host_once() {
    for (version, fields, expected) in [
        ("1.1", "Host: h\r\n", Ok(())),
        ("1.1", "host:\r\n", Ok(())),
        ("1.1", "X: y\r\n", Err("no Host")),
        ("1.1", "Host: h\r\nHost: h\r\n", Err("more than one Host")),
        ("1.0", "X: y\r\n", Ok(())),
        ("1.0", "Host: h\r\nHost: h\r\n", Err("more than one Host")),
    ] {
        let head = format!("GET / HTTP/{version}\r\n{fields}\r\n");
        let read = read_request(head.as_bytes().into()).map(drop);
        assert_eq!(read, expected.map_err(Malformed::Framing), "{version} {fields:?}");
    }
}

#[test]
fn first_lines_of_requests_have_one_form() {
    for line in [
        "CONNECT a:1 HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "G(T / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "",
    ] {
        let head = format!("{line}\r\nHost: h\r\n\r\n");
        assert!(read_request(head.as_bytes().into()).is_err(), "{line:?}");
    }
}

proptest! {
    #[test]
    fn pieces_do_not_matter_and_nothing_panics(
        parts in prop::collection::vec(prop::sample::select(vec![
            "POST / HTTP/1.1\r\n", "POST / HTTP/1.0\r\n", "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n", "\r\n", "\n", "5\r\n", "0\r\n", "abcde", "A: b\r\n", ":", " ",
        ]), 0..12),
        pieces in 1..9_usize,
    ) {
        let bytes = parts.concat();
        prop_assert_eq!(read(bytes.as_bytes(), pieces), read(bytes.as_bytes(), usize::MAX));
    }
}
