//! M1–M18: peers that break the protocol. Each ends with its code, in bounded memory.

use std::time::Duration;

use bytes::Bytes;
use strait_tunnel::{
    Brake, Class, Code, Config, Directions, Drain, EndedBy, Event, Limits, Read, Side, Tlvs,
};

use crate::frames::{
    ACCEPT, CREDIT, CUT, DATA, END, GOAWAY, HEAD, MORE, OPEN, PING, PONG, RESET, Raw, credit,
    frame, greeting, open_raw,
};
use crate::net::hub;

const SECOND: Duration = Duration::from_secs(1);

/// What the connection must end with, if it must.
fn check(name: &str, raw: &mut Raw, expected: Option<Code>) {
    let end = raw.end();
    assert_eq!(end.as_ref().map(|close| close.code), expected, "{name}: {end:?}");
    if let Some(expected) = expected {
        assert_eq!(end.unwrap().by, EndedBy::Us, "{name}");
        let last = raw.frames().pop().unwrap();
        let code = expected.to_wire().to_be_bytes();
        assert_eq!((last.kind, &last.payload[..2]), (CUT, &code[..]), "{name}");
        assert!(raw.connection.is_closed(), "{name}");
    }
}

fn data(id: u32, length: usize) -> Vec<u8> {
    frame(DATA, 0, id, &vec![1; length])
}

fn reset(id: u32, directions: u8) -> Vec<u8> {
    frame(RESET, 0, id, &[directions, 0, 0, 1])
}

/// Single mistakes: bytes after the handshake, and the code.
#[test]
fn mistakes_end_the_connection_with_their_code() {
    let three = [data(1, 16_376), data(1, 16_376), data(1, 17)].concat();
    let open = open_raw(1, 0);
    let goaway = |last: u32| frame(GOAWAY, 0, 0, &[&last.to_be_bytes()[..], &[0; 8]].concat());
    let table: Vec<(&str, Vec<u8>, Option<Code>)> = vec![
        ("M1 DATA beyond credit", [&open[..], &three].concat(), Some(Code::FlowControl)),
        ("M1 all of the credit", [&open[..], &three[..three.len() - 25]].concat(), None),
        ("M3 CREDIT 2^64-1", [&open[..], &credit(1, u64::MAX)].concat(), None),
        ("M3 CREDIT falls", [&open[..], &credit(1, 9), &credit(1, 3)].concat(), None),
        ("M3 CREDIT, unknown id", credit(9, 1 << 20), Some(Code::Protocol)),
        ("M3 CREDIT, idle id", credit(2, 1 << 20), Some(Code::Protocol)),
        (
            "M5 block interleaved",
            [frame(OPEN, MORE, 1, &[1; 9]), open_raw(3, 0)].concat(),
            Some(Code::Protocol),
        ),
        (
            "M5 block and DATA",
            [&open[..], &frame(OPEN, MORE, 3, &[1; 9]), &data(1, 1)].concat(),
            Some(Code::Protocol),
        ),
        ("M7 even id", open_raw(2, 0), Some(Code::Protocol)),
        ("M7 falling id", [open_raw(3, 0), open_raw(1, 0)].concat(), Some(Code::Protocol)),
        ("M7 id again", [open_raw(3, 0), open_raw(3, 0)].concat(), Some(Code::Protocol)),
        ("M7 id 0", open_raw(0, 0), Some(Code::Protocol)),
        ("M7 id 2^32-1", open_raw(u32::MAX, 0), Some(Code::Protocol)),
        ("M10 HELLO twice", frame(1, 0, 0, &[]), Some(Code::Protocol)),
        ("M14 RESET, never opened", reset(7, 3), Some(Code::Protocol)),
        ("RESET of nothing", [&open[..], &reset(1, 0)].concat(), Some(Code::Protocol)),
        ("M15 GOAWAY, never opened", goaway(2), Some(Code::Protocol)),
        ("M15 GOAWAY of none", goaway(0), None),
        ("M18 HEAD, never opened", frame(HEAD, 0, 2, &[0, 200]), Some(Code::Protocol)),
        ("M18 ACCEPT, never opened", frame(ACCEPT, 0, 2, &[0; 4]), Some(Code::Protocol)),
        (
            "ACCEPT of its own stream",
            [&open[..], &frame(ACCEPT, 0, 1, &[0; 4])].concat(),
            Some(Code::Protocol),
        ),
        ("DATA, never opened", data(1, 1), Some(Code::Protocol)),
        ("unknown type", frame(12, 0, 0, &[]), Some(Code::Protocol)),
        ("unknown type to be ignored", frame(128, 0xff, 77, &[1; 99]), None),
        ("OPEN cut short", frame(OPEN, 0, 1, &[1; 7]), Some(Code::FrameSize)),
        ("a frame too long", frame(DATA, 0, 1, &[0; 16_377]), Some(Code::FrameSize)),
        ("PING of seven bytes", frame(PING, 0, 0, &[0; 7]), Some(Code::FrameSize)),
    ];
    for (name, bytes, expected) in table {
        for cut in [usize::MAX, 1, 7] {
            let mut raw = Raw::ready(Side::Acceptor);
            for part in bytes.chunks(cut) {
                raw.send(part);
            }
            check(name, &mut raw, expected);
        }
    }
}

/// M2: a first frame that is longer than all the credit there is.
/// Row 41: CVE-2026-32314.
#[test]
fn m2_a_first_frame_beyond_the_first_credit() {
    let limits = Limits { frame: 65_528, ..Limits::default() };
    let mut raw = Raw::with(Side::Acceptor, Config { limits, ..hub() });
    raw.send(&greeting(1, b""));
    raw.bytes();
    raw.send(&open_raw(1, 0));
    raw.send(&frame(DATA, 0, 1, &[0; 32_769])[..8]);
    check("M2", &mut raw, Some(Code::FlowControl));
}

/// M12, M13 and others: mistakes on a stream end the stream, and only that.
#[test]
fn mistakes_of_a_stream_end_the_stream() {
    let ok = |flags| frame(HEAD, flags, 2, &[0, 200]);
    let trailers = |flags| frame(HEAD, flags, 2, &[0, 0]);
    let info = frame(HEAD, 0, 2, &[0, 100]);
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("M12 HEAD after END", [ok(END), ok(0)].concat()),
        ("M12 two final heads", [ok(0), ok(0)].concat()),
        ("M12 trailers first", trailers(END)),
        ("M12 trailers without END", [ok(0), trailers(0)].concat()),
        ("M12 101 without a request for it", frame(HEAD, 0, 2, &[0, 101])),
        ("M12 status 99", frame(HEAD, 0, 2, &[0, 99])),
        ("M12 status 1000", frame(HEAD, 0, 2, &[3, 232])),
        ("M12 informational with END", frame(HEAD, END, 2, &[0, 100])),
        ("nine informational heads", info.repeat(9)),
        ("M13 a value with LF", frame(HEAD, 0, 2, &[0, 200, 1, 0, 0, 1, b'\n'])),
        ("M13 a name in capitals", frame(HEAD, 0, 2, &[0, 200, 0, 1, b'A', 0, 0, 0])),
        (
            "M13 257 fields",
            frame(HEAD, 0, 2, &[&[0, 200][..], &[14, 0, 0, 0].repeat(257)].concat()),
        ),
        ("DATA before the head", data(2, 1)),
        ("END before the head", frame(DATA, END, 2, &[])),
        ("DATA after END", [ok(END), data(2, 1)].concat()),
        ("END twice", [ok(END), frame(DATA, END, 2, &[])].concat()),
        ("ACCEPT twice", frame(ACCEPT, 0, 2, &[0, 0, 1, 0]).repeat(2)),
        ("ACCEPT after HEAD", [ok(0), frame(ACCEPT, 0, 2, &[0; 4])].concat()),
    ];
    for (name, bytes) in table {
        let mut raw = Raw::ready(Side::Acceptor);
        let head = crate::streams::request("POST", Tlvs::default());
        let id = raw.connection.open(raw.now, &head, Class::Normal, false).unwrap();
        raw.bytes();
        raw.send(&bytes);
        while !matches!(raw.connection.read(id), Read::Pending | Read::End | Read::Broken(..)) {}
        let sent = raw.frames();
        let resets = sent.iter().filter(|frame| frame.kind == RESET);
        let codes: Vec<_> = resets.map(|frame| (frame.payload[0], frame.payload[3])).collect();
        assert_eq!(codes, [(3, 17)], "{name}: {sent:?}");
        let events = raw.events();
        let ends = events.iter().filter(|event| matches!(event, Event::Closed(..))).count();
        assert_eq!(ends, 1, "{name}: {events:?}");
        assert!(!events.iter().any(|event| matches!(event, Event::Ended(_))), "{name}");
        assert_eq!(raw.connection.usage().streams, 0, "{name}");
    }
}

/// What it is, what the peer's HELLO has, flags, a head, and what is read: none if it is broken.
type Said<'a> = (&'a str, &'a [u8], u8, &'a [u8], Option<Option<Duration>>);

/// Extensions of a head are read where both sides said so, and mistakes in them end the stream.
#[test]
fn extensions_that_cannot_be_end_the_stream() {
    const EXTENDED: u8 = 4;
    let capable: &[u8] = &[0, 6, 0, 8, 0, 0, 0, 0, 0, 0, 0, 32];
    let timed: &[u8] = &[0, 8, 0, 2, 0, 4, 0xff, 0xff, 0xff, 0xff, 0, 200];
    let took = Some(Some(Duration::from_micros(u32::MAX.into())));
    let table: [Said<'_>; 8] = [
        ("a time", capable, EXTENDED, timed, took),
        ("one that is not known", capable, EXTENDED, &[0, 4, 0, 4, 0, 0, 0, 200], Some(None)),
        ("no flag, so a status of 8", capable, 0, timed, None),
        ("a flag that means nothing here", b"", EXTENDED, timed, None),
        ("the same, ignored", b"", EXTENDED, &[0, 200], Some(None)),
        ("one that must be known", capable, EXTENDED, &[0, 4, 0, 3, 0, 0, 0, 200], None),
        ("a time of three bytes", capable, EXTENDED, &[0, 7, 0, 2, 0, 3, 0, 0, 0, 0, 200], None),
        ("longer than the head", capable, EXTENDED, &[0xff, 0xff, 0, 200], None),
    ];
    for (name, said, flags, head, expected) in table {
        let mut raw = Raw::fresh(Side::Acceptor);
        raw.send(&greeting(1, said));
        assert!(matches!(raw.connection.poll_event(), Some(Event::Ready(_))));
        raw.bytes();
        let asked = crate::streams::request("POST", Tlvs::default());
        let id = raw.connection.open(raw.now, &asked, Class::Normal, false).unwrap();
        raw.bytes();
        raw.send(&frame(HEAD, flags, 2, head));
        let read = match raw.connection.read(id) {
            Read::Head(head) => Some((head.status(), head.took())),
            _ => None,
        };
        assert_eq!(read, expected.map(|took| (200, took)), "{name}");
        let resets = raw.frames().iter().filter(|frame| frame.kind == RESET).count();
        assert_eq!(resets, usize::from(expected.is_none()), "{name}");
    }
}

/// A body that is longer or shorter than was said is never whole.
#[test]
fn a_body_has_the_length_that_was_announced() {
    let open = |flags| {
        let block = b"\x03\0\0\0\x01/\0\x0c\0\x08\0\x08\0\0\0\0\0\0\0\x03\0\0";
        frame(OPEN, flags, 1, &[&[1, 1, 0, 0, 0, 0, 0, 0][..], block].concat())
    };
    let end = frame(DATA, END, 1, &[]);
    let table = [
        ([open(0), data(1, 3), end.clone()].concat(), 0),
        ([open(0), data(1, 2), end].concat(), 1),
        ([open(0), data(1, 4)].concat(), 1),
        (open(END), 1),
    ];
    for (bytes, resets) in table {
        let mut raw = Raw::ready(Side::Acceptor);
        raw.send(&bytes);
        let found = raw.frames().iter().filter(|frame| frame.kind == RESET).count();
        assert_eq!(found, resets);
    }
}

/// M4: floods of OPEN are refused, and the work that runs keeps its place until it ends.
#[test]
fn m4_open_floods_are_refused() {
    let mut raw = Raw::ready(Side::Acceptor);
    let mut refused = 0;
    for round in 0..100_u32 {
        for at in 0..100 {
            raw.send(&open_raw(1 + 2 * (round * 100 + at), 0));
        }
        refused += raw.frames().iter().filter(|frame| frame.kind == RESET).count();
        assert!(raw.connection.memory() < 2 << 20);
    }
    assert_eq!(refused, 10_000 - 2_048);
    check("M4", &mut raw, None);
}

/// M4: an honest peer does not know yet that none are taken, and one read brings many.
#[test]
fn m4_what_comes_while_a_drain_is_told_is_refused() {
    let mut raw = Raw::ready(Side::Acceptor);
    let grace = 30 * SECOND;
    let drain = Drain { code: Code::Draining, grace, hard: grace, text: "over".into() };
    raw.connection.drain(raw.now, drain);
    let opens: Vec<_> = (0..4_000).map(|at| open_raw(1 + 2 * at, 0)).collect();
    raw.send(&opens.concat());
    check("a drain", &mut raw, None);
    let refused = raw.frames().iter().filter(|frame| frame.kind == RESET).count();
    assert_eq!(refused, 4_000);
}

/// M4: what this side refuses, because a service has too much to do, counts against nobody; what the
/// peer takes back before it is accepted does.
#[test]
fn m4_what_the_peer_takes_back_is_counted_and_what_is_refused_is_not() {
    for by_peer in [false, true] {
        let mut raw = Raw::ready(Side::Acceptor);
        let mut refused = 0;
        for round in 0..20 {
            let numbers = (0..500).map(|at| 1 + 2 * (round * 500 + at));
            for number in numbers.clone() {
                raw.send(&open_raw(number, 0));
            }
            let told = raw.events().into_iter().filter_map(|event| match event {
                Event::Incoming(id, _) => Some(id),
                _ => None,
            });
            let told: Vec<_> = told.collect();
            refused += 500 - told.len();
            raw.frames();
            // They are not taken back at once.
            raw.now += SECOND / 9;
            if by_peer {
                numbers.for_each(|number| raw.send(&reset(number, 3)));
            }
            raw.events();
            for id in told {
                if !by_peer {
                    raw.connection.reset(id, Directions::Both, Code::Overloaded, "256");
                }
                raw.connection.release(id);
            }
            raw.frames();
        }
        assert_eq!(refused > 0, by_peer, "{refused} were refused");
        raw.events();
        assert_eq!(raw.connection.usage().streams, 0);
    }
}

/// M4: OPEN and RESET in a row. The application still works for the streams that it was told of:
/// they count until it says that it is done.
/// Row 41: CVE-2023-44487.
#[test]
fn m4_resets_do_not_free_the_places_of_work_that_runs() {
    let limits = Limits { streams: 16, ..Limits::default() };
    let mut raw = Raw::with(Side::Acceptor, Config { limits, ..hub() });
    raw.send(&greeting(1, b""));
    raw.bytes();
    let mut told = Vec::new();
    for at in 0..40 {
        raw.send(&open_raw(1 + 2 * at, 0));
        told.extend(raw.events().into_iter().filter_map(|event| match event {
            Event::Incoming(id, _) => Some(id),
            _ => None,
        }));
        raw.send(&reset(1 + 2 * at, 3));
    }
    assert_eq!(told.len(), 16);
    let refused = raw.frames().iter().filter(|frame| frame.kind == RESET).count();
    assert_eq!(refused, 24);
    raw.events();
    for id in told {
        raw.connection.release(id);
    }
    assert_eq!(raw.connection.usage().streams, 0);
}

/// M4: of a peer that breaks off most of what it begins the rest is refused; it may break off as many
/// more as end in order.
/// Row 41: CVE-2023-44487.
#[test]
fn m4_resets_beyond_what_ends_in_order_are_refused() {
    const MANY: u32 = 10_000;
    // So many of three end in order; beside them, and 2,000, as many may be broken off.
    for (in_order, expected) in [(0, MANY as usize - 2_000), (2, 0)] {
        let mut raw = Raw::ready(Side::Acceptor);
        let mut refused = 0;
        for id in (0..MANY).map(|at| 1 + 2 * at) {
            let ends = id / 2 % 3 < in_order;
            raw.send(&open_raw(id, 0));
            let told = raw.events().into_iter().find_map(|event| match event {
                Event::Incoming(id, _) => Some(id),
                _ => None,
            });
            if let Some(told) = told {
                raw.connection.accept(told);
                if ends {
                    raw.connection.finish(told).unwrap();
                    raw.send(&frame(DATA, END, id, b""));
                } else {
                    raw.send(&reset(id, 3));
                }
                raw.events();
                raw.connection.release(told);
            }
            refused += raw.frames().iter().filter(|frame| frame.kind == RESET).count();
        }
        assert_eq!(refused, expected, "{in_order} of three");
        check("resets", &mut raw, None);
        assert_eq!(raw.connection.usage().streams, 0);
    }
}

/// M4: refusals that nobody takes end the connection.
#[test]
fn m4_floods_of_what_is_refused_end_the_connection() {
    let mut raw = Raw::ready(Side::Acceptor);
    for at in 0..2_048 + 4_097 {
        raw.send(&open_raw(1 + 2 * at, 0));
    }
    check("refusals", &mut raw, Some(Code::EnhanceCalm));
}

/// M5: parts without end.
/// Row 41: CVE-2024-27316, CVE-2023-45288.
#[test]
fn m5_a_block_has_few_parts_and_a_length() {
    let mut raw = Raw::ready(Side::Acceptor);
    raw.send(&frame(OPEN, MORE, 1, &[1; 8]).repeat(1));
    for _ in 0..8 {
        raw.send(&frame(OPEN, MORE, 1, &[]));
    }
    check("parts", &mut raw, Some(Code::EnhanceCalm));
    let mut raw = Raw::ready(Side::Acceptor);
    for _ in 0..5 {
        raw.send(&frame(OPEN, MORE, 1, &[1; 16_376]));
    }
    check("length", &mut raw, Some(Code::FrameSize));
}

/// M6: floods of cheap frames.
#[test]
fn m6_floods_of_cheap_frames_end_the_connection() {
    let floods = [
        ("PING", frame(PING, 0, 0, &[9; 8])),
        ("PONG", frame(PONG, 0, 0, &[9; 8])),
        ("empty DATA", frame(DATA, 0, 1, &[])),
        ("small CREDIT", frame(CREDIT, 0, 1, &[0; 8])),
        ("GOAWAY", frame(GOAWAY, 0, 0, &[0; 12])),
    ];
    for (name, flood) in floods {
        let mut raw = Raw::ready(Side::Acceptor);
        raw.send(&open_raw(1, 0));
        for _ in 0..3_000 {
            raw.send(&flood);
            assert!(raw.connection.memory() < 64 << 10);
        }
        check(name, &mut raw, Some(Code::EnhanceCalm));
        // As often as is allowed, for a minute.
        let mut raw = Raw::ready(Side::Acceptor);
        raw.send(&open_raw(1, 0));
        for _ in 0..600 {
            raw.now += SECOND / 10;
            raw.send(&flood);
            raw.bytes();
        }
        check(name, &mut raw, None);
    }
}

/// M8: 2,048 streams of a peer that grants nothing and takes nothing.
#[test]
fn m8_a_peer_that_never_reads_holds_little() {
    let mut raw = Raw::ready(Side::Acceptor);
    for at in 0..2_048_u32 {
        raw.send(&open_raw(1 + 2 * at, 0));
        for event in raw.events() {
            if let Event::Incoming(id, _) = event {
                raw.connection.accept(id);
                assert_eq!(raw.connection.write(id, &mut Bytes::from_static(b"bytes")), 0);
            }
        }
    }
    let usage = raw.connection.usage();
    assert_eq!((usage.streams, usage.queued), (2_048, 0));
    assert!(raw.connection.memory() < 2 << 20, "{}", raw.connection.memory());
    raw.pass(14 * SECOND);
    assert!(!raw.connection.is_closed());
    raw.pass(SECOND);
    assert_eq!(raw.end().unwrap().code, Code::Lost);
}

/// M8: it sends signs of life, and takes no control frame for 30 s.
#[test]
fn m8_a_peer_that_talks_and_never_listens_is_cut() {
    let mut raw = Raw::ready(Side::Acceptor);
    for at in 0..31 {
        raw.send(&frame(PING, 0, 0, &[at; 8]));
        raw.pass(SECOND);
    }
    assert_eq!(raw.end().unwrap().code, Code::EnhanceCalm);
}

/// M9: a peer that takes a byte a second costs no more than its streams, and is let live.
#[test]
fn m9_a_slow_peer_is_let_live() {
    use bytes::Buf;
    let mut raw = Raw::ready(Side::Acceptor);
    let mut out = strait_tunnel::Out::new(0);
    raw.send(&credit(0, u64::MAX));
    for at in 0..40_u32 {
        raw.send(&open_raw(1 + 2 * at, 1 << 20));
        for event in raw.events() {
            if let Event::Incoming(id, _) = event {
                raw.connection.accept(id);
                raw.connection.write(id, &mut Bytes::from(vec![1; 1 << 20]));
            }
        }
    }
    for _ in 0..120 {
        raw.connection.poll_transmit(raw.now, &mut out);
        out.advance(1);
        raw.send(&frame(128, 0, 0, &[]));
        raw.pass(SECOND);
        assert!(raw.connection.usage().queued <= 1 << 20);
    }
    assert_eq!(raw.end(), None);
}

/// M10, M11: the handshake has its time, its size, and nothing else in it.
#[test]
fn m10_m11_the_handshake_is_short() {
    let hello = &greeting(1, b"")[16..];
    let preface = &greeting(1, b"")[..16];
    let huge = frame(1, 0, 0, &vec![0; 4_097]);
    let odd = &greeting(1, &[0, 99, 0, 0])[16..];
    let claims = &greeting(2, b"")[16..];
    let table = [
        ("M10 huge", &huge[..], Code::FrameSize),
        ("M10 odd TLV", odd, Code::Version),
        ("M19 another role", claims, Code::Auth),
        ("a frame before", &open_raw(1, 0), Code::Protocol),
        ("DATA before", &data(1, 1), Code::Protocol),
    ];
    for (name, bytes, code) in table {
        let mut raw = Raw::fresh(Side::Acceptor);
        raw.send(preface);
        raw.bytes();
        raw.send(bytes);
        check(name, &mut raw, Some(code));
    }
    // Late, or never: by the byte.
    for (sent, code) in
        [(5, Code::Timeout), (20, Code::Timeout), (16 + hello.len() - 1, Code::Timeout)]
    {
        let mut raw = Raw::fresh(Side::Acceptor);
        let all = greeting(1, b"");
        for byte in &all[..sent] {
            raw.send(&[*byte]);
        }
        raw.pass(9 * SECOND);
        raw.send(&all[sent..sent + 1].repeat(usize::from(sent == 5)));
        assert!(!raw.connection.is_closed());
        raw.pass(SECOND);
        assert_eq!(raw.end().unwrap().code, code);
        raw.bytes();
        assert!(raw.connection.is_closed());
    }
    let mut raw = Raw::fresh(Side::Acceptor);
    raw.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!((raw.bytes(), raw.connection.is_closed()), (vec![], true));
}

/// M16: half a frame, and silence.
#[test]
fn m16_half_a_frame_and_silence() {
    let mut raw = Raw::ready(Side::Acceptor);
    raw.send(&data(1, 100)[..5]);
    raw.pass(16 * SECOND);
    assert_eq!(raw.end().unwrap().code, Code::Lost);
}

/// Data for streams that were reset here may come for a while, up to their credit.
#[test]
fn late_data_is_dropped_up_to_the_credit_of_what_was_reset() {
    let mut raw = Raw::ready(Side::Acceptor);
    raw.send(&open_raw(1, 0));
    let Some(Event::Incoming(id, _)) = raw.connection.poll_event() else { panic!() };
    raw.connection.reset(id, Directions::Both, Code::Forbidden, "no");
    raw.connection.release(id);
    raw.bytes();
    raw.send(&[data(1, 16_376), data(1, 16_376), data(1, 16)].concat());
    assert_eq!(raw.end(), None);
    raw.send(&data(1, 1));
    check("late", &mut raw, Some(Code::FlowControl));
}

/// With the brake on nothing more is granted, and a peer that honours that is not cut.
#[test]
fn the_brake_withholds_the_credit_of_the_connection() {
    let mut raw = Raw::ready(Side::Acceptor);
    raw.connection.set_brake(Brake::Full);
    for at in 0..8 {
        raw.send(&open_raw(1 + 2 * at, 0));
    }
    assert!(raw.frames().iter().all(|frame| frame.kind == RESET), "no stream is taken");
    raw.connection.set_brake(Brake::NoGrowth);
    for at in 8..16 {
        raw.send(&[open_raw(1 + 2 * at, 0), data(1 + 2 * at, 10_000)].concat());
    }
    raw.connection.set_brake(Brake::Full);
    for at in 8..16 {
        raw.send(&data(1 + 2 * at, 10_000));
    }
    let granted = |raw: &mut Raw| {
        let frames = raw.frames();
        let credit = frames.into_iter().rfind(|frame| frame.kind == CREDIT && frame.id == 0);
        credit.map(|frame| u64::from_be_bytes(frame.payload.try_into().unwrap()))
    };
    assert_eq!(granted(&mut raw), None);
    assert_eq!(raw.connection.usage().outstanding, (256 << 10) - 160_000);
    raw.connection.set_brake(Brake::Free);
    assert_eq!(granted(&mut raw), Some((256 << 10) + 160_000));
}

/// Who holds much for long is named first, so that it can be reset when memory is short.
#[test]
fn the_heaviest_streams_are_known() {
    let mut raw = Raw::ready(Side::Acceptor);
    for (id, length) in [(1, 10), (3, 9_000), (5, 0), (7, 4_000)] {
        raw.send(&[open_raw(id, 0), data(id, length)].concat());
        raw.now += SECOND;
    }
    let heaviest = raw.connection.heaviest(raw.now, 2);
    let ids: Vec<_> = heaviest.iter().map(|heavy| (heavy.id.get(), heavy.bytes)).collect();
    assert_eq!(ids, [(3, 9_000), (7, 4_000)]);
    assert_eq!(heaviest[0].weight, 9_000 * 3_000);
}
