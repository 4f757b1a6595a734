//! Webhooks: how fast they are acknowledged, and what holds on a bad day.
//!
//! `strait hooks serve` runs as a process of its own; senders and three backends are made here.
//! What a figure is compared with is measured in the same minute: a bare sync of the disk, and
//! the same server when it only answers, which it does to a wrong signature after it has read and
//! verified the whole body.

pub(super) mod bad_days;
pub(super) mod cut;
mod gate;
mod load;
pub(super) mod memory;
pub(super) mod rates;
pub(super) mod restart;
mod sinks;
pub(super) mod slow;
mod webhook;
