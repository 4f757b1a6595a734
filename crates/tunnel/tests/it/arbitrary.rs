//! T9: whatever bytes come, and whatever the application does meanwhile, nothing panics, and memory
//! stays in proportion to what was granted.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use strait_tunnel::{Class, Code, Directions, Event, OpenHead, RawHead, Read, Side, Tlvs};

use crate::frames::{Raw, frame};

const SECOND: Duration = Duration::from_secs(1);

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![8 => 2_u8..8, 1 => 1_u8..12, 1 => any::<u8>()];
    let id = prop_oneof![8 => 0_u32..40, 1 => any::<u32>()];
    let payload = prop_oneof![
        Just(vec![1, 1, 0, 0, 0, 0, 0x80, 0, 1, 0, 1, b'h', 0, 1, b'/', 0, 0, 0, 0]),
        Just(vec![2, 1, 0, 0, 0, 1, 0, 0]),
        Just(vec![0, 0, 0, 0, 0, 1, 0, 0]),
        Just(vec![3, 0, 0, 1]),
        Just(vec![0, 200]),
        Just(vec![0; 12]),
        prop::collection::vec(any::<u8>(), 0..64),
        (0_usize..16_000).prop_map(|length| vec![7; length]),
    ];
    (kind, any::<u8>(), id, payload)
        .prop_map(|(kind, flags, id, payload)| frame(kind, flags & 3, id, &payload))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_input_panics_or_grows_memory(
        sequence in prop::collection::vec(any_frame(), 0..120),
        noise in prop::collection::vec(any::<u8>(), 0..100),
        acts in prop::collection::vec(0_u8..12, 0..120),
        side in prop_oneof![Just(Side::Dialler), Just(Side::Acceptor)],
        cut in 1_usize..30_000,
    ) {
        let mut raw = Raw::ready(side);
        let head = OpenHead::Raw(RawHead::new(&Tlvs::default()).unwrap());
        let http = crate::streams::request("POST", Tlvs { upgrade: "x", ..Tlvs::default() });
        let mut ids = Vec::new();
        for open in [&head, &http, &http] {
            ids.push(raw.connection.open(raw.now, open, Class::Normal, false).unwrap());
        }
        let mut acts = acts.into_iter().cycle();
        for part in sequence.iter().chain([&noise]).flat_map(|bytes| bytes.chunks(cut)) {
            raw.send(part);
            let usage = raw.connection.usage();
            let bound = (256 << 10) + usage.streams as u64 * 1_536
                + 5 * (usage.unconsumed + (usage.queued + usage.heads) as u64);
            prop_assert!(raw.connection.memory() as u64 <= bound, "{:?}", usage);
            prop_assert!(usage.unconsumed <= usage.streams as u64 * (32 << 10) + (32 << 20));
            prop_assert!(usage.heads <= 2 << 20 && usage.queued <= 1 << 20);
            let Some(act) = acts.next() else { continue };
            for event in raw.events() {
                match event {
                    Event::Incoming(id, _) => ids.push(id),
                    Event::Closed(id, _) if act > 3 => raw.connection.release(id),
                    _ => {}
                }
            }
            let id = ids[usize::from(act) % ids.len()];
            match act {
                0 => raw.connection.accept(id),
                1 => drop(raw.connection.send_head(id, &crate::streams::response(200), false)),
                2 => drop(raw.connection.write(id, &mut Bytes::from(vec![1; 9_000]))),
                3 => drop(raw.connection.finish(id)),
                4 => raw.connection.reset(id, Directions::Receive, Code::Cancel, "x"),
                5 => raw.connection.reset(id, Directions::Both, Code::Refused, "x"),
                6 => raw.connection.reset(id, Directions::Send, Code::Cancel, "x"),
                7 => raw.pass(SECOND),
                8 => drop(raw.frames()),
                _ => {
                    if let Read::Data(bytes) = raw.connection.read(id) {
                        raw.connection.consumed(raw.now, id, bytes.len());
                    }
                }
            }
        }
    }

    /// What is written down for other implementations, with a few bytes changed, to either side.
    #[test]
    fn changed_exchanges_do_no_harm(
        side in prop_oneof![Just(Side::Dialler), Just(Side::Acceptor)],
        changes in prop::collection::vec((0_usize..700, any::<u8>()), 0..6),
        cut in 1_usize..700,
    ) {
        let from = if side == Side::Dialler { 'A' } else { 'D' };
        let mut bytes = crate::vectors::bytes_from(from);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let mut raw = Raw::fresh(side);
        for part in bytes.chunks(cut) {
            raw.send(part);
            for event in raw.events() {
                if let Event::Incoming(id, _) = event {
                    raw.connection.accept(id);
                }
            }
            raw.bytes();
            prop_assert!(raw.connection.memory() < 400 << 10);
        }
    }
}
