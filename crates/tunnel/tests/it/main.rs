//! The protocol between two endpoints over a simulated network, and against peers that break it.
//! Numbers in names are those of the properties (P) and hostile peers (M) that the protocol was
//! designed against.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod arbitrary;
mod cells;
mod frames;
mod hostile;
mod net;
mod properties;
mod speed;
mod streams;
mod vectors;
