//! How fast a hub is ready on an empty directory, keys made included.

use std::time::Duration;

use anyhow::Result;

use super::hub::Hub;
use super::report::{Goal, Row, milliseconds, percentile};
use super::{Ground, cpu};

const STARTS: usize = 10;

/// Starts hubs, one after the other.
pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let mut times = Vec::with_capacity(STARTS);
    let (mut used, mut waited) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..STARTS {
        let hub = Hub::start(ground)?;
        times.push(hub.started_in);
        used += cpu::time(hub.pid())?;
        waited += cpu::waiting(hub.pid());
    }
    times.sort_unstable();
    let at = |index: usize| milliseconds(times.get(index).copied().unwrap_or(Duration::ZERO));
    Ok(vec![Row {
        name: "hub start to /readyz, empty directory",
        goal: Some(Goal::AtMost(150.0)),
        measured: milliseconds(percentile(&times, 0.5)),
        unit: "ms",
        details: format!(
            "median of {STARTS}; {:.0} to {:.0} ms; each CPU {:.0} ms, its threads waiting for one {:.0} ms",
            at(0),
            at(STARTS - 1),
            milliseconds(used) / STARTS as f64,
            milliseconds(waited) / STARTS as f64
        ),
    }])
}
