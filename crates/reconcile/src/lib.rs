//! The controllers' client: many workspaces through one endpoint.
//!
//! An export's virtual workspace serves the objects of every workspace that bound it. This crate
//! follows the export's endpoint slice, lists and watches each kind at every URL in it with a
//! wildcard cluster, and writes to the object's own logical cluster. It runs on a `kube` client,
//! but keeps its own key: two objects of one name in two workspaces must never meet, and
//! `kube`'s runtime keys by namespace and name.
//!
//! ```text
//! endpoint slice ──► url ──► Feed per kind: list, watch, list again after 410
//!                                │ Event, through a bounded channel
//!                                ▼
//!                            Index: what stands, by ObjectKey; only real changes come out
//! ```
//!
//! Limits: a list page has [`PAGE_OBJECTS`] objects and [`PAGE_BYTES_MAX`] bytes, a watch line
//! [`LINE_BYTES_MAX`] bytes, and [`CALLS_MAX`] calls of one [`Api`] are in flight at once (more
//! wait). Watches end after five minutes and start again where they were, so that no dead
//! connection stays unnoticed longer. What stands in an [`Index`] is bounded by its owner.

mod api;
mod endpoints;
mod error;
mod feed;
mod hub_time;
mod index;
mod key;
mod metrics;
mod object;
mod paths;
mod stream;
mod wait;
mod write;

pub use api::{Api, CALLS_MAX, ClientError, Clients};
pub use endpoints::{Endpoint, Endpoints, Source};
pub use error::ApiError;
pub use feed::{Event, Feed, LINE_BYTES_MAX, PAGE_BYTES_MAX, PAGE_OBJECTS, SourceId};
pub use hub_time::HubTime;
pub use index::{Change, Index};
pub use key::ObjectKey;
pub use metrics::FeedMetrics;
pub use object::{MalformedObject, Object};
pub use paths::{HubPaths, PathSource};
pub use write::Writer;
