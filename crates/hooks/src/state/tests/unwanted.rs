//! Events that a backend does not want.

use super::*;

#[test]
fn what_is_unwanted_stays_so_until_it_is_asked_for_anew() {
    let (disk, backend) = (MemoryDisk::default(), Backend::of("a"));
    let (core, _) = open(&disk);
    let unwanted = |first, last| {
        let (first, last) = (Position(first), Position(last));
        Change::Unwanted { backend, first, last }
    };
    let anew = Became::Waiting { attempts: 0, last: None, until: time(0) };
    core.write(&[
        Change::Added { backend, from: Position(1) },
        unwanted(1, 40),
        became("a", 41, Became::Delivered),
        unwanted(42, 42),
        became("a", 5, anew),
        became("a", 6, anew),
        became("a", 6, Became::Delivered),
        became("a", 7, anew),
        became("a", 7, Became::Unwanted),
        Change::Forgotten { before: Position(3) },
    ])
    .unwrap();
    let look = |core: &Core| {
        let table = table(core);
        [1, 2, 3, 5, 6, 7, 40, 41, 42, 43].map(|at| table.became(backend, Position(at)))
    };
    let (not, got) = (Some(Became::Unwanted), Some(Became::Delivered));
    let expected = [None, None, not, Some(anew), got, not, not, got, not, None];
    assert_eq!(look(&core), expected);
    core.compact().unwrap();
    assert_eq!(look(&open(&disk).0), expected);
}

#[test]
fn every_other_event_that_is_unwanted_takes_few_bytes() {
    let backend = Backend::of("a");
    let each = (1..=100_000).map(|at| match at % 2 {
        0 => became("a", at, Became::Delivered),
        _ => became("a", at, Became::Unwanted),
    });
    let mut table = Table::default();
    each.for_each(|change| table.apply(Frame::Change(change)));
    assert!(table.size() < 2 * 100_000, "{}", table.size());
    assert_eq!(table.became(backend, Position(77_777)), Some(Became::Unwanted));
    assert_eq!(table.became(backend, Position(77_778)), Some(Became::Delivered));
}

#[test]
fn what_was_there_before_a_backend_is_not_unwanted_and_takes_few_bytes() {
    const ADDED_AT: u64 = 10_000_000;
    let (disk, backend) = (MemoryDisk::default(), Backend::of("a"));
    let (core, _) = open(&disk);
    let anew = Became::Waiting { attempts: 0, last: None, until: time(0) };
    core.write(&[
        Change::Added { backend, from: Position(ADDED_AT) },
        became("a", 9, anew),
        became("a", 3, anew),
        became("a", 3, Became::Delivered),
        became("a", 8, anew),
        became("a", 7, Became::Unwanted),
        Change::Forgotten { before: Position(3) },
    ])
    .unwrap();
    let look = |core: &Core| {
        let table = table(core);
        assert!(table.size() < 1_000, "{}", table.size());
        let unsettled = |at| table.is_unsettled(backend, at);
        let of = |at| (table.became(backend, at), unsettled(at));
        [2, 3, 4, 6, 7, 8, 9, 10, ADDED_AT - 1, ADDED_AT].map(|at| of(Position(at)))
    };
    let (absent, waits) = ((None, false), (Some(anew), true));
    let expected = [
        absent,
        (Some(Became::Delivered), false),
        absent,
        absent,
        (Some(Became::Unwanted), false),
        waits,
        waits,
        absent,
        absent,
        (None, true),
    ];
    assert_eq!(look(&core), expected);
    core.compact().unwrap();
    assert_eq!(look(&open(&disk).0), expected);
}
