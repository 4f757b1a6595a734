//! How fast a hub is ready on an empty directory, keys made included.

use std::time::Duration;

use anyhow::Result;

use super::Ground;
use super::hub::Hub;
use super::report::{Goal, Row, milliseconds, percentile};

const STARTS: usize = 10;

/// Starts hubs, one after the other.
pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        times.push(Hub::start(ground)?.started_in);
    }
    times.sort_unstable();
    let at = |index: usize| milliseconds(times.get(index).copied().unwrap_or(Duration::ZERO));
    Ok(vec![Row {
        name: "hub start to /readyz, empty directory",
        goal: Some(Goal::AtMost(150.0)),
        measured: milliseconds(percentile(&times, 0.5)),
        unit: "ms",
        details: format!("median of {STARTS}; {:.0} to {:.0} ms", at(0), at(STARTS - 1)),
    }])
}
