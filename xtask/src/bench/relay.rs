//! The relay beside what people would put in its place: two nginx in a row.
//!
//! Every path goes from a client over TLS to a public side, from there over TLS to a private
//! side, and from there to an HTTP/1.1 service. All are up at once and take turns in every round;
//! what counts is the median of the rounds' ratios, against the chain that is harder to beat.
//! Client, service and both sides share this machine's processors, and loopback is the network:
//! the figures compare paths, and say nothing of latency between sites.

mod bulk;
pub(super) mod client;
mod contest;
mod crowd;
mod far;
pub(super) mod http2;
mod link;
mod load;
mod memory;
mod neighbours;
mod nginx;
mod pace;
pub(super) mod path;
pub(super) mod process;
mod restart;
pub(super) mod service;
mod small;
pub(super) mod strait;
mod wire;

use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Runtime;

pub(super) use bulk::measure as bulk;
pub(super) use crowd::measure as crowd;
pub(super) use far::measure as far;
pub(super) use memory::measure as memory;
pub(super) use neighbours::measure as neighbours;
pub(super) use restart::measure as restart;
pub(super) use small::measure as small;

use super::Ground;

/// Rounds whose median counts, and rounds of a quick run.
const ROUNDS: usize = 7;
const QUICK_ROUNDS: usize = 3;

/// Connections of small requests.
const CONNECTIONS: usize = 64;

/// A runtime for load: one thread, as each side of a path has.
pub(super) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Time of a run, which is half as long in a quick one.
fn time(ground: &Ground, full: Duration) -> Duration {
    if ground.quick { full / 2 } else { full }
}

fn rounds(ground: &Ground) -> usize {
    if ground.quick { QUICK_ROUNDS } else { ROUNDS }
}
