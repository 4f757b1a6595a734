//! What an agent offers: its AgentConfig document, checked, compared and announced.
//!
//! [`read`] finds every mistake of a file at once, each with its place. [`plan_reload`] says what
//! another configuration changes for each service, so that what did not change keeps its
//! connections and streams. [`announcement`] is all that the hub learns, and has no field in
//! which an address, a file or a credential could stand.

mod announce;
mod check;
mod credential;
mod files;
mod hosts;
mod listen;
mod problems;
mod raw;
mod rejected;
mod reload;
#[cfg(test)]
mod tests;
mod web;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

pub use announce::{MESSAGE_MAX, announcement, settings_hash};
pub use check::{Checked, read, read_of_hub};
pub use credential::{Credential, CredentialError};
pub use files::{Disk, FileState, Files};
pub use hosts::Hosts;
pub use listen::{InvalidListen, Listen};
pub use rejected::{Rejected, Why};
pub use reload::{Change, DRAIN, plan_reload};

use crate::http::fields::HostRule;
use crate::http::pattern::matches;
use crate::http::rules::Rules;
use crate::http::url::ServiceUrl;

/// The name by which the hub itself offers services.
pub const HUB: &str = "hub";

/// An agent's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// What the agent is for.
    pub description: String,
    /// Shown to people.
    pub annotations: BTreeMap<String, String>,
    /// How the hub is reached.
    pub hub: HubConfig,
    /// What is offered, by name.
    pub services: BTreeMap<String, Arc<Service>>,
    /// Listeners whose requests go out through the hub, by name.
    pub incoming: BTreeMap<String, Incoming>,
    /// What is refused in any case.
    pub policy: Policy,
}

impl AgentConfig {
    /// The same, with nothing on offer.
    #[must_use]
    pub fn without_services(&self) -> Self {
        Self { services: BTreeMap::new(), incoming: BTreeMap::new(), ..self.clone() }
    }
}

/// How the hub is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// Host and port each; empty for those that the agent joined by.
    pub addresses: Vec<String>,
    /// What connections are carried by.
    pub transport: Transport,
    /// File with the URL of a proxy.
    pub proxy_file: Option<PathBuf>,
    /// Connections to each hub, 1 to 8.
    pub connections: u8,
}

impl Default for HubConfig {
    fn default() -> Self {
        let (addresses, proxy_file) = (Vec::new(), None);
        Self { addresses, transport: Transport::Auto, proxy_file, connections: 2 }
    }
}

/// What connections are carried by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TLS, and a WebSocket where that does not pass.
    Auto,
    /// TLS alone.
    Tls,
    /// A WebSocket alone.
    WebSocket,
}

/// A service that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its type, as it was written.
    pub kind: ServiceType,
    /// Where it is and how it is spoken to.
    pub target: Target,
    /// Whom the hub must name as asking; empty for anybody. `*` stands for any characters.
    pub users: Vec<String>,
    /// Its limits.
    pub limits: ServiceLimits,
    /// Shown to people.
    pub annotations: BTreeMap<String, String>,
}

impl Service {
    /// Whether the service is for a user whom the hub names; none where it names nobody.
    #[must_use]
    pub fn admits(&self, user: Option<&str>) -> bool {
        let named = |user| self.users.iter().any(|pattern| matches(pattern, user));
        self.users.is_empty() || user.is_some_and(named)
    }
}

/// What kind of service it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceType {
    /// Any HTTP service.
    Http,
    /// Argo CD.
    Argocd,
    /// Jenkins.
    Jenkins,
    /// Spinnaker's clouddriver.
    Clouddriver,
    /// Spinnaker's front50.
    Front50,
    /// Spinnaker's fiat.
    Fiat,
    /// Bytes both ways.
    Tcp,
    /// One of the operator's own, with its `x-`; an HTTP service.
    Own(String),
}

impl ServiceType {
    /// Those that have a name of ours.
    const NAMED: [Self; 7] = [
        Self::Http,
        Self::Argocd,
        Self::Jenkins,
        Self::Clouddriver,
        Self::Front50,
        Self::Fiat,
        Self::Tcp,
    ];

    /// The type's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Http => "http",
            Self::Argocd => "argocd",
            Self::Jenkins => "jenkins",
            Self::Clouddriver => "clouddriver",
            Self::Front50 => "front50",
            Self::Fiat => "fiat",
            Self::Tcp => "tcp",
            Self::Own(name) => name,
        }
    }

    /// Whether the service is told the agent's name ([`Added`](crate::http::fields::Added)).
    #[must_use]
    pub const fn learns_agent(&self) -> bool {
        !matches!(self, Self::Http | Self::Tcp)
    }
}

/// Where a service is and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// HTTP.
    Http(Box<HttpTarget>),
    /// Bytes.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// How it is trusted; none for no TLS.
        tls: Option<Trust>,
        /// How it is asked for TLS, if that does not begin at once.
        starttls: Option<StartTls>,
    },
}

/// The protocol in which a service is asked for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTls {
    /// PostgreSQL's.
    Postgres,
}

/// An HTTP service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    /// Where it is.
    pub url: ServiceUrl,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// How it is trusted, where its URL says `https`.
    pub trust: Trust,
    /// What is added to each request.
    pub credentials: Credentials,
    /// What may be asked for.
    pub rules: Rules,
    /// What it is told that it is called.
    pub host: HostRule,
    /// Whether a request may turn its connection into another protocol.
    pub upgrade: bool,
    /// Whether an `Authorization` that is not for the hub passes.
    pub passes_authorization: bool,
    /// Whether cookies lose their domain.
    pub rewrites_domain: bool,
    /// Whether a request that changes nothing is repeated when its connection is lost.
    pub retries_safe: bool,
}

/// How an HTTP service is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// By negotiation; HTTP/1.1 without TLS.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// How a service's certificate is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Authorities that may sign it; the machine's if none.
    pub ca_file: Option<PathBuf>,
    /// The name in it, if not the URL's.
    pub server_name: Option<String>,
    /// Whether TLS 1.2 will not do.
    pub only_1_3: bool,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// What an agent adds to requests: files, never their contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// `Authorization: Basic`.
    Basic {
        /// File of the user name.
        user: PathBuf,
        /// File of the password.
        password: PathBuf,
    },
    /// `Authorization: Bearer`, from a file.
    Bearer(PathBuf),
    /// `Authorization: Token`, from a file.
    Token(PathBuf),
    /// A field of the service's own.
    Field {
        /// Its name.
        name: HeaderName,
        /// File of its value.
        value: PathBuf,
    },
    /// A certificate in the handshake.
    ClientCertificate {
        /// PEM file of the chain.
        chain: PathBuf,
        /// PEM file of the key.
        key: PathBuf,
    },
}

/// Limits of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// To connect.
    pub dial: Duration,
    /// From a request to the head of its answer; none for any time.
    pub head: Option<Duration>,
    /// Without a byte either way; none for any time.
    pub idle: Option<Duration>,
    /// The same of events and watches, which are silent for as long as nothing happens: none,
    /// unless the service itself says how long.
    pub events: Option<Duration>,
    /// Requests at once.
    pub concurrent: u32,
    /// Largest body of a request, bytes; none for any.
    pub max_body: Option<u64>,
}

/// A listener whose requests go out to a service of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Where it listens.
    pub listen: Listen,
    /// The service's type.
    pub kind: ServiceType,
    /// The service's name.
    pub service: String,
    /// The names under which it answers.
    pub hosts: Hosts,
}

/// What the agent refuses, whatever the hub says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Oldest credential of a client; none for any.
    pub max_token_age: Option<Duration>,
    /// Whether the hub must say who asks.
    pub require_identity: bool,
}

/// The methods that change nothing (RFC 9110 §9.2.1) and may be sent again.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
