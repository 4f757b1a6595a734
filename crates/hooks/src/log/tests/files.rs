//! The log with its thread, on real files.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::log::testing::Fault;

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn open_in(dir: &Path, options: Options) -> (Log, Recovery) {
    Log::open(dir, options, &Metrics::new()).unwrap()
}

fn small_segments() -> Options {
    Options { segment_bytes: 256 << 10, ..Options::default() }
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("log");
    let runtime = runtime();
    for life in 0..3_u64 {
        let (log, recovery) = open_in(&dir, small_segments());
        assert_eq!(recovery, Recovery::default());
        assert_eq!(log.head(), Position(life * 100));
        let appends = (1..=100).map(|number| log.append(event(life * 100 + number, 5000)));
        let positions: Vec<_> = runtime.block_on(join_all(appends));
        let expected: Vec<_> = (1..=100).map(|number| Ok(Position(life * 100 + number))).collect();
        assert_eq!(positions, expected);
        for number in 1..=life * 100 + 100 {
            assert_eq!(log.read(Position(number)).unwrap(), Some(event(number, 5000)));
        }
        let mut seen = 0;
        let each = log.for_each(Position(50), |_, _| {
            seen += 1;
            ControlFlow::Continue(())
        });
        each.unwrap();
        assert_eq!(seen, life * 100 + 51);
        runtime.block_on(log.close());
    }
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let mut taken = 0;
    for entry in std::fs::read_dir(&dir).unwrap() {
        let metadata = entry.unwrap().metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        taken += metadata.len();
    }
    let (log, _) = open_in(&dir, small_segments());
    assert!(log.bytes().abs_diff(taken) < 32, "all but the lock file");
    assert!(log.bytes() < 300 * 6000 + (256 << 10), "what full segments took in advance is free");
}

#[test]
fn events_of_any_size_are_kept() {
    let temporary = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let events = [0, 1, 64 << 10, (64 << 10) + 1, 25 << 20, 0].map(|size| event(7, size));
    let options = Options { segment_bytes: 1 << 20, queue_bytes: 1 << 20, ..Options::default() };
    let (log, _) = open_in(temporary.path(), options.clone());
    for event in &events {
        // The largest is longer than the queue and than a segment.
        runtime.block_on(log.append(event.clone())).unwrap();
    }
    let too_large = Event { query: "q".repeat(1 << 20).into(), ..event(1, 1) };
    assert_eq!(runtime.block_on(log.append(too_large)), Err(AppendError::TooLarge));
    runtime.block_on(log.close());
    let (log, _) = open_in(temporary.path(), options);
    for (position, event) in (1..).map(Position).zip(events) {
        assert!(log.read(position).unwrap() == Some(event), "{position:?}");
    }
}

#[test]
fn a_directory_has_one_log() {
    let temporary = tempfile::tempdir().unwrap();
    let (log, _) = open_in(temporary.path(), small_segments());
    let second = Log::open(temporary.path(), small_segments(), &Metrics::new());
    assert!(matches!(second, Err(OpenError::Locked(LockError::Held { .. }))));
    runtime().block_on(log.close());
    let (log, _) = open_in(temporary.path(), small_segments());
    // Also another program's lock.
    let lock = DirLock::acquire(&temporary.path().join("lock"));
    assert!(lock.is_err());
    drop(log);
}

#[test]
fn a_failed_sync_ends_the_log_and_is_not_tried_again() {
    let sim = Sim::default();
    let (told, runtime) = (Arc::new(AtomicUsize::new(0)), runtime());
    let fail: Fail = {
        let told = told.clone();
        Arc::new(move |error| {
            assert_eq!(error.kind(), io::ErrorKind::Other);
            told.fetch_add(1, Ordering::Relaxed);
        })
    };
    let options = Options { fail, segment_bytes: 1 << 20, ..Options::default() };
    let (log, _) = Log::open_on(Box::new(sim.clone()), None, options, &Metrics::new()).unwrap();
    assert_eq!(runtime.block_on(log.append(event(1, 10))), Ok(Position(1)));
    let (operations, syncs) = {
        let state = sim.0.lock();
        (state.operations, state.syncs)
    };
    sim.fail_at(operations + 1, Fault::Error(io::ErrorKind::Other));
    for _ in 0..3 {
        assert_eq!(runtime.block_on(log.append(event(2, 10))), Err(AppendError::Closed));
    }
    assert_eq!(log.read(Position(1)).unwrap(), Some(event(1, 10)), "what is kept can be read");
    assert_eq!(log.head(), Position(1));
    runtime.block_on(log.close());
    assert_eq!(told.load(Ordering::Relaxed), 1);
    let state = sim.0.lock();
    assert_eq!((state.operations, state.syncs), (operations + 2, syncs + 1));
}

#[test]
fn what_waits_is_bounded_and_synced_together() {
    let queue = Queue::new(3000, prometheus_client::metrics::gauge::Gauge::default());
    let push = |body| {
        let event = event(1, body);
        let summary = encode_summary(&event).unwrap();
        queue.push(Encoded { event: event.into(), summary }, oneshot::channel().0)
    };
    assert_eq!(push(10_000), Ok(()), "alone, anything");
    assert_eq!(push(0), Err(AppendError::Busy));
    let batch = queue.take(std::time::Duration::ZERO).unwrap();
    assert_eq!(push(0), Err(AppendError::Busy), "what is being written counts");
    queue.written(batch.bytes);
    for _ in 0..4 {
        assert_eq!(push(400), Ok(()));
    }
    assert_eq!(push(400), Err(AppendError::Busy));
    assert_eq!(queue.take(std::time::Duration::ZERO).unwrap().events.len(), 4);
    queue.close();
    assert_eq!(push(0), Err(AppendError::Closed));
    assert!(queue.take(std::time::Duration::ZERO).is_none());
}

#[test]
fn a_batch_ends_at_its_bytes_and_many_share_one_sync() {
    let queue = Queue::new(usize::MAX, prometheus_client::metrics::gauge::Gauge::default());
    for body in [400 << 10, 400 << 10, 400 << 10, 3 << 20, 0] {
        let event = event(1, body);
        let summary = encode_summary(&event).unwrap();
        queue.push(Encoded { event: event.into(), summary }, oneshot::channel().0).unwrap();
    }
    let sizes: Vec<_> =
        (0..4).map(|_| queue.take(std::time::Duration::ZERO).unwrap().events.len()).collect();
    assert_eq!(sizes, [2, 1, 1, 1]);

    let sim = Sim::default();
    let (log, _) =
        Log::open_on(Box::new(sim.clone()), None, Options::default(), &Metrics::new()).unwrap();
    runtime().block_on(join_all((0..500).map(|number| log.append(event(number, 100)))));
    let syncs = sim.0.lock().syncs;
    assert!(syncs < 250, "{syncs} for 500 events");
}
