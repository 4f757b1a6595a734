//! The log on a disk that fails, forgets, lies and is full.

mod files;

use proptest::prelude::*;
use strait_runtime::SeededEntropy;

use super::testing::{Fault, Kept, Opened, Sim, event, open, roll};
use super::writer::Failure;
use super::*;

/// A few records of the tests.
const SMALL: u64 = 1000;

/// What callers were told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<(Position, Event)>,
    /// Told that the disk is full.
    refused: Vec<Event>,
    /// Not told, or told that the log ended.
    unknown: Vec<Event>,
    /// What was below this may be gone.
    removed: u64,
}

impl Told {
    /// Appends events together; whether the log goes on.
    fn commit(&mut self, log: &mut Opened, events: &[Event]) -> bool {
        match log.commit(events) {
            Ok(first) => {
                let positions = (first.0..).map(Position);
                self.acknowledged.extend(positions.zip(events.iter().cloned()));
                true
            }
            Err(Failure::Full(_)) => {
                self.refused.extend_from_slice(events);
                true
            }
            Err(Failure::Broken(_)) => {
                self.unknown.extend_from_slice(events);
                false
            }
        }
    }

    /// Every acknowledged event is there, byte for byte, at its place; nothing refused is; and
    /// the next event gets a position that none had.
    fn check(&mut self, log: &mut Opened) {
        let contents = log.contents();
        for (position, event) in self.acknowledged.iter().filter(|told| told.0.0 >= self.removed) {
            let found = contents.iter().find(|(at, _)| at == position);
            assert_eq!(found.map(|found| &found.1), Some(event), "{position:?}");
        }
        for event in &self.refused {
            assert!(contents.iter().all(|(_, found)| found != event), "{}", event.delivery);
        }
        let known = self.acknowledged.iter().chain(&contents).map(|(position, _)| position.0);
        let newest = known.max().unwrap_or(0);
        assert!(log.store.head().0 >= newest);
        let fresh = event(9000 + newest, 3);
        assert!(self.commit(log, std::slice::from_ref(&fresh)));
        let next = self.acknowledged.last().unwrap().0;
        assert!(next.0 > newest);
        assert_eq!(log.store.read(next).unwrap(), Some(fresh));
    }
}

/// Opens, appends alone and together, begins segments, removes, and opens again.
fn script(sim: &Sim, told: &mut Told) {
    let Ok(mut log) = open(sim, SMALL, 1) else { return };
    let groups: [&[(u64, usize)]; 7] = [
        &[(1, 0)],
        &[(2, 50), (3, 70_000), (4, 10)],
        &[(5, 300)],
        &[(6, 300)],
        &[(7, 100), (8, 100), (9, 100)],
        &[(10, 2000)],
        &[(11, 5)],
    ];
    for (index, group) in groups.iter().enumerate() {
        let events: Vec<_> = group.iter().map(|(number, body)| event(*number, *body)).collect();
        if !told.commit(&mut log, &events) {
            return;
        }
        if index == 3 {
            told.removed = 3;
            if log.store.remove_below(Position(3)).is_err() {
                return;
            }
        }
    }
    drop(log);
    let Ok(mut log) = open(sim, SMALL, 2) else { return };
    told.commit(&mut log, &[event(12, 400)]);
}

#[test]
fn every_fault_at_every_operation_leaves_what_was_acknowledged() {
    let sim = Sim::default();
    script(&sim, &mut Told::default());
    let operations = sim.0.lock().operations;
    assert!(operations > 40, "{operations}");
    let faults = [
        Fault::Crash,
        Fault::Torn,
        Fault::Short,
        Fault::Error(io::ErrorKind::StorageFull),
        Fault::Error(io::ErrorKind::Interrupted),
        Fault::Error(io::ErrorKind::Other),
    ];
    for (at, fault) in (0..operations).flat_map(|at| faults.map(|fault| (at, fault))) {
        let run = || {
            let (sim, mut told) = (Sim::default(), Told::default());
            sim.fail_at(at, fault);
            script(&sim, &mut told);
            (sim, told)
        };
        let check = |sim: &Sim, told: &mut Told, case: &str| {
            let opened = open(sim, SMALL, 3);
            told.check(
                &mut opened.unwrap_or_else(|error| panic!("{at} {fault:?} {case}: {error}")),
            );
        };
        // The process was killed, and then the power went as well.
        let (sim, mut told) = run();
        let killed = sim.after_kill();
        check(&killed, &mut told, "killed");
        let again = killed.after_crash(Kept::Nothing, &SeededEntropy::new(1));
        check(&again, &mut told, "killed, then no power");
        for (kept, seeds) in [(Kept::Nothing, 1), (Kept::Everything, 1), (Kept::Random, 6)] {
            for seed in 0..seeds {
                let (sim, mut told) = run();
                let crashed = sim.after_crash(kept, &SeededEntropy::new(seed));
                check(&crashed, &mut told, &format!("{kept:?} {seed}"));
            }
        }
    }
}

#[test]
fn what_a_failed_sync_left_is_durable_or_gone_once_it_was_shown() {
    let sim = Sim::default();
    let mut log = open(&sim, 1 << 20, 1).unwrap();
    log.commit(&[event(1, 10)]).unwrap();
    let operations = sim.0.lock().operations;
    // One to write, one to sync.
    sim.fail_at(operations + 1, Fault::Error(io::ErrorKind::Other));
    assert!(matches!(log.commit(&[event(2, 10)]), Err(Failure::Broken(_))));
    assert_eq!(log.store.head(), Position(1), "not shown to readers");
    assert_eq!(log.store.read(Position(2)).unwrap(), None);

    let killed = sim.after_kill();
    let shown = open(&killed, 1 << 20, 2).unwrap().contents();
    assert_eq!(shown.len(), 2, "the next process finds it in the kernel's memory");
    let crashed = killed.after_crash(Kept::Nothing, &SeededEntropy::new(1));
    assert_eq!(open(&crashed, 1 << 20, 3).unwrap().contents(), shown);
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_space() {
    let cases = (0..1500).step_by(50).flat_map(|room| [(room, false), (room, true)]);
    for (room, sparse) in cases {
        let (sim, mut told) = (Sim::default(), Told::default());
        sim.0.lock().sparse = sparse;
        let mut log = open(&sim, SMALL, 1).unwrap();
        assert!(told.commit(&mut log, &[event(1, 100), event(2, 100)]));
        let used = sim.used();
        sim.0.lock().capacity = Some(used + room);
        assert!(told.commit(&mut log, &[event(3, 100), event(4, 900)]));
        assert!(told.commit(&mut log, &[event(5, 100), event(6, 900), event(7, 900)]));
        assert!(!told.refused.is_empty(), "{room}");
        let newest = told.acknowledged.last().unwrap().0;
        assert_eq!(log.store.head(), newest);

        for kept in [Kept::Nothing, Kept::Everything, Kept::Writes] {
            let crashed = sim.after_crash(kept, &SeededEntropy::new(1));
            let (acknowledged, refused) = (told.acknowledged.clone(), told.refused.clone());
            let mut told = Told { acknowledged, refused, ..Told::default() };
            told.check(&mut open(&crashed, SMALL, 2).unwrap());
        }
        sim.0.lock().capacity = None;
        assert!(told.commit(&mut log, &[event(8, 900)]));
        let position = told.acknowledged.last().unwrap().0;
        assert_eq!(position.0, newest.0 + 1, "no position was used up");
        drop(log);
        told.check(&mut open(&sim, SMALL, 3).unwrap());
    }
}

#[test]
fn where_a_whole_segment_does_not_fit_what_is_needed_is_taken() {
    let sim = Sim::default();
    sim.0.lock().capacity = Some(5000);
    let mut log = open(&sim, 1 << 20, 1).unwrap();
    log.commit(&[event(1, 2000)]).unwrap();
    log.commit(&[event(2, 2000)]).unwrap();
    assert!(matches!(log.commit(&[event(3, 2000)]), Err(Failure::Full(_))));
    assert_eq!(log.contents().len(), 2);
}

#[test]
fn any_flipped_bit_costs_one_event_and_never_a_position() {
    let sim = Sim::default();
    let mut log = open(&sim, 1 << 20, 1).unwrap();
    let events: Vec<_> = (1..=4).map(|number| event(number, 40)).collect();
    events.iter().for_each(|event| log.append(event));
    let all = log.contents();
    let (name, end) = {
        let segments = segment::segments(&sim).unwrap();
        (segments[0].name.clone(), log.store.bytes())
    };
    drop(log);
    let whole = sim.bytes_of(&name);
    assert_eq!(whole.len() as u64, end);
    let last = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let record = last / 4;
    for at in 0..last {
        let damaged = Sim::default();
        drop(damaged.create(&name).unwrap());
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        damaged.set_bytes(&name, bytes);
        let log = open(&damaged, 1 << 20, 2).unwrap();
        let hit = at / record;
        let expected: Vec<_> =
            all.iter().enumerate().filter(|(index, _)| *index != hit).map(|(_, e)| e).collect();
        assert_eq!(log.contents().iter().collect::<Vec<_>>(), expected, "{at}");
        let lost = Position(hit as u64 + 1);
        assert!(matches!(log.store.read(lost), Err(ReadError::Damaged(at)) if at == lost));
        if hit == 3 {
            assert_eq!(log.recovery.damaged, []);
            assert_eq!(log.recovery.cut.as_ref().unwrap().bytes, record as u64, "{at}");
        } else {
            let [found] = &*log.recovery.damaged else { panic!("{at}: {:?}", log.recovery) };
            assert_eq!(found.positions, lost..=lost);
            assert_eq!((found.at, found.bytes), ((hit * record) as u64, record as u64));
            let kept = damaged.bytes_of(found.kept.as_ref().unwrap());
            assert_eq!(kept.len(), record);
        }
        // Also not when nothing was appended after the first opening.
        let mut log = open(&damaged, 1 << 20, 3).unwrap();
        assert_eq!(log.commit(&[event(5, 1)]).unwrap(), Position(5), "{at}");
    }
}

#[test]
fn damage_in_an_older_segment_is_met_when_it_is_read_and_set_aside() {
    for at in [0, 20, 60, 300] {
        let sim = Sim::default();
        let mut log = open(&sim, SMALL, 1).unwrap();
        (1..=12).for_each(|number| log.append(&event(number, 100)));
        let name = segment::segments(&sim).unwrap()[0].name.clone();
        let mut bytes = sim.bytes_of(&name);
        bytes[at] ^= 4;
        sim.set_bytes(&name, bytes);
        let log = open(&sim, SMALL, 2).unwrap();
        assert_eq!(log.recovery, Recovery::default());
        assert!(matches!(log.store.read(Position(1)), Err(ReadError::Damaged(_))), "{at}");
        assert_eq!(log.contents().len(), 11);
        assert!(log.store.metrics.damaged.get() > 0);
        let kept = |name: &String| name.ends_with(".damaged");
        assert_eq!(sim.names().unwrap().iter().filter(|name| kept(name)).count(), 1);
    }
}

#[test]
fn what_a_sender_puts_into_a_body_is_never_a_record() {
    let forged = {
        let summary = encode_summary(&event(66, 5)).unwrap();
        let inner = event(66, 5).body;
        let header = record::encode_header([0; 8], Position(2), &summary, &inner);
        [&header[..], &summary, &inner].concat()
    };
    let sim = Sim::default();
    let mut log = open(&sim, 1 << 20, 1).unwrap();
    let outer = Event { body: forged.into(), ..event(1, 0) };
    log.commit(&[outer, event(2, 5)]).unwrap();
    let name = segment::segments(&sim).unwrap()[0].name.clone();
    let mut bytes = sim.bytes_of(&name);
    bytes[9] ^= 1;
    sim.set_bytes(&name, bytes);
    let contents = open(&sim, 1 << 20, 2).unwrap().contents();
    assert_eq!(contents, [(Position(2), event(2, 5))]);
}

#[test]
fn whole_segments_are_removed_and_positions_never_come_again() {
    let sim = Sim::default();
    let mut log = open(&sim, SMALL, 1).unwrap();
    assert_eq!((log.store.head(), log.store.floor()), (Position(0), Position(1)));
    (1..=20).for_each(|number| log.append(&event(number, 200)));
    let (before, segments) = (log.store.bytes(), segment::segments(&sim).unwrap());
    assert!(segments.len() > 4);
    let second = segments[1].first;
    log.store.remove_below(second).unwrap();
    assert_eq!(log.store.floor(), second);
    log.store.remove_below(Position(second.0 + 1)).unwrap();
    assert_eq!(log.store.floor(), second, "it holds one that is wanted");
    assert_eq!(log.store.read(Position(1)).unwrap(), None);
    assert!(log.store.bytes() < before);
    log.store.remove_below(Position(u64::MAX)).unwrap();
    assert_eq!(segment::segments(&sim).unwrap().len(), 1);
    let crashed = sim.after_crash(Kept::Nothing, &SeededEntropy::new(1));
    assert_eq!(segment::segments(&crashed).unwrap().len(), 1, "removal is durable");
    assert_eq!(log.store.read(Position(20)).unwrap(), Some(event(20, 200)));
    for _ in 0..2 {
        log = open(&sim, SMALL, 2).unwrap();
        log.store.remove_below(Position(u64::MAX)).unwrap();
    }
    assert_eq!(log.commit(&[event(21, 1)]).unwrap(), Position(21));
}

#[test]
fn summaries_are_read_without_bodies() {
    let sim = Sim::default();
    let mut log = open(&sim, 64 << 20, 1).unwrap();
    (1..=5).for_each(|number| log.append(&event(number, 1 << 20)));
    let read = |sim: &Sim| std::mem::take(&mut sim.0.lock().bytes_read);
    read(&sim);
    let mut seen = Vec::new();
    log.store
        .for_each(Position(2), |position, summary| {
            seen.push((position.0, summary.body_bytes));
            if position.0 == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(seen, [2, 3, 4].map(|number| (number, 1 << 20)));
    let bytes = read(&sim);
    assert!(bytes < 100_000, "{bytes}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_crash_at_any_time_loses_nothing_that_was_acknowledged(
        seed in any::<u64>(),
        segment_bytes in 200_u64..6000,
        lives in prop::collection::vec((0_usize..60, 0_usize..4), 1..5),
    ) {
        let dice = SeededEntropy::new(seed);
        let (mut sim, mut told, mut number) = (Sim::default(), Told::default(), 0);
        for (life, (operations, fault)) in lives.into_iter().enumerate() {
            let faults = [
                Fault::Crash,
                Fault::Torn,
                Fault::Error(io::ErrorKind::StorageFull),
                Fault::Error(io::ErrorKind::Other),
            ];
            let at = sim.0.lock().operations + operations;
            sim.fail_at(at, faults[fault]);
            if let Ok(mut log) = open(&sim, segment_bytes, seed ^ life as u64) {
                for _ in 0..roll(&dice, 12) {
                    let mut fresh = || {
                        number += 1;
                        event(number, roll(&dice, 1500))
                    };
                    let batch: Vec<_> = (0..=roll(&dice, 4)).map(|_| fresh()).collect();
                    if !told.commit(&mut log, &batch) {
                        break;
                    }
                    if roll(&dice, 8) == 0 {
                        let half = log.store.head().0 / 2;
                        told.removed = told.removed.max(half);
                        if log.store.remove_below(Position(half)).is_err() {
                            break;
                        }
                    }
                }
            }
            sim = match roll(&dice, 3) {
                0 => sim.after_kill(),
                _ => sim.after_crash(Kept::Random, &dice),
            };
            let mut log = open(&sim, segment_bytes, !seed ^ life as u64).unwrap();
            told.check(&mut log);
        }
    }
}
