//! What the API server does where its store or its audit log does not.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is an assertion")]

mod crossings;
mod harness;
mod history;
mod shortage;
