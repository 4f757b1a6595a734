//! The whole log, on a real directory with a disk that can fail.

use std::io::ErrorKind as Io;
use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;

use super::*;
use crate::queue::QUEUE_RECORDS_MAX;
use crate::record::Stage;
use crate::segment::segments;
use crate::testing::{Logged, record};
use crate::verify::verify;
use crate::{Filter, list};

fn lines(log: &Logged) -> Vec<(u64, Stage, String)> {
    let entries = list(log.path(), Filter::default()).unwrap();
    let line = |entry: crate::Entry| {
        let text = match entry.record.stage {
            Stage::Repaired | Stage::Truncated => entry.record.outcome,
            _ => entry.record.crossing,
        };
        (entry.seq, entry.record.stage, text)
    };
    entries.map(|entry| line(entry.unwrap())).collect()
}

fn crossings(log: &Logged) -> String {
    lines(log).into_iter().map(|(_, _, text)| text).collect()
}

#[test]
fn what_was_answered_is_durable_and_in_order() {
    let log = Logged::new();
    let first = log.append(vec![record("a"), record("b")]);
    let second = log.append(vec![record("c")]);
    assert_eq!((first.seq, second.seq), (2, 3));
    let segment = &segments(log.path()).unwrap()[0].path;
    let size = std::fs::metadata(segment).unwrap().len();
    assert_eq!(log.faults.lock().durable[segment], size);
    assert_eq!(crossings(&log), "abc");
    assert!(verify(log.path(), None).unwrap().is_intact());
}

#[test]
fn what_a_killed_process_left_is_synced_before_it_is_followed() {
    let mut log = Logged::new();
    log.append(vec![record("a")]);
    log.close();
    let durable = std::mem::take(&mut log.faults.lock().durable);
    log.reopen().unwrap();
    assert_eq!(log.faults.lock().durable, durable);
}

#[test]
fn those_who_wait_together_share_a_sync_and_keep_their_order() {
    let log = Logged::new();
    let before = log.faults.lock().syncs;
    let many = (0..500).map(|number| {
        let crossing = format!("{number},");
        log.log.append(vec![record(&crossing), record(&crossing)])
    });
    let heads = log.block_on(join_all(many));
    let syncs = log.faults.lock().syncs - before;
    assert!(syncs < 500, "{syncs} syncs");
    let expected: Vec<_> = (1..=500).map(|n| 2 * n).collect();
    assert_eq!(heads.iter().map(|head| head.unwrap().seq).collect::<Vec<_>>(), expected);
    let expected: String = (0..500).map(|n| format!("{n},{n},")).collect();
    assert_eq!(crossings(&log), expected);
}

#[test]
fn files_are_private_and_segments_end_by_size() {
    let log = Logged::with_small_segments();
    log.append(vec![record("a")]);
    log.append(vec![record("b"), record("c")]);
    log.append(vec![record("d")]);
    let found = segments(log.path()).unwrap();
    let firsts: Vec<_> = found.iter().map(|segment| segment.first).collect();
    assert_eq!(firsts, [1, 2, 4]);
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(log.path()), 0o700);
    assert_eq!(mode(&found[0].path), 0o600);
}

#[test]
fn it_goes_on_where_it_was() {
    let mut log = Logged::with_small_segments();
    let head = log.append(vec![record("a"), record("b")]);
    log.close();
    assert_eq!(log.try_append(vec![record("x")]), Err(AppendError::Closed));
    log.reopen().unwrap();
    assert_eq!(log.head(), head);
    log.append(vec![record("c")]);
    assert_eq!(crossings(&log), "abc");
    assert!(verify(log.path(), None).unwrap().is_intact());
}

#[test]
fn a_torn_tail_is_cut_and_told() {
    let mut log = Logged::new();
    log.append(vec![record("a")]);
    log.close();
    let path = segments(log.path()).unwrap().remove(0).path;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"actor\":{\"gro");
    std::fs::write(&path, bytes).unwrap();

    log.reopen().unwrap();
    let told = "cut 14 bytes of unfinished lines".to_owned();
    assert_eq!(lines(&log)[1], (2, Stage::Repaired, told));
    log.append(vec![record("b")]);
    let report = verify(log.path(), None).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.lines, report.repairs), (3, 1));
}

#[test]
fn lost_lines_leave_a_hole_for_ever() {
    let mut log = Logged::with_small_segments();
    for crossing in ["a", "b", "c", "d"] {
        log.append(vec![record(crossing)]);
    }
    log.close();
    for segment in &segments(log.path()).unwrap()[2..] {
        std::fs::remove_file(&segment.path).unwrap();
    }
    log.reopen().unwrap();
    log.append(vec![record("e")]);
    log.close();
    log.reopen().unwrap();
    let told = "lines 3 to 4 are missing".to_owned();
    assert_eq!(lines(&log)[2], (5, Stage::Truncated, told));
    let faults: Vec<_> = verify(log.path(), None).unwrap().faults;
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        ["00000000000000000005.jsonl line 1 (seq 5): lines 3 to 4 are missing before it"]
    );
}

#[test]
fn a_directory_that_was_emptied_is_found_out() {
    let mut log = Logged::new();
    log.append(vec![record("a"), record("b")]);
    log.close();
    for segment in segments(log.path()).unwrap() {
        std::fs::remove_file(segment.path).unwrap();
    }
    log.reopen().unwrap();
    let told = "lines 1 to 2 are missing".to_owned();
    assert_eq!(lines(&log), [(3, Stage::Truncated, told)]);
}

#[test]
fn a_rewritten_past_is_found_out_by_the_mirror() {
    let mut log = Logged::new();
    log.append(vec![record("a"), record("b")]);
    log.close();
    // Another log of the same length in its place, consistent in itself.
    let other = Logged::new();
    other.append(vec![record("x"), record("b"), record("c")]);
    other.close();
    let path = |log: &Logged| segments(log.path()).unwrap().remove(0).path;
    std::fs::copy(path(&other), path(&log)).unwrap();
    log.reopen().unwrap();
    let told = "line 2 is not the one that was mirrored";
    assert_eq!(lines(&log)[3], (4, Stage::Truncated, told.to_owned()));
    let report = verify(log.path(), None).unwrap();
    assert_eq!(report.fault_count, 1, "{report:?}");
}

#[test]
fn a_changed_line_does_not_stop_the_log() {
    let mut log = Logged::new();
    log.append(vec![record("a"), record("b")]);
    log.close();
    let path = segments(log.path()).unwrap().remove(0).path;
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"crossing\":\"a\"", "\"crossing\":\"x\"")).unwrap();
    log.reopen().unwrap();
    log.append(vec![record("c")]);
    assert_eq!(crossings(&log), "xbc");
    assert_eq!(verify(log.path(), None).unwrap().fault_count, 1);
}

#[test]
fn a_full_disk_refuses_and_recovers_without_a_trace() {
    for partly in [0, 100] {
        let log = Logged::new();
        log.append(vec![record("a")]);
        log.faults.lock().write = Some((partly, Io::StorageFull));
        for _ in 0..2 {
            let refused = log.try_append(vec![record("x")]);
            assert_eq!(refused, Err(AppendError::NoSpace));
            assert_eq!(crossings(&log), "a");
            assert_eq!(verify(log.path(), None).unwrap().unfinished_bytes, 0);
        }
        assert!(log.metrics.encode().contains("strait_audit_healthy 0"));
        log.faults.lock().write = None;
        log.append(vec![record("b")]);
        assert!(log.log.healthy());
        assert!(log.metrics.encode().contains("strait_audit_healthy 1"));
        assert_eq!(crossings(&log), "ab");
        assert!(verify(log.path(), None).unwrap().is_intact());
    }
}

#[test]
fn a_full_disk_at_a_new_segment_or_at_the_sync_recovers_too() {
    let log = Logged::with_small_segments();
    log.append(vec![record("a")]);
    log.faults.lock().create = Some(Io::StorageFull);
    assert_eq!(log.try_append(vec![record("x")]), Err(AppendError::NoSpace));
    log.faults.lock().create = None;
    log.faults.lock().write = Some((5, Io::QuotaExceeded));
    assert_eq!(log.try_append(vec![record("x")]), Err(AppendError::NoSpace));
    log.faults.lock().write = None;
    log.append(vec![record("b")]);
    assert_eq!(crossings(&log), "ab");
    assert!(verify(log.path(), None).unwrap().is_intact());
}

#[test]
fn a_failed_write_sync_or_cut_ends_the_log() {
    type Break = fn(&Logged);
    let breaks: [Break; 3] = [
        |log| log.faults.lock().write = Some((10, Io::Other)),
        |log| log.faults.lock().sync = Some(Io::Other),
        |log| {
            log.faults.lock().write = Some((10, Io::StorageFull));
            log.faults.lock().truncate = Some(Io::Other);
        },
    ];
    for (index, break_it) in breaks.into_iter().enumerate() {
        let mut log = Logged::new();
        log.append(vec![record("a")]);
        break_it(&log);
        assert_eq!(log.try_append(vec![record("x")]), Err(AppendError::Broken));
        *log.faults.lock() = crate::testing::Faults::default();
        assert_eq!(log.try_append(vec![record("x")]), Err(AppendError::Broken));
        assert!(!log.log.healthy());
        let text = log.metrics.encode();
        let counted = "strait_audit_append_failures_total{reason=\"broken\"} 2";
        assert!(text.contains(counted), "{index}: {text}");

        // A restart looks at what is there.
        log.close();
        log.reopen().unwrap();
        log.append(vec![record("b")]);
        assert!(verify(log.path(), None).unwrap().is_intact());
    }
}

#[test]
fn a_record_that_is_too_large_is_refused() {
    let log = Logged::new();
    let mut large = record("a");
    large.outcome = "\0".repeat(RECORD_BYTES_MAX);
    let refused = log.try_append(vec![record("x"), large.clone()]);
    assert_eq!(refused, Err(AppendError::TooLarge));
    large.outcome.pop();
    log.append(vec![large]);
    assert!(verify(log.path(), None).unwrap().is_intact());
}

#[test]
fn a_full_queue_refuses() {
    let log = Logged::new();
    let records = vec![record("a"); QUEUE_RECORDS_MAX + 1];
    assert_eq!(log.try_append(records), Err(AppendError::QueueFull));
    let refused = "strait_runtime_queue_refused_total{queue=\"audit\"} 1";
    assert!(log.metrics.encode().contains(refused));
    log.append(vec![record("a"); QUEUE_RECORDS_MAX]);
}

#[test]
fn the_mirror_is_saved_once_a_second_and_at_the_end() {
    let log = Logged::new();
    let saves = || log.mirror.0.lock().saves;
    for _ in 0..3 {
        log.append(vec![record("a")]);
    }
    // Saving comes after answering: the next append is answered after it.
    assert_eq!(saves(), 1);
    log.clock.advance(std::time::Duration::from_secs(1));
    log.append(vec![record("a")]);
    log.append(vec![record("a")]);
    assert_eq!(saves(), 2);
    let head = log.head();
    log.close();
    assert_eq!(saves(), 3);
    assert_eq!(log.mirror.0.lock().head, Some(head));
}

#[test]
fn a_mirror_that_fails_is_counted_and_does_not_stop_the_log() {
    let mut log = Logged::new();
    log.mirror.0.lock().broken = true;
    log.append(vec![record("a")]);
    log.close();
    let counted = "strait_audit_mirror_failures_total 2";
    assert!(log.metrics.encode().contains(counted));
    let error = log.reopen().unwrap_err();
    assert!(matches!(error, OpenError::Mirror(_)));
}
