//! The private side, put together: membership, presence, requests, services.
//!
//! ```text
//! token ─► join ─► membership ─► clients ─► requests ─► journal, audit, executors
//!                     │  ▲  └───► tunnel ◄─ relay ◄─ files, read again as they change
//!                     ▼  └ renewed at two thirds of its life
//!                  presence: says every ten seconds that it is there
//! ```
//!
//! Every connection goes out; what listens is a health port on this machine's loopback.

mod classes;
mod clients;
mod config;
mod directory;
mod error;
mod files;
mod health;
mod kept;
mod member;
mod presence;
mod relay;
mod reload;
mod run;
mod wire;

pub use config::Config;
pub use error::AgentError;
pub use files::{Files, Told};
pub use kept::{KeptError, State};
pub use relay::Environment;
pub use run::run;
pub use strait_relay::agent::FrontDoor;
pub use strait_relay::dial::{NoProxy, Proxy};
