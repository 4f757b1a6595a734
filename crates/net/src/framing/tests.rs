//! Requests as they are cut into pieces, and those that are not taken.

use proptest::prelude::*;

use super::*;

const HEAD: &str = "POST / HTTP/1.1\r\nHost: h\r\n";

/// Whether bytes are taken, and if so whether they end between two requests.
fn read(bytes: &[u8], pieces: usize) -> Option<bool> {
    let mut framing = Framing::default();
    for piece in bytes.chunks(pieces.max(1)) {
        framing.take(piece).ok()?;
    }
    Some(!framing.is_within())
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
        ("Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n", true),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
        ("Transfer-Encoding: Chunked\r\n\r\n3\r\na\nb\r\n0\r\n", false),
        ("Transfer-Encoding: chunked\r\n\r\n00A\r\n0123456789\r\n0\r\nX: y\r\n\r\n", true),
        ("X-Length: a b\r\nX:\r\n\r\n", true),
    ] {
        for pieces in [1, 2, 7, 1000] {
            let read = read(format!("{HEAD}{rest}").as_bytes(), pieces);
            assert_eq!(read, Some(ended), "{rest:?} in pieces of {pieces}");
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
fn nothing_of_a_refused_line_is_passed_on() {
    let mut framing = Framing::default();
    let request = format!("{HEAD}\r\n{HEAD}X: a\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!(framing.take(request.as_bytes()), Err(2 * HEAD.len() + 2));
}

#[test]
fn nothing_behind_a_request_for_another_protocol_is_taken_before_its_answer() {
    for (rest, asks) in [
        ("Upgrade: websocket\r\n\r\n", true),
        ("upgrade: a/1\r\nUpgrade: b\r\n\r\n", true),
        ("Upgrade:\r\nContent-Length: 2\r\n\r\nab", true),
        ("Transfer-Encoding: chunked\r\nUpgrade: x\r\n\r\n1\r\na\r\n0\r\n\r\n", true),
        ("Connection: upgrade\r\n\r\n", false),
        ("X-Upgrade: x\r\n\r\n", false),
    ] {
        let mut framing = Framing::default();
        let request = format!("{HEAD}{rest}");
        let both = format!("{request}\x01\x05hello");
        assert_eq!(framing.take(&both.as_bytes()[..1]), Ok(1));
        assert!(!framing.asks());
        let taken = framing.take(&both.as_bytes()[1..]);
        if asks {
            assert_eq!(taken, Ok(request.len() - 1), "{rest:?}");
            assert_eq!((framing.asks(), framing.is_within()), (true, false));
            assert_eq!(framing.take(b"more"), Ok(0));
            framing.resume();
            assert_eq!(framing.take(HEAD.as_bytes()), Ok(HEAD.len()));
            assert!(framing.is_within() && !framing.asks());
        } else {
            assert_eq!(taken, Ok(both.len() - 1), "{rest:?}");
        }
    }
    for line in ["CONNECT a:1 HTTP/1.1\r\n", "GET /a#b HTTP/1.1\r\n"] {
        assert_eq!(Framing::default().take(line.as_bytes()), Err(0), "{line:?}");
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
