//! What a hub does, seen from its port.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is an assertion")]

mod api;
mod bindings;
mod certificates;
mod directory;
mod harness;
mod isolation;
mod joining;
mod tenants;
mod views;
mod workspaces_lifecycle;
