//! Streams of a hub, taken to real servers on loopback.

mod bodies;
mod hostile;
mod lives;
mod plain;
mod postgres;
mod rig;
mod rules;
mod taken;
