//! The controller against a hub and a private service in this process.

#![expect(clippy::unwrap_used, reason = "helpers of tests may, too")]

mod crashes;
mod crossing;
#[path = "../../../../reconcile/tests/it/fake_hub.rs"]
#[expect(dead_code, reason = "shared with the tests of reconcile, which use other parts")]
mod fake_hub;
mod mistakes;
mod queueing;
#[expect(dead_code, reason = "shared with the tests of processes, which use other parts")]
mod support;
