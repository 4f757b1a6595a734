//! Listeners, HTTP plumbing and guarded outbound calls.
//!
//! [`Server`] turns a listener and a [`Handler`] into an HTTP/1.1 and HTTP/2 server with every
//! wait and size bounded; what a request means is not known here. [`Client`] makes single calls
//! and says exactly whether anything was sent, through an [`EgressPolicy`] that decides which
//! addresses may be reached. [`Pool`] keeps connections, for calls that may be repeated.
//! [`TraceExporter`] sends the process's spans to a collector.

mod accept;
mod address;
mod begun;
mod body;
mod checks;
mod client;
mod connection;
mod egress;
pub mod fields;
mod handshakes;
mod health;
pub mod http1;
mod incoming;
mod inside;
mod metrics;
mod peers;
mod pool;
mod proxied;
mod request;
mod resolve;
mod response;
mod server;
mod span;
#[cfg(test)]
mod testing;
pub mod traced;
mod traces;
mod unix;
mod unread;
mod upgrade;

pub use accept::tune_shared;
pub use address::{InvalidNetwork, Network};
pub use body::{Body, BodyError, BoxError, read_body};
pub use checks::{Check, Checks};
pub use client::{CallError, CallLimits, Client, call_over};
pub use connection::Connection;
pub use egress::{Denied, EgressPolicy, Range};
pub use health::{NotLoopback, Probe, metrics_probe, serve_health};
pub use incoming::Incoming;
pub use inside::{Inside, InsidePlace};
pub use metrics::ServerMetrics;
pub use peers::client_of;
pub use pool::{ANSWER_BYTES_MAX, Answer, Outgoing, Pool, PoolOptions, TlsSource};
pub use request::{Request, RequestParts};
pub use resolve::{Resolve, SystemResolver};
pub use response::Response;
pub use server::{
    Clear, Handler, Io, Limits, Protocol, Server, Speaker, handler, handler_of_heads,
};
pub use span::{take_body, take_chunk};
pub use traces::{TraceExporter, TraceTarget};
pub use unix::listen_unix;
pub use upgrade::{OnUpgrade, Upgraded};
