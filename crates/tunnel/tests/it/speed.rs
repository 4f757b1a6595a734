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
