//! What a hub does, seen from its port.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is an assertion")]
#![allow(clippy::disallowed_methods, reason = "tasks of a test end with its runtime")]

mod agent_rights;
mod api_discovery;
mod api_limits;
mod api_lists;
mod api_objects;
mod api_patch;
mod api_rbac;
mod api_shapes;
mod api_watch;
mod approval;
mod bindings;
mod bounds;
mod carriage;
mod certificates;
mod credentials;
mod directory;
mod ending;
mod exports;
mod extended;
mod fake_agent;
mod floods;
mod harness;
mod hooks;
mod incoming;
mod isolation;
mod joining;
mod kinds;
mod lingering;
mod presence;
mod proxies;
mod raw;
mod resets;
mod revoking;
mod routing;
mod seeing;
mod services;
mod streams;
mod tenants;
mod traces;
mod usage;
mod views;
mod workspaces_lifecycle;
