//! T2, T3: what a line can carry is carried, and who has little to say does not wait for it.

use std::time::Duration;

use bytes::Bytes;
use strait_tunnel::{Class, OpenHead, RawHead, Side, Tlvs};

use crate::net::{ACCEPTOR, DIALLER, Line, Net, pattern};

const SECOND: Duration = Duration::from_secs(1);

/// T3: windows grow until one stream fills a line of 5 MB in flight, as 1 Gbit/s × 40 ms is.
#[test]
fn t3_one_stream_fills_a_long_line() {
    let line = Line {
        latency: Duration::from_millis(200),
        rate: 12_500_000,
        buffer: 128 << 10,
        cut: usize::MAX,
    };
    let mut net = Net::ready(line, 1);
    let now = net.now;
    let id = net.ends[ACCEPTOR].open(now, Class::Normal, 50 << 20, 0).unwrap();
    let got = |net: &Net| net.ends[DIALLER].app.got.get(&id).copied().unwrap_or(0);
    assert!(net.run(60 * SECOND, |net| got(net) > 25 << 20));
    let (from, since) = (got(&net), net.now);
    assert!(net.run(60 * SECOND, |net| got(net) > 45 << 20));
    let bytes = got(&net) - from;
    let rate = bytes as f64 / (net.now - since).as_secs_f64();
    assert!(rate > 0.9 * 12_500_000.0, "{rate}");
}

/// T3: a small body takes one round trip, either way, and does not wait for windows to grow. Of many at
/// once that is so from far away; nearby, where a round trip takes no time, others hold less.
#[test]
fn t3_small_bodies_take_one_round_trip() {
    const BYTES: u64 = 200 << 10;
    for (micros, open, trips) in [
        (50_000, 60, [1.0, 1.0]),
        (1_000, 60, [1.0, 1.0]),
        (999, 0, [1.0, 1.0]),
        (999, 60, [4.0, 1.0]),
    ] {
        let latency = Duration::from_micros(micros);
        let line = Line { latency, rate: 0, buffer: 1 << 20, cut: usize::MAX };
        let mut net = Net::ready(line, 1);
        net.pass(SECOND);
        for _ in 0..open {
            let now = net.now;
            let id = net.ends[ACCEPTOR].open(now, Class::Normal, 0, 1 << 20).unwrap();
            net.ends[ACCEPTOR].app.stalled.insert(id);
        }
        net.pass(9 * SECOND);
        for ((up, down), trips) in [(0, BYTES), (BYTES, 0)].into_iter().zip(trips) {
            let begun = net.now;
            let id = net.ends[ACCEPTOR].open(begun, Class::Normal, up, down).unwrap();
            assert!(net.run(SECOND, |net| net.ends[ACCEPTOR].app.ends.contains_key(&id)));
            let took = (net.now - begun).div_duration_f64(2 * latency);
            assert_eq!(
                took, trips,
                "round trips of {micros} us for {up} up, {down} down beside {open}"
            );
        }
    }
}

/// T3: a line that carried a large body is known: the next one is as fast from its second round trip
/// on, however long nobody asked in between.
#[test]
fn t3_what_a_body_needed_the_next_one_has() {
    const LATENCY: Duration = Duration::from_millis(50);
    let line = Line { latency: LATENCY, rate: 0, buffer: 8 << 20, cut: usize::MAX };
    let mut net = Net::ready(line, 1);
    net.pass(SECOND);
    for trips in [5, 2, 2] {
        net.pass(60 * SECOND);
        let begun = net.now;
        let id = net.ends[ACCEPTOR].open(begun, Class::Normal, 0, 4 << 20).unwrap();
        assert!(net.run(2 * SECOND, |net| net.ends[ACCEPTOR].app.ends.contains_key(&id)));
        assert_eq!(net.now - begun, trips * 2 * LATENCY);
    }
}

/// T2: short messages beside bulk that fills the line come within two round trips and 5 ms.
#[test]
fn t2_short_messages_do_not_wait_for_bulk() {
    let line = Line {
        latency: Duration::from_millis(20),
        rate: 10_000_000,
        buffer: 128 << 10,
        cut: usize::MAX,
    };
    let mut net = Net::ready(line, 1);
    let now = net.now;
    for _ in 0..20 {
        net.ends[ACCEPTOR].open(now, Class::Normal, 4 << 20, 0).unwrap();
    }
    let head = OpenHead::Raw(RawHead::new(&Tlvs { service: "0", ..Tlvs::default() }).unwrap());
    let id = net.ends[ACCEPTOR].connection.open(now, &head, Class::Interactive, false).unwrap();
    net.pass(SECOND);
    let mut slowest = Duration::ZERO;
    for message in 0..100_u64 {
        let offsets = message * 1_000..(message + 1) * 1_000;
        let bytes: Vec<u8> = offsets.map(|at| pattern(id, Side::Acceptor, at)).collect();
        assert_eq!(net.ends[ACCEPTOR].connection.write(id, &mut Bytes::from(bytes)), 1_000);
        let sent = net.now;
        let whole =
            |net: &Net| net.ends[DIALLER].app.got.get(&id) == Some(&((message + 1) * 1_000));
        assert!(net.run(SECOND, whole));
        slowest = slowest.max(net.now - sent);
        net.pass(Duration::from_millis(37));
    }
    assert!(slowest <= Duration::from_millis(2 * 40 + 5), "{slowest:?}");
}
