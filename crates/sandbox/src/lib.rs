//! Running other people's commands: the supervisor and its gate.
//!
//! [`exec`] starts one program under a supervisor process of its own, so that the program's life
//! does not hang on the agent's. [`Isolation`] says what stands between the program and the
//! machine; a level that this release cannot give is refused, never replaced by a lesser one.

pub mod exec;
mod isolation;

pub use isolation::{Isolation, IsolationUnavailable};
