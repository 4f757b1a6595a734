//! Webhooks: one comes in, every backend gets it, and what was acknowledged is not lost.
//!
//! A webhook is verified over its raw bytes, appended to a log and synced before its sender is
//! answered. Each backend is then delivered to by itself, from the log.

pub mod admin;
pub mod breaker;
pub mod budget;
pub mod config;
pub mod dedupe;
pub mod deliver;
pub mod event;
pub mod filter;
pub mod gateway;
pub mod ingest;
pub mod log;
pub mod order;
pub mod path;
pub mod pointer;
pub mod schedule;
pub mod secrets;
pub mod sender;
pub mod signature;
pub mod state;

pub use event::{Event, Position};
pub use gateway::{Changed, Gateway, Host, Setup, StartError, Variable};
