//! P1–P14: what holds whatever the line, the order and the timing.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use strait_tunnel::{
    Class, Code, Config, Directions, Drain, OpenHead, RawHead, Read, Side, Tlvs, Versions,
};

use crate::frames::{self, Raw};
use crate::net::{ACCEPTOR, DIALLER, Line, Net, Seed, agent, hub};

const SECOND: Duration = Duration::from_secs(1);
/// Streams of a connection that begin with 256 KiB and not 32, where the peer is far away.
const WIDE: u64 = (16 << 20) / (224 << 10);
const CLASSES: [Class; 3] = [Class::Interactive, Class::Normal, Class::Bulk];

/// P3 at every step: what is held is within what was granted, and that within its limits; and
/// memory is proportional to what is held.
fn bounded(net: &Net) {
    for end in &net.ends {
        let usage = end.connection.usage();
        let granted = usage.streams as u64 * (32 << 10) + (32 << 20);
        assert!(usage.unconsumed <= granted, "{usage:?}");
        assert!(usage.outstanding <= 16 << 20, "{usage:?}");
        assert!(usage.queued <= 1 << 20, "{usage:?}");
        let memory = end.connection.memory();
        let bound = (256 << 10) + usage.streams * 1_536 + 5 * usage.heads;
        let bound = bound as u64 + 5 * (usage.unconsumed + usage.queued as u64);
        assert!(memory as u64 <= bound, "{memory} of {bound}: {usage:?}");
    }
}

/// P7: nothing is left of streams that ended.
fn assert_fresh(net: &Net) {
    for end in &net.ends {
        let usage = end.connection.usage();
        let left = (usage.unconsumed, usage.queued, usage.heads, usage.streams);
        assert_eq!(left, (0, 0, 0, 0));
        let memory = end.connection.memory();
        assert!(memory < 64 << 10, "{memory}");
    }
}

fn lines() -> impl Strategy<Value = Line> {
    let rate = prop_oneof![Just(0), 200_000_u64..50_000_000];
    let cut = prop_oneof![Just(usize::MAX), 1_usize..40, 100_usize..20_000];
    (0_u64..80, rate, 2_000_usize..200_000, cut).prop_map(|(latency, rate, buffer, cut)| Line {
        latency: Duration::from_millis(latency),
        rate,
        buffer,
        cut,
    })
}

/// Side, class, bytes up, bytes down.
fn streams() -> impl Strategy<Value = Vec<(usize, usize, u64, u64)>> {
    let size = || prop_oneof![Just(0_u64), 1_u64..200, 30_000_u64..100_000];
    prop::collection::vec((0_usize..2, 0_usize..3, size(), size()), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// P1, P2, P3, P6, P7: bytes arrive in order whatever the line does, every stream ends, once,
    /// and nothing is left behind.
    #[test]
    fn p1_p2_p3_p6_p7_bytes_arrive_and_streams_end(
        line in lines(), streams in streams(), seed in any::<u64>(),
    ) {
        let mut net = Net::ready(line, seed);
        net.check = bounded;
        let mut opened = Vec::new();
        for (side, class, up, down) in &streams {
            let now = net.now;
            let id = net.ends[*side].open(now, CLASSES[*class], *up, *down).unwrap();
            opened.push((*side, id, *up, *down));
            net.step();
        }
        prop_assert!(net.run(600 * SECOND, Net::all_ended));
        for (side, id, up, down) in opened {
            let got = |end: usize| net.ends[end].app.got.get(&id).copied().unwrap_or(0);
            prop_assert_eq!((got(side), got(1 - side)), (down, up));
            for end in &net.ends {
                prop_assert_eq!(&end.app.ends[&id].code, &Code::None);
                prop_assert!(!end.app.ends[&id].truncated);
            }
        }
        assert_fresh(&net);
    }

    /// P6, P7: resets in any direction at any time. What was not ended in order is told so.
    #[test]
    fn p6_p7_resets_leave_nothing(
        line in lines(),
        streams in streams(),
        resets in prop::collection::vec((0_usize..2, 0_usize..20, 0_usize..3, 0_usize..40), 0..20),
        seed in any::<u64>(),
    ) {
        let mut net = Net::ready(line, seed);
        net.check = bounded;
        let mut opened = Vec::new();
        for (side, class, up, down) in &streams {
            let now = net.now;
            opened.push(net.ends[*side].open(now, CLASSES[*class], *up, *down).unwrap());
        }
        for (side, which, directions, steps) in resets {
            for _ in 0..steps {
                net.step();
            }
            let all = [Directions::Send, Directions::Receive, Directions::Both];
            let id = opened[which % opened.len()];
            if directions != 1 {
                net.ends[side].app.writers.remove(&id);
            }
            net.ends[side].connection.reset(id, all[directions], Code::Cancel, "");
        }
        let done = net.run(600 * SECOND, Net::all_ended);
        prop_assert!(done, "{:?}", net.ends.each_ref().map(|end| end.connection.usage()));
        for end in &net.ends {
            prop_assert_eq!(&end.app.closed, &None);
            for (id, how) in &end.app.ends {
                let read = end.app.read_ends.get(id);
                prop_assert!(!(how.truncated && read == Some(&Read::End)));
            }
        }
        assert_fresh(&net);
    }

    /// P8: a drain at any time. What was opened was either executed or is proven not to be.
    #[test]
    fn p8_a_drain_loses_no_stream(
        line in lines(),
        before in 0_usize..60,
        side in 0_usize..2,
        opens in prop::collection::vec((0_usize..2, 0_u64..60_000, 0_usize..5), 1..20),
        seed in any::<u64>(),
    ) {
        let mut net = Net::ready(line, seed);
        let mut opened = Vec::new();
        let asked = Drain {
            code: Code::Draining, grace: 300 * SECOND, hard: 300 * SECOND, text: "bye".into(),
        };
        for (at, (from, bytes, steps)) in opens.into_iter().enumerate() {
            let now = net.now;
            if at == before % 20 {
                net.ends[side].connection.drain(now, asked.clone());
            }
            if let Some(id) = net.ends[from].open(now, Class::Normal, bytes, bytes) {
                opened.push((from, id));
            }
            for _ in 0..steps {
                net.step();
            }
        }
        let now = net.now;
        net.ends[side].connection.drain(now, asked);
        let over = |net: &Net| net.ends.iter().all(|end| end.app.closed.is_some());
        prop_assert!(net.run(900 * SECOND, |net| over(net) && net.all_ended()));
        for (from, id) in opened {
            let executed = net.ends[1 - from].app.executed.contains(&id);
            let end = &net.ends[from].app.ends[&id];
            prop_assert_eq!(executed, !end.unexecuted, "{} {:?}", id, end);
            prop_assert_eq!(executed, end.code == Code::None, "{} {:?}", id, end);
        }
        let codes = net.ends.each_ref().map(|end| end.app.closed.unwrap().0);
        prop_assert_eq!(codes, [Code::None; 2]);
    }

    /// P10: a peer that is gone is found within 15 s, whichever direction died.
    #[test]
    fn p10_death_is_found(
        after in 0_u64..20_000, directions in 1_usize..4, traffic in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut net = Net::ready(Line::default(), seed);
        let now = net.now;
        if traffic {
            net.ends[DIALLER].open(now, Class::Bulk, 1 << 20, 1 << 20);
        }
        net.pass(Duration::from_millis(after));
        for from in [DIALLER, ACCEPTOR] {
            if directions & (1 << from) != 0 {
                net.stick(from);
            }
        }
        let died = net.now;
        // Who still hears the other side learns of it by the end of the transport.
        let deaf = |net: &Net| (0..2).all(|end| {
            directions & (1 << (1 - end)) == 0 || net.ends[end].app.closed.is_some()
        });
        prop_assert!(net.run(20 * SECOND, deaf));
        prop_assert!(net.now - died <= 15 * SECOND + Duration::from_millis(20), "{:?}", net.now - died);
        for end in 0..2 {
            if directions & (1 << (1 - end)) != 0 {
                prop_assert_eq!(net.ends[end].app.closed.unwrap().0, Code::Lost);
            }
        }
    }

    /// P12: any two ranges of versions meet at the highest common one, or part by name.
    #[test]
    fn p12_versions_meet_or_part(a in 1_u16..6, b in 0_u16..4, c in 1_u16..6, d in 0_u16..4) {
        let range = |config: Config, lowest, more| Config {
            versions: Versions { lowest, highest: lowest + more }, ..config
        };
        let mut net = Net::with(Line::default(), 1, range(agent(), a, b), range(hub(), c, d));
        net.run(20 * SECOND, |net| {
            net.ends.iter().all(|end| end.app.ready || end.app.closed.is_some())
        });
        let highest = (a + b).min(c + d);
        let common = (highest >= a.max(c)).then_some(highest);
        for end in &net.ends {
            prop_assert_eq!(end.connection.peer().map(|peer| peer.version), common);
            let code = end.app.closed.map(|(code, _)| code);
            prop_assert_eq!(code, common.is_none().then_some(Code::Version));
        }
    }

    /// P14: an unsafe request is tried again only where it is proven that it did not run. Then it
    /// never runs twice, whatever is lost or drained.
    #[test]
    fn p14_no_unsafe_request_runs_twice(
        attempts in prop::collection::vec((0_usize..3, 0_usize..30, 0_usize..12), 1..6),
        line in lines(),
        seed in any::<u64>(),
    ) {
        let mut executed = 0;
        for (what, before, steps) in attempts {
            let mut net = Net::ready(line, seed);
            let now = net.now;
            if what == 2 && before % 2 == 0 {
                net.ends[DIALLER].connection.drain(now, Drain {
                    code: Code::Draining, grace: SECOND, hard: SECOND, text: String::new(),
                });
                for _ in 0..before / 4 {
                    net.step();
                }
            }
            let Some(id) = net.ends[ACCEPTOR].open(now, Class::Normal, 100, 100) else { continue };
            for _ in 0..steps {
                net.step();
            }
            match what {
                0 => net.lose(),
                1 => net.ends[DIALLER].connection.cut(now, Code::Internal, ""),
                _ => {}
            }
            net.run(60 * SECOND, |net| net.ends[ACCEPTOR].app.ends.contains_key(&id));
            executed += net.ends[DIALLER].app.executed.len();
            if !net.ends[ACCEPTOR].app.ends[&id].unexecuted {
                break;
            }
        }
        prop_assert!(executed <= 1);
    }
}

/// P4: who does not read delays nobody.
#[test]
fn p4_stalled_readers_delay_nobody() {
    let line = Line { rate: 20_000_000, latency: Duration::from_millis(20), ..Line::default() };
    let finish = |stalled: usize| {
        let mut net = Net::ready(line, 5);
        let now = net.now;
        for _ in 0..stalled {
            let id = net.ends[ACCEPTOR].open(now, Class::Interactive, 0, 50 << 20).unwrap();
            net.ends[ACCEPTOR].app.stalled.insert(id);
        }
        let others: Vec<_> = (0..8)
            .map(|_| net.ends[ACCEPTOR].open(now, Class::Normal, 0, 6 << 20).unwrap())
            .collect();
        let done = |net: &Net| others.iter().all(|id| net.ends[ACCEPTOR].app.ends.contains_key(id));
        assert!(net.run(60 * SECOND, done));
        (net.now - now).as_secs_f64()
    };
    let alone = finish(0);
    for stalled in [1, 4, 8] {
        // They have what they may hold, and no more.
        let held = (stalled * (256 << 10)) as f64 / line.rate as f64;
        let beside = finish(stalled) - held;
        assert!(beside <= alone * 1.05, "stalled {stalled}: {beside} s for {alone} s");
    }
}

/// P4, and T1 of row 25: 2,047 stalled streams, which leave room for one on their connection, hold
/// their first credit and nothing more, and no small answer takes longer.
#[test]
fn p4_as_many_stalled_streams_as_there_can_be_hold_their_credit_and_delay_nothing() {
    const STALLED: u64 = 2_047;
    let line = Line { rate: 20_000_000, latency: Duration::from_millis(20), ..Line::default() };
    let mut net = Net::ready(line, 5);
    let small = |net: &mut Net| {
        let now = net.now;
        let id = net.ends[ACCEPTOR].open(now, Class::Normal, 0, 1 << 10).unwrap();
        assert!(net.run(SECOND, |net| net.ends[ACCEPTOR].app.ends.contains_key(&id)));
        net.now - now
    };
    let alone = small(&mut net);
    for opened in 1..=STALLED {
        let now = net.now;
        let id = net.ends[ACCEPTOR].open(now, Class::Normal, 0, 1 << 20).unwrap();
        net.ends[ACCEPTOR].app.stalled.insert(id);
        // No more wait to be taken than may.
        if opened % 100 == 0 {
            net.pass(SECOND);
        }
    }
    net.pass(SECOND);
    let held = WIDE * (256 << 10) + (STALLED - WIDE) * (32 << 10);
    assert_eq!(net.ends[ACCEPTOR].connection.usage().unconsumed, held);
    for _ in 0..100 {
        let beside = small(&mut net);
        assert!(beside <= alone.mul_f64(1.1), "{beside:?} for {alone:?}");
    }
}

/// P4: what has come whole and is not read counts as long as it is held.
#[test]
fn p4_bodies_that_nobody_reads_hold_no_more_than_others() {
    const MANY: u64 = 200;
    let mut net = Net::ready(Line::default(), 5);
    net.pass(SECOND);
    for _ in 0..MANY {
        let now = net.now;
        let id = net.ends[ACCEPTOR].open(now, Class::Normal, 0, 200 << 10).unwrap();
        net.ends[ACCEPTOR].app.stalled.insert(id);
        net.pass(SECOND);
    }
    let held = WIDE * (200 << 10) + (MANY - WIDE) * (32 << 10);
    assert_eq!(net.ends[ACCEPTOR].connection.usage().unconsumed, held);
}

/// P5: among n streams that always have something to say, each sends within 4·n full frames.
#[test]
fn p5_no_ready_stream_starves() {
    for (count, seed) in [(2, 1), (9, 2), (40, 3), (120, 4)] {
        let mut raw = Raw::ready(Side::Dialler);
        let mut seed = Seed(seed);
        let head = OpenHead::Raw(RawHead::new(&Tlvs::default()).unwrap());
        let mut sizes = Vec::new();
        for _ in 0..count {
            let class = CLASSES[usize::try_from(seed.below(3)).unwrap()];
            let id = raw.connection.open(raw.now, &head, class, false).unwrap();
            sizes.push((id, if seed.below(3) == 0 { 700 } else { 40_000_usize }));
        }
        let opened = raw.frames();
        assert_eq!(opened.iter().filter(|frame| frame.kind == frames::OPEN).count(), count);
        raw.send(&frames::credit(0, u64::MAX));
        let mut since = vec![0_u64; count];
        for _ in 0..count * 12 {
            for (id, size) in &sizes {
                raw.send(&frames::credit(id.get(), u64::MAX));
                raw.connection.write(*id, &mut Bytes::from(vec![0; *size]));
            }
            for frame in raw.some_frames() {
                let bytes = frame.payload.len() as u64 + 8;
                for (at, (id, _)) in sizes.iter().enumerate() {
                    since[at] = if id.get() == frame.id { 0 } else { since[at] + bytes };
                    assert!(
                        since[at] <= 4 * count as u64 * 16_384,
                        "of {count}: stream {id} after {since:?} {sizes:?}"
                    );
                }
            }
            raw.now += Duration::from_millis(1);
        }
    }
}

/// P9: credit is absolute. Repeated, falling and absurd grants change nothing but upwards.
/// Row 41: CVE-2026-31814.
#[test]
fn p9_credit_only_grows() {
    let mut raw = Raw::ready(Side::Dialler);
    let head = OpenHead::Raw(RawHead::new(&Tlvs::default()).unwrap());
    let id = raw.connection.open(raw.now, &head, Class::Normal, false).unwrap();
    let table = [(40_000, 40_000), (40_000, 40_000), (1, 40_000), (50_000, 50_000), (0, 50_000)];
    for (granted, expected) in table {
        raw.send(&frames::credit(id.get(), granted));
        assert_eq!(raw.connection.writable(id), expected);
    }
    raw.send(&frames::credit(id.get(), u64::MAX));
    assert_eq!(raw.connection.writable(id), 256 << 10);
    raw.send(&frames::credit(id.get(), u64::MAX - 1));
    assert_eq!(raw.connection.writable(id), 256 << 10);
    assert_eq!(raw.end(), None);
}

/// P10: a line that is full in one direction for minutes is not dead.
#[test]
fn p10_a_busy_line_is_alive() {
    for latency in [1, 400] {
        let line = Line {
            latency: Duration::from_millis(latency),
            rate: 125_000,
            buffer: 512 << 10,
            cut: usize::MAX,
        };
        let mut net = Net::ready(line, 3);
        let now = net.now;
        net.ends[DIALLER].open(now, Class::Bulk, 40 << 20, 0).unwrap();
        net.pass(300 * SECOND);
        assert_eq!(net.ends.each_ref().map(|end| end.app.closed), [None, None]);
        let got: u64 = net.ends[ACCEPTOR].app.got.values().sum();
        assert!(got > 30 << 20, "{got}");
    }
}

/// P11: nothing can be sent in either direction, and receiving still works, in bounded memory,
/// until patience ends.
#[test]
fn p11_receiving_never_waits_for_sending() {
    let mut raw = Raw::ready(Side::Acceptor);
    let mut next = 1;
    let mut data = 0;
    for round in 0..200_u64 {
        if round < 100 {
            raw.send(&frames::open_raw(next, 0));
            raw.send(&frames::frame(frames::DATA, 0, next, &[7; 1_000]));
            data += 1_000;
            next += 2;
        }
        for id in (1..next).step_by(2) {
            if u64::from(id) == 1 + 2 * (round % 100) {
                raw.send(&frames::credit(id, 32 << 10));
            }
        }
        raw.send(&frames::frame(frames::PING, 0, 0, &round.to_be_bytes()));
        raw.now += Duration::from_millis(140);
        raw.connection.expire(raw.now);
        for event in raw.events() {
            if let strait_tunnel::Event::Incoming(id, _) = event {
                raw.connection.accept(id);
                raw.connection.write(id, &mut Bytes::from(vec![1; 50_000]));
            }
        }
        assert!(raw.connection.memory() < 8 << 20);
        assert!(!raw.connection.is_closed());
    }
    assert_eq!(raw.connection.usage().unconsumed, data);
    raw.pass(5 * SECOND);
    assert_eq!(raw.end().unwrap().code, Code::EnhanceCalm);
}

/// P7 at length: 10⁵ streams come and go, and nothing is left.
#[test]
fn p7_a_hundred_thousand_streams_leave_nothing() {
    let line = Line { latency: Duration::from_micros(50), ..Line::default() };
    let mut net = Net::ready(line, 9);
    let mut seed = Seed(11);
    let mut open = BTreeSet::new();
    let mut opened = 0;
    while opened < 100_000 {
        for _ in 0..60 {
            let now = net.now;
            let side = usize::try_from(seed.below(2)).unwrap();
            if let Some(id) =
                net.ends[side].open(now, Class::Normal, seed.below(300), seed.below(300))
            {
                open.insert((side, id));
                opened += 1;
            }
        }
        if let Some((side, id)) = open.pop_first().filter(|_| seed.below(3) == 0) {
            let end = if seed.below(2) == 0 { side } else { 1 - side };
            net.ends[end].connection.reset(id, Directions::Both, Code::Cancel, "");
        }
        for _ in 0..6 {
            net.step();
        }
        for end in &mut net.ends {
            end.app.got.clear();
            end.app.first_at.clear();
            end.app.ended_at.clear();
            end.app.read_ends.clear();
        }
    }
    assert!(net.run(60 * SECOND, Net::all_ended));
    assert_eq!(net.ends.each_ref().map(|end| end.app.closed), [None, None]);
    assert_fresh(&net);
}
