//! What the disk itself does: everything durable waits for it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;

use super::Ground;
use super::report::{Row, milliseconds, percentile, percentiles};
use crate::stopwatch::Stopwatch;

/// Bytes of a page.
pub(crate) const BLOCK: usize = 4096;
/// Syncs that are not counted: the first ones may allocate.
const WARM_UP: usize = 20;
const SYNCS: usize = 300;

/// What syncs took, sorted, as a line of the table.
pub(crate) fn row(syncs: &[Duration]) -> Row {
    Row {
        name: "bare fdatasync of a 4 KiB append",
        goal: None,
        measured: milliseconds(percentile(syncs, 0.5)),
        unit: "ms",
        details: percentiles(syncs),
    }
}

/// Appends blocks of so many bytes to a file, each followed by `fdatasync`; what each took, sorted.
pub(crate) fn syncs(ground: &Ground, bytes: usize) -> Result<Vec<Duration>> {
    let path = ground.directory.join("fdatasync");
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
    let block = vec![0x5a; bytes];
    let mut times = Vec::with_capacity(SYNCS);
    for number in 0..WARM_UP + SYNCS {
        let stopwatch = Stopwatch::start();
        file.write_all(&block)?;
        file.sync_data()?;
        if number >= WARM_UP {
            times.push(stopwatch.elapsed());
        }
    }
    std::fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times)
}
