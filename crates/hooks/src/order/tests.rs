//! Against a model, and in bounds.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

fn drain(queue: &mut Queue, now: i64) -> Vec<u64> {
    std::iter::from_fn(|| queue.next(at(now)).map(|position| position.0)).collect()
}

fn keyed(limit: usize, keys: &[(u64, &str)]) -> Queue {
    let mut queue = Queue::new(limit);
    for (position, key) in keys {
        queue.push(Position(*position), Some(Key::of(key)));
    }
    queue
}

#[test]
fn without_keys_positions_go_in_their_order_up_to_the_limit() {
    let mut queue = Queue::new(3);
    queue.push_run(Position(1), Position(4), None);
    queue.push(Position(5), None);
    queue.push(Position(9), None);
    queue.push_run(Position(7), Position(6), None);
    assert_eq!((queue.len(), queue.ready.len()), (6, 2));
    assert_eq!(drain(&mut queue, 0), [1, 2, 3]);
    assert_eq!((queue.len(), queue.in_flight()), (6, 3));
    assert!(queue.settle(Position(2)) && !queue.settle(Position(2)));
    assert!(!queue.put_off(Position(4), at(0)), "it is not in flight");
    assert_eq!(drain(&mut queue, 0), [4]);
    for position in [1, 3, 4] {
        queue.settle(Position(position));
    }
    assert_eq!(drain(&mut queue, 0), [5, 9]);
    queue.settle(Position(5));
    queue.settle(Position(9));
    assert!(queue.is_empty());
}

#[test]
fn what_was_put_off_takes_turns_with_what_is_new() {
    let mut queue = Queue::new(9);
    queue.push_run(Position(1), Position(2), None);
    assert_eq!(drain(&mut queue, 0), [1, 2]);
    queue.put_off(Position(1), at(100));
    queue.put_off(Position(2), Timestamp::new(0, 50_000_001).unwrap());
    assert_eq!(queue.due(), Some(at(51)), "never early");
    assert_eq!((drain(&mut queue, 50), queue.len()), (vec![], 2));
    queue.push_run(Position(3), Position(5), None);
    let mut order = drain(&mut queue, 100);
    assert_eq!(order.len(), 5);
    let retries: Vec<_> = order.iter().take(4).filter(|position| **position < 3).collect();
    assert_eq!(retries, [&2, &1]);
    order.sort_unstable();
    assert_eq!((order, queue.due()), (vec![1, 2, 3, 4, 5], None));
}

#[test]
fn a_stuck_key_holds_up_itself_alone_and_keeps_its_order() {
    let mut queue = keyed(9, &[(1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "b"), (6, "c")]);
    assert_eq!(drain(&mut queue, 0), [1, 3, 6]);
    queue.put_off(Position(1), at(1_000));
    queue.settle(Position(3));
    assert_eq!(drain(&mut queue, 0), [5]);
    queue.push(Position(7), Some(Key::of("a")));
    queue.push(Position(8), Some(Key::of("d")));
    assert_eq!((drain(&mut queue, 999), queue.len()), (vec![8], 7));
    assert_eq!(drain(&mut queue, 1_000), [1]);
    for (settled, then) in [(1, vec![2]), (2, vec![4]), (4, vec![7]), (7, vec![])] {
        queue.settle(Position(settled));
        assert_eq!(drain(&mut queue, 1_000), then);
    }
}

#[test]
fn a_backend_that_is_back_gets_what_was_put_off_at_once_in_order() {
    let mut queue = keyed(9, &[(1, "a"), (2, "b"), (3, "a"), (4, "c")]);
    assert_eq!(drain(&mut queue, 0), [1, 2, 4]);
    for position in [4, 1, 2] {
        queue.put_off(Position(position), at(9_000));
    }
    queue.push(Position(5), Some(Key::of("b")));
    queue.wake();
    assert_eq!(queue.due(), None);
    assert_eq!(drain(&mut queue, 0), [1, 2, 4]);
    queue.settle(Position(1));
    assert_eq!(drain(&mut queue, 0), [3]);
    queue.settle(Position(2));
    assert_eq!(drain(&mut queue, 0), [5]);
}

#[test]
fn what_was_put_off_before_a_restart_still_comes_first_of_its_key() {
    let mut queue = Queue::new(9);
    queue.push_put_off(Position(3), Some(Key::of("a")), at(500));
    queue.push_put_off(Position(4), Some(Key::of("a")), at(400));
    queue.push_put_off(Position(5), None, at(600));
    queue.push(Position(6), Some(Key::of("a")));
    queue.push(Position(7), None);
    assert_eq!(queue.len(), 5);
    assert_eq!(drain(&mut queue, 450), [7]);
    assert_eq!(drain(&mut queue, 500), [3]);
    queue.settle(Position(3));
    assert_eq!(drain(&mut queue, 600), [5, 4]);
}

#[test]
fn what_is_added_again_while_it_is_in_flight_goes_when_that_is_over() {
    let mut queue = Queue::new(9);
    for goes in [vec![1], vec![], vec![]] {
        queue.push(Position(1), None);
        assert_eq!(drain(&mut queue, 0), goes);
    }
    assert_eq!((queue.len(), queue.in_flight()), (1, 1));
    assert!(queue.settle(Position(1)));
    assert_eq!(drain(&mut queue, 0), [1], "once, however often it was added");
    queue.push(Position(1), None);
    assert!(drain(&mut queue, 0).is_empty());
    // It waits then, as it was to.
    assert!(queue.put_off(Position(1), at(10)));
    assert_eq!((drain(&mut queue, 9), drain(&mut queue, 10)), (vec![], vec![1]));
    assert!(queue.settle(Position(1)) && queue.is_empty());
}

#[test]
fn what_waits_already_is_found_and_does_not_wait_longer() {
    let mut queue = keyed(9, &[(1, "a"), (2, "a"), (3, "b")]);
    assert_eq!(drain(&mut queue, 0), [1, 3]);
    queue.put_off(Position(1), at(9_000));
    queue.push_run(Position(4), Position(6), None);
    assert_eq!(queue.next(at(0)), Some(Position(4)));
    queue.put_off(Position(4), at(9_000));
    queue.push(Position(7), Some(Key::of("a")));
    let mut wanted = (1..=9).filter(|at| *at != 4).collect();
    queue.hasten(&mut wanted);
    assert!(wanted.into_iter().eq([3, 8, 9]), "in flight, or not there");
    assert_eq!((queue.len(), queue.due()), (7, Some(at(9_000))));
    assert_eq!(drain(&mut queue, 0), [1, 5, 6]);
    queue.settle(Position(1));
    assert_eq!(drain(&mut queue, 0), [2]);
}

#[test]
fn a_million_waiting_positions_are_small() {
    const MANY: u64 = 1_000_000;
    let mut queue = Queue::new(1);
    queue.push_run(Position(1), Position(MANY), None);
    for position in MANY + 1..2 * MANY {
        queue.push(Position(position), None);
    }
    assert_eq!(queue.ready.len(), 1, "what follows one another waits as one");

    // Each of another key than the one before: the worst for runs.
    let before = resident();
    let mut queue = Queue::new(usize::MAX);
    for position in 1..=MANY {
        queue.push(Position(position), Some(Key(position % 1_000 + 1)));
    }
    assert!(queue.ready.capacity() * size_of::<Run>() <= WAITING_BYTES_MAX * queue.len());
    // All keys are stuck: everything else goes behind them.
    assert_eq!(drain(&mut queue, 0).len(), 1_000);
    assert_eq!(queue.behind.len(), queue.len() - 1_000);
    let used = resident().saturating_sub(before);
    // Other tests of this process take some as well.
    assert!(used <= WAITING_BYTES_MAX * queue.len() + (64 << 20), "{used}");

    // Everything was tried and put off.
    let mut queue = Queue::new(usize::MAX);
    queue.push_run(Position(1), Position(MANY), None);
    while let Some(position) = queue.next(at(0)) {
        queue.put_off(position, at(1));
    }
    let bytes = queue.later.capacity() * size_of::<(i64, u64, u64)>();
    assert!(bytes <= WAITING_BYTES_MAX * queue.len(), "{bytes}");
    while let Some(position) = queue.next(at(1)) {
        queue.settle(position);
    }
    let left = queue.later.capacity() + queue.ready.capacity() + queue.busy.capacity();
    assert!(left < 8_192, "memory of a backlog is given back: {left}");
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[test]
fn keys_differ_and_none_is_no_key() {
    assert_eq!(Key::of("acme/site"), Key::of("acme/site"));
    assert_ne!(Key::of("acme/site"), Key::of("acme/site2"));
    assert_ne!(Key::slot(Some(Key(0))), Key::slot(None));
}

proptest! {
    /// Against a model that knows every position's key: one of a key at a time, in its order,
    /// never too many, never early, and in the end everything, once.
    #[test]
    fn nothing_is_lost_doubled_early_or_out_of_order(
        limit in 1_usize..6,
        steps in proptest::collection::vec((0_u8..12, 0_u32..5), 1..300),
    ) {
        let mut queue = Queue::new(limit);
        let (mut pushed, mut now) = (0, 0_i64);
        let mut waiting: BTreeMap<u64, u64> = BTreeMap::new();
        let mut off: HashMap<u64, i64> = HashMap::new();
        let mut flying: Vec<u64> = Vec::new();
        let finish = (0..2_000).map(|_| (99, 0));
        for (step, number) in steps.into_iter().chain(finish) {
            match step {
                0..=3 => {
                    let key = u64::from(number);
                    pushed += 1 + key / 4;
                    // Key 0 is none.
                    queue.push(Position(pushed), (key > 0).then_some(Key(key)));
                    waiting.insert(pushed, key);
                }
                4 | 5 if !flying.is_empty() => {
                    let position = flying.remove(number as usize % flying.len());
                    queue.put_off(Position(position), at(now + i64::from(number)));
                    off.insert(position, now + i64::from(number));
                }
                6 => {
                    queue.wake();
                    off.clear();
                }
                7 | 99 => now += 1,
                _ => {}
            }
            if (8..10).contains(&step) || step == 99 {
                if let Some(Position(next)) = queue.next(at(now)) {
                    let key = waiting[&next];
                    prop_assert!(!flying.contains(&next));
                    prop_assert!(off.remove(&next).is_none_or(|until| until <= now), "early");
                    let first = waiting.iter().find(|(_, other)| **other == key);
                    prop_assert!(key == 0 || first == Some((&next, &key)), "out of order");
                    flying.push(next);
                    prop_assert!(flying.len() <= limit);
                } else {
                    let free = waiting.iter().any(|(position, key)| {
                        let first = waiting.iter().find(|(_, other)| *other == key);
                        let may = *key == 0 || first == Some((position, key));
                        let due = off.get(position).is_none_or(|until| *until <= now);
                        may && due && !flying.contains(position)
                    });
                    prop_assert!(!free || flying.len() == limit, "something could go");
                }
            }
            if step >= 10 && !flying.is_empty() {
                let position = flying.remove(number as usize % flying.len());
                prop_assert!(queue.settle(Position(position)));
                waiting.remove(&position);
            }
            prop_assert_eq!(queue.len(), waiting.len());
        }
        prop_assert!(queue.is_empty() && queue.busy.is_empty() && queue.count == 0);
    }
}
