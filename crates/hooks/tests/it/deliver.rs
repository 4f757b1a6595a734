//! Deliveries to servers on loopback, from a log and a state in files.

mod backends;
mod bounds;
mod outcomes;
mod private;
mod remote;
mod repair;
mod scene;
mod server;
