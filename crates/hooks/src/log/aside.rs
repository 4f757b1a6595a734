//! Damaged bytes are copied beside the log, so that removing a segment does not remove what a
//! person may still rescue from them.

use std::io;

use strait_types::Report;

use super::disk::{Disk, DiskFile, read_up_to, write_all};

const SUFFIX: &str = ".damaged";

/// All copies together; what goes beyond it is not kept.
const BYTES_MAX: u64 = 256 << 20;

const CHUNK_BYTES: u64 = 1 << 20;

/// Copies the bytes of the segment `name` from `from` to `to` into a file of their own, unless
/// that was done before; returns its name. None if that is not possible now.
pub(super) fn set_aside(disk: &dyn Disk, name: &str, from: u64, to: u64) -> Option<String> {
    let copy = format!("{}-{from:020}{SUFFIX}", name.split('.').next().unwrap_or(name));
    match keep(disk, name, &copy, from, to) {
        Ok(()) => Some(copy),
        Err(error) => {
            let error = Report(&error).to_string();
            tracing::warn!(err = error, segment = name, "damaged bytes cannot be copied aside");
            None
        }
    }
}

fn keep(disk: &dyn Disk, name: &str, copy: &str, from: u64, to: u64) -> io::Result<()> {
    let mut taken = 0;
    let mut there = None;
    for known in disk.names()?.iter().filter(|known| known.ends_with(SUFFIX)) {
        let file = disk.open(known)?;
        let size = file.size()?;
        if known != copy {
            taken += size;
        } else if size == to - from {
            return Ok(());
        } else {
            // A crash came between.
            there = Some(file);
        }
    }
    if taken + (to - from) > BYTES_MAX {
        return Err(io::Error::other("too much is kept already"));
    }
    let target = match there {
        Some(file) => file,
        None => disk.create(copy)?,
    };
    let copied = copy_range(&*disk.open(name)?, &*target, from, to);
    let synced = copied.and_then(|()| target.sync()).and_then(|()| disk.sync_names());
    if synced.is_err() {
        // Best effort: the first error is the one to tell.
        drop(disk.remove(copy));
    }
    synced
}

fn copy_range(source: &dyn DiskFile, target: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let count = usize::try_from((to - at).min(CHUNK_BYTES)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; count];
        let read = read_up_to(source, &mut bytes, at)?;
        if read == 0 {
            break;
        }
        write_all(target, &bytes[..read], at - from)?;
        at += read as u64;
    }
    Ok(())
}
