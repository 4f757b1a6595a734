//! What webhooks are received, from whom, and who gets them.
//!
//! A `HooksConfig` document becomes a [`Config`] whole or not at all, with every mistake at once
//! and where it is written ([`read`]). sprayproxy's flags and environment make the same
//! ([`compat`]): they become such a document first, so that defaults and rules are the same.
//!
//! Nothing here does I/O: whether the files that are named can be used is asked of a [`Files`].

mod address;
mod admin;
mod backend;
mod check;
pub mod compat;
pub mod dynamic;
mod files;
mod raw;
mod read;
mod source;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use strait_net::Network;

pub use address::{Address, Hub, Service};
pub use files::Disk;
pub use read::read;

use crate::filter::Filter;
use crate::pointer::Pointer;
use crate::schedule::Retry;
use crate::secrets::Place;
use crate::signature::Scheme;

/// The document's `apiVersion`.
pub const API_VERSION: &str = "hooks.strait.dev/v1alpha1";
/// The document's `kind`.
pub const KIND: &str = "HooksConfig";

/// Everything that is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where webhooks come to.
    pub listen: Listener,
    /// Where operators come to.
    pub admin: Option<Admin>,
    /// Where `/metrics` is beside the admin listener.
    pub metrics: Option<Listener>,
    /// Directory of the log; not used with [`Ack::Sync`].
    pub data_dir: PathBuf,
    /// When senders are answered.
    pub ack: Ack,
    /// What is taken in at most.
    pub limits: Limits,
    /// How long webhooks are kept.
    pub retention: Retention,
    /// Where webhooks come from; no two have one name or path.
    pub sources: Vec<Source>,
    /// Who gets them; no two have one name.
    pub backends: Vec<Backend>,
    /// Whether what has no backend is taken in and kept.
    pub store_only: bool,
    /// How backends can be added and removed while it runs, if they can.
    pub dynamic_backends: Option<DynamicBackends>,
}

/// An address, and how TLS is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// The certificate, if TLS is spoken.
    pub tls: Option<Identity>,
}

/// A certificate and its key, in PEM files that are read again as they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// File of the certificate and its intermediates.
    pub certificates: PathBuf,
    /// File of the key.
    pub key: PathBuf,
}

/// Where operators come to, and how they prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where.
    pub listen: AdminListener,
    /// Tokens that are taken; no two have one name.
    pub tokens: Vec<Token>,
    /// Who reviews other tokens.
    pub cluster: Option<Cluster>,
}

/// Where operators come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListener {
    /// An address; with TLS unless it is a loopback address.
    Tcp(Listener),
    /// A socket that its owner alone may use, which is then all the proof that is needed.
    Unix(PathBuf),
}

/// A cluster that reviews tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// The one that this runs in, by its service account.
    Here,
    /// The one of a kubeconfig's current context.
    Kubeconfig(PathBuf),
}

/// A bearer token in a file that is read again as it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose it is.
    pub name: Arc<str>,
    /// Where it is.
    pub file: PathBuf,
    /// What it is good for; at least one.
    pub may: Vec<Permission>,
}

/// What an operator may do. None includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// See events, what became of them, backends and metrics.
    View,
    /// Read the bodies of events.
    Payload,
    /// Have events delivered again, or taken out.
    Replay,
    /// See, add and remove backends.
    Backends,
}

/// How backends are that are added while it runs; they get what every source takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicBackends {
    /// Networks beside public ones that they may be in. They may be `http` if there are any.
    pub networks: Vec<Network>,
    /// Time of an attempt, as a document has it; that of every backend if none.
    pub timeout: Option<Duration>,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// When a sender is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Once the webhook is on disk.
    Durable,
    /// Once every backend has answered.
    Sync,
}

/// What is taken in at most; all are positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body; no more than [`memory`](Self::memory).
    pub body: usize,
    /// Time for a body to arrive.
    pub body_deadline: Duration,
    /// Time for a head to arrive.
    pub head_deadline: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Connections of one address at once.
    pub per_address: usize,
    /// Bytes of bodies in memory at once.
    pub memory: usize,
    /// Bytes of the log.
    pub disk: u64,
}

/// How long webhooks are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Those that every backend has.
    pub delivered: Duration,
    /// Those that a backend lacks.
    pub undelivered: Duration,
}

/// Where webhooks come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Unique; a DNS name in lower case.
    pub name: Arc<str>,
    /// Unique; absolute and plain, without `/` at its end unless it is the root.
    pub path: Box<str>,
    /// How the sender proves who it is.
    pub scheme: Scheme,
    /// Any of these will do; empty only with [`Scheme::None`].
    pub secrets: Vec<Place>,
    /// How long a delivery is known by its id and body.
    pub dedupe: Duration,
    /// Networks that it sends from; empty for any.
    pub addresses: Vec<Network>,
    /// How it is answered.
    pub answers: Answers,
}

/// How a source is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// As Strait does; what follows the path is passed on.
    Strait,
    /// With sprayproxy's statuses and texts, and on no path below its own.
    Sprayproxy,
}

/// Who gets webhooks.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Unique; a DNS name in lower case. What waits for it is kept under this name.
    pub name: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// Names of sources that exist; at least one.
    pub sources: Vec<Arc<str>>,
    /// How its server is trusted, or the hub that it is reached through.
    pub tls: BackendTls,
    /// Time of an attempt, from connecting to the end of the answer.
    pub timeout: Duration,
    /// Attempts at once; positive.
    pub in_flight: usize,
    /// Key in the body whose webhooks go one after the other.
    pub order: Option<Pointer>,
    /// Waits between attempts.
    pub retry: Retry,
    /// What it gets.
    pub filter: Filter,
    /// Headers beside the usual ones.
    pub headers: Headers,
    /// Whether it may be at a private or loopback address.
    pub allow_private: bool,
    /// Networks beside public ones that it may be in. Empty for one that the operator named.
    pub networks: Vec<Network>,
}

/// How a backend's server is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendTls {
    /// PEM file of its authorities; the machine's if there is none.
    pub authorities: Option<PathBuf>,
    /// Who we are to it.
    pub identity: Option<Identity>,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// Headers beside those that every backend gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Added to each attempt; replace what the sender sent under the name.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Passed on as the sender sent them.
    pub pass_also: Vec<HeaderName>,
}

/// Says whether files that a document names can be used, and what is around.
pub trait Files {
    /// Whether this is a hub, whose agents can be reached without another one.
    fn in_hub(&self) -> bool {
        false
    }

    /// Whether there is a secret that fits the scheme.
    ///
    /// # Errors
    /// Why not, without the secret.
    fn secret(&self, scheme: &Scheme, path: &Path) -> Result<(), String>;

    /// Whether there is a file that can be read.
    ///
    /// # Errors
    /// Why not.
    fn readable(&self, path: &Path) -> Result<(), String>;
}
