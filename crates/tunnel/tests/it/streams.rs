//! Exchanges as the protocol describes them.

use std::time::Duration;

use bytes::Bytes;
use strait_tunnel::{
    Class, Code, Config, Directions, EndedBy, Event, Field, Limits, Method, OpenHead, Read,
    Request, RequestParts, Response, Stalled, StreamId, Tlvs, Trailers,
};

use crate::net::{ACCEPTOR, DIALLER, Line, Net, agent, hub};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn request(method: &str, tlvs: Tlvs<'_>) -> OpenHead {
    let method = Method::new(method).unwrap();
    let parts = RequestParts { method, authority: "h", path: "/", tlvs };
    OpenHead::Http(Request::new(&parts, [Field::new("accept", b"*/*")]).unwrap())
}

pub(crate) fn response(status: u16) -> Response {
    Response::new(status, [Field::new("server", b"s")]).unwrap()
}

/// Runs until nothing is in flight.
fn quiet(net: &mut Net) {
    net.settle();
    net.run(SECOND, |net| !net.in_flight());
}

/// Opens an exchange from the hub, and lets it arrive.
fn arrive(net: &mut Net, head: &OpenHead, end: bool) -> StreamId {
    let now = net.now;
    let id = net.ends[ACCEPTOR].connection.open(now, head, Class::Normal, end).unwrap();
    net.carry();
    id
}

fn events(net: &mut Net, end: usize) -> Vec<Event> {
    std::iter::from_fn(|| net.ends[end].connection.poll_event()).collect()
}

fn reads(net: &mut Net, end: usize, id: StreamId) -> Vec<Read> {
    let mut all = Vec::new();
    loop {
        let read = net.ends[end].connection.read(id);
        let last = matches!(read, Read::Pending | Read::End | Read::Broken(..));
        all.push(read);
        if last {
            return all;
        }
    }
}

fn closed(events: &[Event]) -> Option<(Code, bool)> {
    events.iter().find_map(|event| match event {
        Event::Closed(_, end) => Some((end.code, end.truncated)),
        _ => None,
    })
}

/// Both sides see for how long a receiver grants nothing; who keeps up does not stand still.
#[test]
fn a_direction_without_credit_stands_still() {
    let limits = Limits { stream_credit_max: 64 << 10, ..Limits::default() };
    let config = |config| Config { limits, ..config };
    let mut net = Net::with(Line::default(), 1, config(agent()), config(hub()));
    quiet(&mut net);
    let stalled = |net: &mut Net, end: usize, id| {
        let now = net.now;
        net.ends[end].connection.take_stalled(now, id)
    };
    let id = arrive(&mut net, &request("POST", Tlvs::default()), false);
    net.ends[DIALLER].connection.accept(id);
    let mut small = Bytes::from_static(b"small");
    net.ends[ACCEPTOR].connection.write(id, &mut small);
    net.carry();
    net.now += SECOND;
    for end in [ACCEPTOR, DIALLER] {
        assert_eq!(stalled(&mut net, end, id), Stalled::default());
    }
    let mut large = Bytes::from(vec![7; 70_000]);
    net.ends[ACCEPTOR].connection.write(id, &mut large);
    assert!(!large.is_empty());
    net.carry();
    net.now += 3 * SECOND;
    let (sending, receiving) = (stalled(&mut net, ACCEPTOR, id), stalled(&mut net, DIALLER, id));
    for (stood, other) in
        [(sending.sending, sending.receiving), (receiving.receiving, receiving.sending)]
    {
        assert!(stood >= 3 * SECOND && stood < 4 * SECOND, "{stood:?}");
        assert_eq!(other, Duration::ZERO);
    }
    // What comes is taken now: both go on.
    let now = net.now;
    let agent = &mut net.ends[DIALLER].connection;
    while let Read::Data(bytes) = agent.read(id) {
        agent.consumed(now, id, bytes.len());
    }
    net.carry();
    net.ends[ACCEPTOR].connection.write(id, &mut large);
    assert!(large.is_empty());
    net.carry();
    // Until the credit was there.
    assert_eq!(stalled(&mut net, ACCEPTOR, id).sending, Line::default().latency);
    net.now += SECOND;
    for end in [ACCEPTOR, DIALLER] {
        assert_eq!(stalled(&mut net, end, id), Stalled::default());
    }
}

#[test]
fn how_long_a_service_took_is_told_to_a_peer_that_reads_it() {
    let long = vec![b'v'; 40_000];
    let took = Duration::from_micros(1_500);
    for (agents, hubs, value, expected) in [
        (u64::MAX, u64::MAX, &b"v"[..], Some(took)),
        // In several frames.
        (u64::MAX, u64::MAX, &long, Some(took)),
        (u64::MAX, 7, b"v", None),
        (7, u64::MAX, &long, None),
    ] {
        let (mut agent, mut hub) = (agent(), hub());
        agent.capabilities &= agents;
        hub.capabilities &= hubs;
        let mut net = Net::with(Line::default(), 1, agent, hub);
        quiet(&mut net);
        let id = arrive(&mut net, &request("GET", Tlvs::default()), true);
        let head = Response::timed(200, [Field::new("server", value)], took).unwrap();
        net.ends[DIALLER].connection.send_head(id, &head, true).unwrap();
        net.carry();
        let read = reads(&mut net, ACCEPTOR, id);
        let [Read::Head(head), Read::End] = &read[..] else { panic!("{read:?}") };
        let fields: Vec<_> = head.fields().map(|field| field.value.len()).collect();
        assert_eq!((head.status(), head.took(), fields), (200, expected, vec![value.len()]));
    }
}

#[test]
fn an_exchange_has_heads_bytes_and_trailers_in_their_order() {
    let mut net = Net::ready(Line::default(), 1);
    quiet(&mut net);
    let id = arrive(&mut net, &request("POST", Tlvs::default()), false);
    let incoming = events(&mut net, DIALLER);
    let Event::Incoming(theirs, incoming) = &incoming[0] else { panic!("{incoming:?}") };
    assert_eq!((*theirs, &incoming.head), (id, &request("POST", Tlvs::default())));

    let agent = &mut net.ends[DIALLER].connection;
    agent.accept(id);
    agent.send_head(id, &response(100), false).unwrap();
    agent.send_head(id, &response(200), false).unwrap();
    assert_eq!(agent.write(id, &mut Bytes::from_static(b"body")), 4);
    let trailers = Trailers::new([Field::new("grpc-status", b"0")]).unwrap();
    agent.send_trailers(id, &trailers).unwrap();
    net.carry();
    let first = events(&mut net, ACCEPTOR);
    assert!(matches!(first[0], Event::Accepted(_)), "{first:?}");
    let expected = [
        Read::Head(response(100)),
        Read::Head(response(200)),
        Read::Data(Bytes::from_static(b"body")),
        Read::Trailers(trailers),
        Read::End,
    ];
    assert_eq!(reads(&mut net, ACCEPTOR, id), expected);

    let hub = &mut net.ends[ACCEPTOR].connection;
    hub.write(id, &mut Bytes::from_static(b"ask"));
    hub.finish(id).unwrap();
    net.carry();
    assert_eq!(reads(&mut net, DIALLER, id), [Read::Data(Bytes::from_static(b"ask")), Read::End]);
    for end in [DIALLER, ACCEPTOR] {
        assert_eq!(closed(&events(&mut net, end)), Some((Code::None, false)));
        net.ends[end].connection.release(id);
    }
    assert!(net.all_ended());
}

/// An answer before the request's end: the rest is not wanted, and the exchange still ends well.
#[test]
fn an_early_answer_stops_the_upload() {
    let mut net = Net::ready(Line::default(), 1);
    quiet(&mut net);
    let id = arrive(&mut net, &request("PUT", Tlvs::default()), false);
    net.ends[ACCEPTOR].connection.write(id, &mut Bytes::from(vec![1; 30_000]));
    net.carry();
    events(&mut net, DIALLER);
    let agent = &mut net.ends[DIALLER].connection;
    agent.accept(id);
    agent.send_head(id, &response(413), true).unwrap();
    agent.reset(id, Directions::Receive, Code::None, "");
    net.carry();
    let told = events(&mut net, ACCEPTOR);
    assert!(told.iter().any(|event| matches!(event, Event::Stopped(..))), "{told:?}");
    assert_eq!(reads(&mut net, ACCEPTOR, id), [Read::Head(response(413)), Read::End]);
    net.carry();
    assert_eq!(closed(&events(&mut net, DIALLER)), Some((Code::None, false)));
    assert_eq!(closed(&events(&mut net, ACCEPTOR)), Some((Code::None, false)));
}

/// A body that breaks off never looks complete.
#[test]
fn a_broken_answer_is_not_an_end() {
    let mut net = Net::ready(Line::default(), 1);
    quiet(&mut net);
    let id = arrive(&mut net, &request("GET", Tlvs::default()), true);
    events(&mut net, DIALLER);
    let agent = &mut net.ends[DIALLER].connection;
    agent.accept(id);
    agent.send_head(id, &response(200), false).unwrap();
    agent.write(id, &mut Bytes::from_static(b"part"));
    net.carry();
    net.ends[DIALLER].connection.reset(id, Directions::Send, Code::UpstreamReset, "gone");
    net.carry();
    events(&mut net, ACCEPTOR);
    let found = reads(&mut net, ACCEPTOR, id);
    assert_eq!(found.last(), Some(&Read::Broken(Code::UpstreamReset, EndedBy::Peer)));
    assert_eq!(closed(&events(&mut net, ACCEPTOR)), Some((Code::UpstreamReset, true)));
}

/// Each side knows whether it ended a stream itself, from what it reads and from what it is told.
#[test]
fn an_end_says_who_made_it() {
    for ender in [ACCEPTOR, DIALLER] {
        for whole in [false, true] {
            let mut net = Net::ready(Line::default(), 1);
            quiet(&mut net);
            let id = arrive(&mut net, &request("PUT", Tlvs::default()), false);
            events(&mut net, DIALLER);
            net.ends[DIALLER].connection.accept(id);
            net.carry();
            events(&mut net, ACCEPTOR);
            let now = net.now;
            let (connection, code) = (&mut net.ends[ender].connection, Code::Revoked);
            if whole {
                connection.cut(now, code, "");
            } else {
                connection.reset(id, Directions::Both, code, "");
            }
            assert_eq!(connection.read(id), Read::Broken(code, EndedBy::Us));
            net.carry();
            for (end, by) in [(ender, EndedBy::Us), (1 - ender, EndedBy::Peer)] {
                assert_eq!(net.ends[end].connection.read(id), Read::Broken(code, by));
                let told = events(&mut net, end).into_iter().find_map(|event| match event {
                    Event::Closed(_, end) => Some(end.by),
                    _ => None,
                });
                assert_eq!(told, Some(by), "{whole}");
            }
        }
    }
}

/// An ACCEPT that waits for company is before all else of its stream, and alone after 10 ms.
#[test]
fn an_acceptance_may_wait_for_an_answer() {
    for (answer, push, wait) in [(true, false, 0), (false, true, 0), (false, false, 10)] {
        let mut net = Net::ready(Line::default(), 1);
        quiet(&mut net);
        let id = arrive(&mut net, &request("GET", Tlvs::default()), true);
        let other = arrive(&mut net, &request("GET", Tlvs::default()), true);
        events(&mut net, DIALLER);
        let now = net.now;
        let agent = &mut net.ends[DIALLER].connection;
        assert!(agent.accept_with_next(now, id), "there is a deadline now");
        assert!(!agent.accept_with_next(now, id), "once is enough");
        assert!(!agent.accept_with_next(now, other), "the deadline is there");
        assert!(agent.deadline().is_some_and(|due| due == now + Duration::from_millis(10)));
        net.carry();
        assert!(events(&mut net, ACCEPTOR).is_empty(), "nothing leaves alone");
        let agent = &mut net.ends[DIALLER].connection;
        if answer {
            agent.send_head(id, &response(200), true).unwrap();
        }
        if push {
            agent.push(id);
        }
        let due = now + Duration::from_millis(wait);
        agent.expire(due);
        net.carry();
        let told = events(&mut net, ACCEPTOR);
        let accepted = told.iter().filter(|event| matches!(event, Event::Accepted(_))).count();
        assert_eq!(accepted, if wait == 0 { 1 } else { 2 }, "{told:?}");
        if wait == 0 {
            assert!(matches!(told[0], Event::Accepted(first) if first == id), "{told:?}");
            assert_eq!(
                net.ends[DIALLER].connection.deadline(),
                Some(now + Duration::from_millis(10))
            );
        }
    }
}

/// What was written before a break arrives before it, however long that takes.
#[test]
fn an_abort_stands_behind_what_was_written() {
    for length in [0, 4, 32 << 10] {
        let mut net = Net::ready(Line::default(), 1);
        quiet(&mut net);
        let id = arrive(&mut net, &request("PUT", Tlvs::default()), false);
        events(&mut net, DIALLER);
        net.ends[DIALLER].connection.accept(id);
        let hub = &mut net.ends[ACCEPTOR].connection;
        assert_eq!(hub.write(id, &mut Bytes::from(vec![1; length])), length);
        hub.abort(id, Code::Cancel, "gone");
        assert_eq!(hub.write(id, &mut Bytes::from_static(b"more")), 0);
        assert!(hub.finish(id).is_err());
        net.carry();
        events(&mut net, DIALLER);
        let mut found = reads(&mut net, DIALLER, id);
        assert_eq!(found.pop(), Some(Read::Broken(Code::Cancel, EndedBy::Peer)), "{length}");
        let bytes = found.iter().map(|read| match read {
            Read::Data(bytes) => bytes.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(bytes.sum::<usize>(), length);
    }
}

/// Whoever wants no more of what breaks off is not told that it was all.
#[test]
fn an_abort_that_is_stopped_is_no_end() {
    let mut net = Net::ready(Line::default(), 1);
    quiet(&mut net);
    let id = arrive(&mut net, &request("PUT", Tlvs::default()), false);
    events(&mut net, DIALLER);
    let agent = &mut net.ends[DIALLER].connection;
    agent.accept(id);
    agent.reset(id, Directions::Receive, Code::None, "");
    let hub = &mut net.ends[ACCEPTOR].connection;
    hub.write(id, &mut Bytes::from(vec![1; 32 << 10]));
    hub.abort(id, Code::Cancel, "gone");
    net.carry();
    net.ends[DIALLER].connection.reset(id, Directions::Send, Code::Aborted, "");
    net.carry();
    assert_eq!(closed(&events(&mut net, DIALLER)), Some((Code::Cancel, true)));
}

/// After ACCEPT nothing proves that nothing ran: a refusal becomes ABORTED.
#[test]
fn what_was_accepted_is_never_refused() {
    for (accept, expected) in [(false, (Code::Draining, true)), (true, (Code::Aborted, false))] {
        let mut net = Net::ready(Line::default(), 1);
        quiet(&mut net);
        let id = arrive(&mut net, &request("POST", Tlvs::default()), true);
        events(&mut net, DIALLER);
        let agent = &mut net.ends[DIALLER].connection;
        if accept {
            agent.accept(id);
        }
        agent.reset(id, Directions::Both, Code::Draining, "");
        net.carry();
        let found = events(&mut net, ACCEPTOR);
        let end = found.iter().find_map(|event| match event {
            Event::Closed(_, end) => Some((end.code, end.unexecuted)),
            _ => None,
        });
        assert_eq!(end, Some(expected));
    }
}

/// 101 turns an exchange into bytes both ways, and only where it was asked for.
#[test]
fn an_upgrade_must_have_been_asked_for() {
    let mut net = Net::ready(Line::default(), 1);
    quiet(&mut net);
    let plain = arrive(&mut net, &request("GET", Tlvs::default()), false);
    let tlvs = Tlvs { upgrade: "websocket", ..Tlvs::default() };
    let upgrade = arrive(&mut net, &request("GET", tlvs), false);
    events(&mut net, DIALLER);
    let agent = &mut net.ends[DIALLER].connection;
    assert!(agent.send_head(plain, &response(101), false).is_err());
    agent.accept(upgrade);
    agent.send_head(upgrade, &response(101), false).unwrap();
    assert_eq!(agent.write(upgrade, &mut Bytes::from_static(b"frame")), 5);
    assert!(agent.send_trailers(upgrade, &Trailers::new([]).unwrap()).is_err());
    net.carry();
    events(&mut net, ACCEPTOR);
    let expected =
        [Read::Head(response(101)), Read::Data(Bytes::from_static(b"frame")), Read::Pending];
    assert_eq!(reads(&mut net, ACCEPTOR, upgrade), expected);
}

/// An opening that nobody takes ends after 15 s.
#[test]
fn an_opening_is_not_waited_for_for_ever() {
    let mut net = Net::ready(Line::default(), 1);
    net.ends[DIALLER].app.mute = true;
    let now = net.now;
    let id = net.ends[ACCEPTOR].open(now, Class::Normal, 10, 10).unwrap();
    assert!(net.run(20 * SECOND, |net| net.ends[ACCEPTOR].app.ends.contains_key(&id)));
    let end = &net.ends[ACCEPTOR].app.ends[&id];
    assert_eq!((end.code, end.unexecuted), (Code::Timeout, false));
    assert_eq!(net.now - now, 15 * SECOND);
}

/// ACCEPT never follows a head, not even when the application asks for it.
#[test]
fn an_acceptance_after_the_head_is_not_sent() {
    let mut net = Net::ready(Line::default(), 1);
    quiet(&mut net);
    let id = arrive(&mut net, &request("GET", Tlvs::default()), true);
    events(&mut net, DIALLER);
    let agent = &mut net.ends[DIALLER].connection;
    agent.send_head(id, &response(403), true).unwrap();
    agent.accept(id);
    net.carry();
    assert_eq!(reads(&mut net, ACCEPTOR, id), [Read::Head(response(403)), Read::End]);
    assert_eq!(closed(&events(&mut net, ACCEPTOR)), Some((Code::None, false)));
}
