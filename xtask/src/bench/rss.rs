//! Memory of a hub that does nothing.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::hub::Hub;
use super::report::{Goal, Row};
use super::{Ground, cpu};

/// Time after which a hub counts as idle.
const IDLE: Duration = Duration::from_secs(3);

/// Starts a hub and leaves it alone.
pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let hub = Hub::start(ground)?;
    let before = cpu::time(hub.pid())?;
    thread::sleep(IDLE);
    let used = cpu::time(hub.pid())? - before;
    Ok(vec![Row {
        name: "resident memory of an idle hub",
        goal: Some(Goal::AtMost(40.0)),
        measured: f64::from(cpu::resident_kib(hub.pid())?) / 1024.0,
        unit: "MiB",
        details: format!(
            "VmRSS after {} s; CPU in that time {} ms",
            IDLE.as_secs(),
            used.as_millis()
        ),
    }])
}
