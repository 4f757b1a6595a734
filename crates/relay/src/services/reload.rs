//! What another configuration changes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{AgentConfig, Service, Target};

/// How long the streams of a service that is offered no more may go on.
pub const DRAIN: Duration = Duration::from_secs(30);

/// What becomes of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is offered from now on.
    Added,
    /// Nothing: connections and streams go on.
    Unchanged,
    /// New requests follow its new rules and limits; connections to it go on.
    Rules,
    /// New requests take new connections; streams end where they are.
    Connections,
    /// No new streams; those that are there have [`DRAIN`].
    Removed,
}

/// Compares two configurations, service by service.
#[must_use]
pub fn plan_reload(old: &AgentConfig, new: &AgentConfig) -> BTreeMap<String, Change> {
    let removed = old.services.keys().filter(|name| !new.services.contains_key(*name));
    let removed = removed.map(|name| (name.clone(), Change::Removed));
    let offered = new.services.iter().map(|(name, service)| {
        let change = old.services.get(name).map_or(Change::Added, |old| compare(old, service));
        (name.clone(), change)
    });
    removed.chain(offered).collect()
}

fn compare(old: &Service, new: &Service) -> Change {
    if old == new {
        Change::Unchanged
    } else if same_connections(&old.target, &new.target) {
        Change::Rules
    } else {
        Change::Connections
    }
}

/// Whether a connection to the one can serve requests for the other.
fn same_connections(old: &Target, new: &Target) -> bool {
    match (old, new) {
        (Target::Http(old), Target::Http(new)) => {
            // Paths and fields of requests are new with each request.
            old.url.endpoint() == new.url.endpoint()
                && old.url.socket() == new.url.socket()
                && old.url.is_secure() == new.url.is_secure()
                && (old.protocol, &old.trust, &old.credentials)
                    == (new.protocol, &new.trust, &new.credentials)
        }
        (old, new) => old == new,
    }
}
