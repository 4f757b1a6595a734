//! The request crossing on the private side: policy, journal, executors.
//!
//! ```text
//! files ──► Config            hub: objects of exported kinds
//!              │                    │ events        ▲ claim, status, release
//!              ▼                    ▼               │
//!           Policy ◄─────────── Keeper, one per endpoint ──► plan (pure)
//!                                   │ turn
//!                                   ▼
//!              decide ► claim ► audit + StartPending ► launch ► Finished ► told ► Reported
//!                                   │                     │
//!                                Journal             http │ process
//! ```
//!
//! A request is an object of any exported kind that a mapping of the configuration names. What
//! it may do is fixed by a class; whose requests run, by policies. Everything from the hub is
//! hostile input; nothing of the private side leaves but the results that a class names.
//!
//! [`Controller`] is the way in.

mod claim;
mod conclude;
mod config;
mod context;
mod controller;
mod decide;
mod execution;
mod executor;
mod flow;
mod journal;
mod keeper;
mod metrics;
mod observed;
mod plan;
mod pointer;
mod policy;
mod settle;
mod status;
#[cfg(test)]
mod testing;

pub use config::{Config, ConfigErrors, load};
pub use controller::{Controller, Dependencies, StartError};
pub use executor::ExecutorError;
pub use journal::JournalError;
