//! The agent's end of the tunnel, and a hub of two links.

mod agent;
mod hub;
mod lives;
mod refusals;
mod wire;

use std::time::Duration;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
