//! On real files and on a simulated disk.

mod unwanted;

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::core::{COMPACT_BYTES_MIN, NAME};
use super::frame::{FRAME_BYTES, Frame};
use super::testing::{Crash, Fault, MemoryDisk, became, changes, time, waiting};
use super::*;

fn no_fail() -> Fail {
    Box::new(|error| panic!("failed: {error}"))
}

fn counting() -> (Fail, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let fail = move |_: &io::Error| {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    (Box::new(fail), count)
}

fn open(disk: &MemoryDisk) -> (Core, Recovered) {
    Core::open(Box::new(disk.clone()), no_fail()).unwrap()
}

fn table(core: &Core) -> Table {
    core.read(Clone::clone)
}

/// The tables after none of the changes, after one, and so on.
fn tables(changes: &[Change]) -> Vec<Table> {
    let mut tables = vec![Table::default()];
    for change in changes {
        let mut table = tables[tables.len() - 1].clone();
        table.apply(Frame::Change(*change));
        tables.push(table);
    }
    tables
}

/// What `record` does, without a thread.
fn record(core: &Core, change: Change) -> Result<(), StateError> {
    core.write(&[change])?;
    if change.is_synced_at_once() { core.sync() } else { Ok(()) }
}

#[test]
fn what_became_of_events_is_told() {
    let table = tables(&changes()).pop().unwrap();
    let (a, b) = (Backend::of("a"), Backend::of("b"));
    assert_eq!(table.backends().count(), 2);
    assert_eq!(table.low_water(a), Some(Position(5)));
    assert_eq!(table.low_water(b), Some(Position(3)));
    assert_eq!(table.low_water(Backend::of("gone")), None);
    let runs = |backend| -> Vec<_> {
        table.unsettled(backend, Position(9)).map(|(first, last)| (first.0, last.0)).collect()
    };
    assert_eq!(runs(a), [(6, 9)]);
    assert_eq!(runs(b), [(4, 4), (6, 7), (9, 9)]);
    for (backend, position, expected) in [
        (a, 1, None),
        (a, 4, Some(Became::Purged)),
        (a, 5, Some(Became::Delivered)),
        (a, 7, Some(Became::Waiting { attempts: 0, last: None, until: time(0) })),
        (a, 8, None),
        (b, 4, Some(waiting(3))),
        (b, 8, Some(Became::Unwanted)),
        (Backend::of("gone"), 1, None),
    ] {
        assert_eq!(table.became(backend, Position(position)), expected, "{position}");
    }
    let at = time(7);
    let reason = Reason::Rejected(404);
    let dead: Vec<_> = table.dead(a).collect();
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[0], (Position(2), Became::Dead { attempts: 2, reason, at }));
    let waiting: Vec<_> = table.waiting(a).map(|(position, _)| position.0).collect();
    assert_eq!(waiting, [6, 7]);
}

#[test]
fn what_was_purged_stays_so_until_it_is_asked_for_anew() {
    let dead = Became::Dead { attempts: 1, reason: Reason::Rejected(404), at: time(0) };
    let anew = Became::Waiting { attempts: 0, last: None, until: time(0) };
    let purged = Became::Purged;
    for (then, expected) in [
        (Became::Delivered, purged),
        (waiting(1), purged),
        (dead, purged),
        (purged, purged),
        (anew, anew),
    ] {
        let mut changes = [waiting(3), purged, then].map(|one| became("a", 7, one)).to_vec();
        assert_eq!(
            tables(&changes).pop().unwrap().became(Backend::of("a"), Position(7)),
            Some(expected)
        );
        changes.push(became("a", 7, anew));
        changes.push(became("a", 7, dead));
        let table = tables(&changes).pop().unwrap();
        assert_eq!(table.became(Backend::of("a"), Position(7)), Some(dead), "{then:?}");
    }
    let (backend, first, last) = (Backend::of("a"), Position(5), Position(9));
    let unwanted = Change::Unwanted { backend, first, last };
    let table = tables(&[became("a", 7, purged), unwanted]).pop().unwrap();
    for (position, expected) in [(6, Became::Unwanted), (7, purged), (8, Became::Unwanted)] {
        assert_eq!(table.became(backend, Position(position)), Some(expected), "{position}");
    }
}

#[test]
fn an_event_from_before_the_backend_is_asked_for_alone() {
    let (backend, from) = (Backend::of("a"), Position(10));
    let mut table = tables(&[Change::Added { backend, from }]).pop().unwrap();
    table.apply(Frame::Change(became("a", 4, Became::Delivered)));
    assert_eq!(table.low_water(backend), Some(Position(9)));
    table.apply(Frame::Change(became("a", 5, waiting(0))));
    let runs: Vec<_> = table.unsettled(backend, Position(11)).collect();
    assert_eq!(runs, [(Position(5), Position(5)), (Position(10), Position(11))]);
    assert_eq!(table.became(backend, Position(6)), None);
}

#[test]
fn changes_are_there_after_a_restart_and_after_compaction() {
    let disk = MemoryDisk::default();
    let (core, _) = open(&disk);
    core.write(&changes()).unwrap();
    let expected = tables(&changes()).pop().unwrap();
    assert_eq!(table(&core), expected);
    let (core, recovered) = open(&disk);
    assert_eq!((table(&core), recovered), (expected.clone(), Recovered::default()));
    core.compact().unwrap();
    assert_eq!(core.size(), expected.size());
    core.write(&[became("a", 6, Became::Delivered)]).unwrap();
    let (core, recovered) = open(&disk);
    let changed = table(&core);
    assert_eq!(recovered, Recovered::default());
    assert_eq!(changed.low_water(Backend::of("a")), Some(Position(6)));
    assert_ne!(changed, expected);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let disk = MemoryDisk::default();
    let (core, _) = open(&disk);
    core.write(&changes()).unwrap();
    let (bytes, tables) = (disk.content(NAME).unwrap(), tables(&changes()));
    for end in FRAME_BYTES..bytes.len() {
        let whole = end / FRAME_BYTES;
        let filled = bytes[..end].iter().copied().chain([0xff; 3 * FRAME_BYTES]).collect();
        for torn in [bytes[..end].to_vec(), filled] {
            let cut = torn.len() - whole * FRAME_BYTES;
            let disk = MemoryDisk::default();
            disk.put(NAME, torn);
            let (core, recovered) = open(&disk);
            assert_eq!(table(&core), tables[whole - 1], "{end}");
            assert_eq!(recovered, Recovered { damaged: 0, cut: cut as u64 });
            // What comes next stands right behind what is good.
            core.write(&[became("a", 99, Became::Purged)]).unwrap();
            let size = disk.content(NAME).unwrap().len();
            assert_eq!(size, (whole + 1) * FRAME_BYTES);
            assert_eq!(open(&disk).1, Recovered::default());
        }
    }
    for foreign in [&bytes[..FRAME_BYTES - 1], b"", &[7; 100]] {
        let disk = MemoryDisk::default();
        disk.put(NAME, foreign.to_vec());
        let result = Core::open(Box::new(disk.clone()), no_fail());
        assert!(matches!(result, Err(StateError::Foreign)));
        assert_eq!(disk.content(NAME).unwrap(), foreign, "nothing is overwritten");
    }
    let disk = MemoryDisk::default();
    disk.put(NAME, Frame::Header { ours: false }.encode().to_vec());
    assert!(matches!(Core::open(Box::new(disk), no_fail()), Err(StateError::Foreign)));
}

#[test]
fn a_flipped_bit_costs_one_change_and_is_told_once() {
    let disk = MemoryDisk::default();
    let (core, _) = open(&disk);
    let changes = changes();
    core.write(&changes).unwrap();
    let bytes = disk.content(NAME).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let disk = MemoryDisk::default();
        disk.put(NAME, flipped);
        let frame = at / FRAME_BYTES;
        let (core, recovered) = open(&disk);
        let mut left = changes.clone();
        if let Some(change) = frame.checked_sub(1) {
            left.remove(change);
        }
        assert_eq!(table(&core), tables(&left).pop().unwrap(), "{at}");
        let last = frame == changes.len();
        assert_eq!(recovered.damaged, u64::from(!last), "{at}");
        assert_eq!(recovered.cut > 0, last, "{at}");
        let (again, recovered) = open(&disk);
        assert_eq!((table(&again), recovered), (table(&core), Recovered::default()));
    }
}

/// Makes the changes, with a compaction after every third, until something fails; returns how
/// many were made, and how many of them had to be durable.
fn run(disk: &MemoryDisk, changes: &[Change]) -> (usize, usize) {
    let (mut made, mut durable) = (0, 0);
    let (fail, _) = counting();
    let Ok((core, _)) = Core::open(Box::new(disk.clone()), fail) else {
        return (0, 0);
    };
    for (index, change) in changes.iter().enumerate() {
        if record(&core, *change).is_err() {
            break;
        }
        made = index + 1;
        if change.is_synced_at_once() {
            durable = made;
        }
        if index % 3 == 2 {
            if core.compact().is_err() {
                break;
            }
            durable = made;
        }
    }
    (made, durable)
}

#[test]
fn a_crash_at_any_step_takes_nothing_that_was_promised() {
    let (changes, tables) = (changes(), tables(&changes()));
    let whole = MemoryDisk::default();
    assert_eq!(run(&whole, &changes).0, changes.len());
    for step in 0..whole.operations() {
        let disk = MemoryDisk::default();
        disk.fail(step, Fault::Killed);
        let (made, durable) = run(&disk, &changes);
        for crash in [Crash::Process, Crash::Machine, Crash::MachineWithNames] {
            let left = disk.after(crash);
            let (core, recovered) = open(&left);
            let found = table(&core);
            let promised = if crash == Crash::Process { made } else { durable };
            // The change that was under way may have happened.
            let last = (made + 1).min(changes.len());
            let known = tables[promised..=last].contains(&found);
            assert!(known, "step {step}, {crash:?}: {promised} to {last}, {found:?}");
            assert_eq!(recovered.damaged, 0);
            core.write(&changes).unwrap();
            drop(core);
            assert_eq!(open(&left).1, Recovered::default());
            assert_eq!(left.content("state.next"), None);
        }
    }
}

#[test]
fn what_a_killed_process_wrote_is_durable_after_the_next_start() {
    let disk = MemoryDisk::default();
    let (core, _) = open(&disk);
    core.write(&changes()).unwrap();
    let expected = table(&core);
    drop(core);
    drop(open(&disk));
    assert_eq!(table(&open(&disk.after(Crash::Machine)).0), expected);
}

#[test]
fn what_comes_during_a_compaction_is_in_both_files() {
    let changes = changes();
    let (before, during) = changes.split_at(9);
    let run = |disk: &MemoryDisk| {
        let (core, _) = Core::open(Box::new(disk.clone()), counting().0).unwrap();
        core.write(before).unwrap();
        core.sync().unwrap();
        let next = core.write_next()?;
        core.write(during)?;
        core.put_in_place(next).map(|()| table(&core))
    };
    let whole = MemoryDisk::default();
    let expected = run(&whole).unwrap();
    assert_eq!(expected, tables(&changes).pop().unwrap());
    for crash in [Crash::Process, Crash::Machine, Crash::MachineWithNames] {
        let (core, recovered) = open(&whole.after(crash));
        assert_eq!((table(&core), recovered), (expected.clone(), Recovered::default()));
    }
    let (first, tables) = (whole.operations() - 6, tables(&changes));
    for step in first..whole.operations() {
        let disk = MemoryDisk::default();
        disk.fail(step, Fault::Killed);
        assert!(run(&disk).is_err());
        for crash in [Crash::Process, Crash::Machine, Crash::MachineWithNames] {
            let found = table(&open(&disk.after(crash)).0);
            assert!(tables[before.len()..].contains(&found), "{step} {crash:?}");
        }
    }
}

#[test]
fn a_failed_sync_is_told_once_and_never_tried_again() {
    let changes = changes();
    let whole = MemoryDisk::default();
    run(&whole, &changes);
    for step in 0..whole.operations() {
        let disk = MemoryDisk::default();
        disk.fail(step, Fault::Error(io::ErrorKind::InvalidData));
        let (fail, failures) = counting();
        let Ok((core, _)) = Core::open(Box::new(disk.clone()), fail) else {
            continue;
        };
        let mut broken = false;
        for (index, change) in changes.iter().enumerate() {
            let compacted = |_| if index % 3 == 2 { core.compact() } else { Ok(()) };
            match record(&core, *change).and_then(compacted) {
                Ok(()) | Err(StateError::NotCompacted(_)) => assert!(!broken),
                Err(StateError::Io(_)) => {
                    assert!(!broken);
                    broken = true;
                    let before = disk.operations();
                    assert!(matches!(core.sync(), Err(StateError::Broken)));
                    assert!(matches!(core.compact(), Err(StateError::Broken)));
                    assert!(!core.wants_compaction());
                    assert_eq!(disk.operations(), before, "the disk is left alone");
                }
                Err(StateError::Broken) => assert!(broken),
                Err(error) => panic!("step {step}: {error}"),
            }
        }
        assert_eq!(failures.load(Ordering::Relaxed), usize::from(broken));
    }
}

#[test]
fn a_full_disk_takes_nothing_and_is_left_behind() {
    let disk = MemoryDisk::default();
    let (core, _) = open(&disk);
    core.write(&changes()).unwrap();
    let (before, bytes) = (table(&core), disk.content(NAME).unwrap());
    let full = Fault::Error(io::ErrorKind::StorageFull);
    disk.fail_next(full);
    let result = core.write(&[6, 7, 8].map(|at| became("a", at, Became::Delivered)));
    assert!(matches!(result, Err(StateError::Full(_))));
    assert_eq!((table(&core), disk.content(NAME).unwrap()), (before, bytes));
    for operation in 0..2 {
        disk.fail(disk.operations() + operation, full);
        assert!(matches!(core.compact(), Err(StateError::NotCompacted(_))));
        assert_eq!(disk.content("state.next"), None, "what was begun takes no room");
    }
    core.write(&[became("a", 6, Became::Delivered)]).unwrap();
    let expected = table(&core);
    assert_eq!(table(&open(&disk).0), expected);
}

#[test]
fn changes_are_synced_by_themselves_and_the_grave_ones_at_once() {
    let disk = MemoryDisk::default();
    let opened = Core::open(Box::new(disk.clone()), no_fail());
    let (state, _) = State::start(opened).unwrap();
    let durable = |disk: &MemoryDisk| table(&open(&disk.after(Crash::Machine)).0);
    let before = disk.syncs();
    state.record(&[became("a", 1, Became::Delivered)]).unwrap();
    disk.wait_for_syncs(before);
    assert_eq!(durable(&disk), state.read(Clone::clone));
    state.record(&[became("a", 2, waiting(1)), became("a", 3, Became::Purged)]).unwrap();
    assert_eq!(durable(&disk), state.read(Clone::clone), "before it is said to be done");
    state.record(&[became("a", 4, waiting(1))]).unwrap();
    let expected = state.read(Clone::clone);
    drop(state);
    assert_eq!(durable(&disk), expected, "the end waits for what was written");
}

#[test]
fn the_file_stays_small_and_loads_fast() {
    const WAITING: u64 = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let (state, _) = State::open(&path, no_fail()).unwrap();
    let backend = Backend::of("a");
    state.record(&[Change::Added { backend, from: Position(1) }]).unwrap();
    let all = |became: Became| -> Vec<_> {
        (1..=WAITING).map(|position| self::became("a", position, became)).collect()
    };
    for attempts in 1..=10 {
        state.record(&all(waiting(attempts))).unwrap();
        if state.shared.core.wants_compaction() {
            state.shared.core.compact().unwrap();
        }
    }
    let live = WAITING * FRAME_BYTES as u64;
    assert!(state.shared.core.size() <= 5 * live + COMPACT_BYTES_MIN);
    let expected = state.read(Clone::clone);
    drop(state);

    let begun = monotonic();
    let (state, recovered) = State::open(&path, no_fail()).unwrap();
    let took = monotonic().saturating_sub(begun);
    println!("{WAITING} waiting events loaded in {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!((state.read(Clone::clone), recovered), (expected, Recovered::default()));
    state.record(&all(Became::Delivered)).unwrap();
    state.shared.core.compact().unwrap();
    assert_eq!(state.shared.core.size(), 3 * FRAME_BYTES as u64);
    assert_eq!(state.read(|table| table.low_water(backend)), Some(Position(WAITING)));
}

fn monotonic() -> Duration {
    strait_runtime::Clock::monotonic(&strait_runtime::SystemClock)
}

fn any_change() -> impl Strategy<Value = Change> {
    let backend = (0_u64..3).prop_map(Backend);
    let position = (1_u64..30).prop_map(Position);
    let became = prop_oneof![
        (0_u32..9).prop_map(waiting),
        Just(Became::Delivered),
        Just(Became::Purged),
        (0_u32..9).prop_map(|attempts| Became::Dead {
            attempts,
            reason: Reason::Rejected(410),
            at: time(0),
        }),
    ];
    let of_event = (backend.clone(), position.clone(), became)
        .prop_map(|(backend, position, became)| Change::Became { backend, position, became });
    prop_oneof![
        20 => of_event,
        2 => (backend.clone(), position.clone())
            .prop_map(|(backend, from)| Change::Added { backend, from }),
        1 => backend.prop_map(|backend| Change::Removed { backend }),
        1 => position.prop_map(|before| Change::Forgotten { before }),
    ]
}

proptest! {
    /// Whatever happened, a compacted file says the same, and the table is consistent.
    #[test]
    fn compaction_changes_nothing(changes in proptest::collection::vec(any_change(), 0..80)) {
        let disk = MemoryDisk::default();
        let (core, _) = open(&disk);
        core.write(&changes).unwrap();
        let before = table(&core);
        core.compact().unwrap();
        prop_assert_eq!(core.size(), before.size());
        let (core, recovered) = open(&disk);
        prop_assert_eq!(recovered, Recovered::default());
        prop_assert_eq!(&table(&core), &before);
        for backend in before.backends() {
            let unsettled: Vec<_> = before
                .unsettled(backend, Position(40))
                .flat_map(|(first, last)| first.0..=last.0)
                .collect();
            for position in 1..=40 {
                let became = before.became(backend, Position(position));
                let waits = matches!(became, Some(Became::Waiting { .. }));
                let open = unsettled.contains(&position);
                prop_assert!(!waits || open);
                prop_assert!(waits || became.is_none() || !open);
            }
        }
    }
}
