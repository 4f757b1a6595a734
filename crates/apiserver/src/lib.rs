//! HTTP requests into store operations, as a Kubernetes API server.
//!
//! ```text
//! ApiRequest + User + View ──► Server::answer
//!     authorize (403) ► route ► decode ► shape ► behaviour ► validate ► guards ► audit ► store
//! ```
//!
//! A [`View`] decides what a request sees and may; this crate knows no workspaces. Handlers are
//! thin: what Kubernetes means is in `machinery`, what is durable in `store`.
//!
//! Limits: bodies of [`decode::BODY_MAX`] bytes (413), objects of [`registry::OBJECT_MAX`]
//! bytes (413), 400 reads and 200 writes at once (429), a minute per request (504).

pub mod behaviour;
mod body;
pub mod catalog;
pub mod continuation;
pub mod crossing;
pub mod decode;
mod documents;
mod handle;
mod health;
mod metrics;
pub mod negotiate;
pub mod options;
pub mod patch;
mod present;
mod query;
pub mod registry;
mod request;
pub mod respond;
mod select;
mod server;
mod unstored;
mod view;

pub use body::ResponseBody;
pub use handle::paths::{KUBERNETES_VERSION, version};
pub use health::Health;
pub use metrics::Metrics;
pub use query::Query;
pub use request::{ResourceTarget, Target, Verb};
pub use respond::ApiResponse;
pub use select::Selection;
pub use server::{ApiRequest, Recheck, Server, forbidden, refuse_impersonation};
pub use unstored::Unstored;
pub use view::{Reach, View, WriteKind};
