//! Webhooks: how fast they are acknowledged, and what holds on a bad day.
//!
//! `strait hooks serve` runs as a process of its own; senders and three backends are made here.
//! What a figure is compared with is measured in the same minute: a bare sync of the disk, and
//! the same server when it only answers, which it does to a wrong signature after it has read and
//! verified the whole body.

mod bad_days;
mod gate;
mod load;
mod memory;
mod rates;
mod restart;
mod sinks;
mod slow;
mod webhook;

use anyhow::Result;

use super::Ground;
use super::report::Row;

/// Measures everything.
pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let mut rows = rates::measure(ground)?;
    rows.extend(bad_days::measure(ground)?);
    rows.extend(memory::measure(ground)?);
    rows.extend(slow::measure(ground)?);
    rows.extend(restart::measure(ground)?);
    Ok(rows)
}
