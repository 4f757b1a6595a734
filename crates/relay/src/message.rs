//! What people are told when a crossing fails: one enum, and for each case status, reason, text.
//!
//! Every answer that is not a service's own is made here, so that it can be told from one: it
//! has `X-Strait-Error`. The texts name what to do. They carry no address of the private side,
//! no credential, and nothing of a rule but its name. [`detail`](Failure::detail) is apart.

mod aborter;
mod connect;
mod ended;
mod joining;
mod respond;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use strait_machinery::duration::human;
use strait_runtime::units::{format_bytes, format_duration};
use strait_types::{Classified, ErrorKind};

pub use aborter::Aborter;
pub use connect::ConnectError;
pub use joining::Joining;
pub use respond::{Reader, Told, hint, prefers_json};

use crate::credential::Scope;
use crate::http::BadHead;
use crate::serve::NOT_OFFERED;

/// An agent and its service, as people name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// The Agent's name.
    pub agent: String,
    /// The service's own name.
    pub service: String,
}

impl ServiceName {
    /// The name of the Service object: `<service>.<agent>`.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{}.{}", self.service, self.agent)
    }
}

impl std::fmt::Display for ServiceName {
    /// As commands take it: `<agent>/<service>`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.agent, self.service)
    }
}

/// Why a crossing failed. Facts only; [`status`](Self::status), [`reason`](Self::reason) and
/// [`text`](Self::text) say them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody proved who asks.
    CredentialMissing,
    /// What was shown proves nothing.
    CredentialInvalid,
    /// Two credentials that differ.
    CredentialsDiffer,
    /// The short path with a credential that names no workspace.
    WorkspaceMissing,
    /// It is too old by `ago`; it was good for `life`.
    CredentialExpired {
        /// The credential's identifier.
        id: String,
        /// Since when.
        ago: Duration,
        /// How long it lived.
        life: Duration,
    },
    /// It was revoked.
    CredentialRevoked {
        /// Since when.
        ago: Duration,
        /// By whom, if that is known: for administrators.
        by: Option<String>,
    },
    /// It is for something else.
    CredentialScope(Scope),
    /// A page of another site asked, with a credential that a browser adds by itself.
    CrossSite,
    /// The hub's RBAC.
    Forbidden {
        /// Who.
        user: String,
        /// The verb that is missing.
        verb: &'static str,
        /// The workspace.
        workspace: String,
    },
    /// The agent's own rules.
    AgentRule {
        /// Of the request.
        method: String,
        /// Of the request, without its query.
        path: String,
        /// The rule's name, `allow.paths`.
        rule: &'static str,
        /// What it says: for administrators.
        detail: Option<String>,
    },
    /// The agent knows nobody whom it could be.
    IdentityUnmapped {
        /// Who.
        user: String,
        /// Their groups.
        groups: Vec<String>,
    },
    /// There is none, or it is not to be known.
    NotFound,
    /// No instance is connected.
    AgentOffline {
        /// How long ago, and from where, one was; none for never.
        seen: Option<(Duration, IpAddr)>,
    },
    /// The agent has no connection to its hub.
    HubAway,
    /// A listener beside an agent does not answer under that name.
    Misdirected,
    /// The hub does not offer the service to the agent.
    NotOffered,
    /// The agent is there and the service gone.
    ServiceWithdrawn {
        /// Since when, if that is known.
        since: Option<Timestamp>,
    },
    /// No connection to the service; why, without addresses.
    ConnectFailed(ConnectError),
    /// No trust in the service.
    UpstreamTls {
        /// What is wrong with its certificate, without addresses.
        why: String,
    },
    /// The service could not be reached in time.
    ConnectTimeout(Duration),
    /// The service did not answer in time.
    HeadTimeout(Duration),
    /// Nothing came for too long.
    IdleTimeout(Duration),
    /// It took too long, and nobody says what.
    TimedOut,
    /// The body is too large, if its length was told.
    TooLarge {
        /// Its length.
        length: Option<u64>,
        /// The largest.
        limit: u64,
    },
    /// The service does not do that.
    UpgradeNotAllowed,
    /// It carries bytes, and is asked by HTTP.
    RawOnly,
    /// It speaks HTTP, and is asked for bytes.
    NotRaw,
    /// It carries bytes, and is not exposed so.
    NotExposed,
    /// The head is malformed.
    BadHead(BadHead),
    /// The path could mean two things, and the service has rules of paths; what in it does.
    AmbiguousPath(&'static str),
    /// So many requests run.
    Overloaded {
        /// The limit that was met.
        running: usize,
        /// Of what: `ci`, `agent smith`, `this credential`, `this hub`.
        of: String,
    },
    /// So many requests wait for an agent to accept them.
    Stalled {
        /// How many.
        waiting: u32,
    },
    /// Too many in a time; seconds to wait.
    TooManyRequests(u32),
    /// The connection broke with the request on it.
    ConnectionLost,
    /// What the client said behind its head is no body, or not all of it.
    BadBody,
    /// The service broke off before it answered.
    UpstreamReset,
    /// The service does not speak HTTP.
    UpstreamProtocol,
    /// Given up behind its acceptance: a drain's end, or a cut.
    Aborted(Aborter),
    /// The hub ends, and takes nothing new.
    HubEnding,
    /// No instance took it; nothing was executed.
    NotAccepted,
    /// What must be recorded first cannot be.
    AuditUnavailable,
    /// Our defect.
    Internal,
}

impl Failure {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::CredentialMissing
            | Self::CredentialInvalid
            | Self::CredentialExpired { .. }
            | Self::CredentialRevoked { .. } => StatusCode::UNAUTHORIZED,
            Self::CredentialsDiffer
            | Self::WorkspaceMissing
            | Self::AmbiguousPath(_)
            | Self::BadBody => StatusCode::BAD_REQUEST,
            Self::CredentialScope(_)
            | Self::CrossSite
            | Self::Forbidden { .. }
            | Self::NotExposed
            | Self::AgentRule { .. }
            | Self::IdentityUnmapped { .. } => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::AgentOffline { .. }
            | Self::HubAway
            | Self::NotOffered
            | Self::ServiceWithdrawn { .. }
            | Self::Overloaded { .. }
            | Self::Stalled { .. }
            | Self::NotAccepted
            | Self::HubEnding
            | Self::AuditUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectFailed(ConnectError::TimedOut) => StatusCode::GATEWAY_TIMEOUT,
            Self::ConnectFailed(_)
            | Self::UpstreamTls { .. }
            | Self::ConnectionLost
            | Self::UpstreamReset
            | Self::UpstreamProtocol
            | Self::Aborted(_) => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout(_)
            | Self::HeadTimeout(_)
            | Self::IdleTimeout(_)
            | Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UpgradeNotAllowed | Self::NotRaw => StatusCode::NOT_IMPLEMENTED,
            Self::RawOnly => StatusCode::UPGRADE_REQUIRED,
            Self::BadHead(bad) => bad.status(),
            Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// For programs: `X-Strait-Error`, and the reason of a `Status`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::CredentialMissing => "CredentialMissing",
            Self::CredentialInvalid => "CredentialInvalid",
            Self::CredentialsDiffer => "CredentialsDiffer",
            Self::WorkspaceMissing => "WorkspaceMissing",
            Self::CredentialExpired { .. } => "CredentialExpired",
            Self::CredentialRevoked { .. } => "CredentialRevoked",
            Self::CredentialScope(_) => "CredentialScope",
            Self::CrossSite => "CrossSite",
            Self::Forbidden { .. } => "Forbidden",
            Self::AgentRule { .. } => "AgentRule",
            Self::IdentityUnmapped { .. } => "IdentityUnmapped",
            Self::NotFound => "NotFound",
            Self::AgentOffline { .. } => "AgentOffline",
            Self::HubAway => "HubAway",
            Self::Misdirected => "Misdirected",
            Self::NotOffered => NOT_OFFERED,
            Self::ServiceWithdrawn { .. } => "ServiceWithdrawn",
            Self::ConnectFailed(ConnectError::TimedOut) => "ConnectTimeout",
            Self::ConnectFailed(_) => "ConnectFailed",
            Self::UpstreamTls { .. } => "UpstreamTLS",
            Self::ConnectTimeout(_) => "ConnectTimeout",
            Self::HeadTimeout(_) => "HeadTimeout",
            Self::IdleTimeout(_) => "IdleTimeout",
            Self::TimedOut => "Timeout",
            Self::TooLarge { .. } => "TooLarge",
            Self::UpgradeNotAllowed | Self::NotRaw => "UpgradeNotAllowed",
            Self::RawOnly => "UpgradeRequired",
            Self::NotExposed => "NotExposed",
            Self::BadHead(bad) => bad.reason(),
            Self::AmbiguousPath(_) => "BadTarget",
            Self::Overloaded { .. } | Self::Stalled { .. } => "Overloaded",
            Self::TooManyRequests(_) => "TooManyRequests",
            Self::ConnectionLost => "ConnectionLost",
            Self::BadBody => "BadBody",
            Self::UpstreamReset => "UpstreamReset",
            Self::UpstreamProtocol => "UpstreamProtocol",
            Self::Aborted(_) => "Aborted",
            Self::HubEnding => "HubEnding",
            Self::NotAccepted => "NotAccepted",
            Self::AuditUnavailable => "AuditUnavailable",
            Self::Internal => "InternalError",
        }
    }

    /// Seconds after which another try may succeed.
    #[must_use]
    pub const fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::Overloaded { .. }
            | Self::Stalled { .. }
            | Self::HubAway
            | Self::HubEnding
            | Self::NotAccepted
            | Self::AuditUnavailable => Some(1),
            Self::AgentOffline { .. } => Some(5),
            Self::TooManyRequests(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// What only administrators may know: who revoked, what a rule says.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::CredentialRevoked { by, .. } => by.as_deref(),
            Self::AgentRule { detail, .. } => detail.as_deref(),
            _ => None,
        }
    }

    /// For people, whoever they are.
    #[must_use]
    pub fn text(&self, name: &ServiceName) -> String {
        let ServiceName { agent, service } = name;
        match self {
            Self::CredentialMissing => format!(
                "needs a bearer token, basic password or client certificate for {name}: \
                 `strait service token {name}`"
            ),
            Self::CredentialInvalid => {
                format!("the credential is not valid here: `strait service token {name}` makes one")
            }
            Self::CredentialsDiffer => "the request has two different credentials".into(),
            Self::WorkspaceMissing => format!(
                "this credential names no workspace: use \
                 /clusters/<workspace>/services/relay/{name}/"
            ),
            Self::CredentialExpired { id, ago, life } => {
                format!("token {id} expired {} ago; lifetime {}", human(*ago), human(*life))
            }
            Self::CredentialRevoked { ago, .. } => {
                format!("the credential was revoked {} ago", human(*ago))
            }
            Self::CredentialScope(scope) => scope.to_string(),
            Self::CrossSite => "a page of another site made this request, which is let in by what it did not bring \
                 itself (a certificate, a password, this machine): such requests change nothing here"
                .into(),
            Self::Forbidden { user, verb, workspace } => format!(
                "{user} needs verb {verb} on services/connect {:?} in {workspace}",
                name.object()
            ),
            Self::AgentRule { method, path, rule, .. } => {
                format!("agent {agent} refuses {method} {path} by {rule}")
            }
            Self::IdentityUnmapped { user, groups } => format!(
                "agent {agent} has no identity rule for {user} (groups {})",
                groups.join(", ")
            ),
            Self::NotFound => {
                format!("no service {} here, or you may not see it", name.object())
            }
            Self::AgentOffline { seen: Some((ago, from)) } => format!(
                "agent {agent} last seen {} ago from {from}; on its side: `strait agent status`",
                human(*ago)
            ),
            Self::AgentOffline { seen: None } => format!("agent {agent} was never connected"),
            Self::HubAway => "this agent has no connection to its hub now; nothing was executed".into(),
            Self::Misdirected => "this listener does not answer under that name: its `hosts`, in the agent's \
                 file, lists names beside localhost"
                .into(),
            Self::NotOffered => format!(
                "the hub does not offer {service} to this agent: spec.incoming of its Agent names \
                 what it may call, and allow.users of the hub's services whom that is for"
            ),
            Self::ServiceWithdrawn { since } => {
                let since = since.map(|since| format!(" since {since:.0}")).unwrap_or_default();
                format!("{agent} is connected but no longer offers {service}{since}")
            }
            _ => self.text_of_execution(name),
        }
    }

    /// What went wrong behind the decision to cross.
    fn text_of_execution(&self, name: &ServiceName) -> String {
        let ServiceName { agent, service } = name;
        match self {
            Self::ConnectFailed(why) => format!(
                "{agent} could not connect to {service}: {} (address only in the agent's log)",
                why.text()
            ),
            Self::UpstreamTls { why } => format!("certificate of {service} {why}"),
            Self::ConnectTimeout(limit) => {
                format!("{agent} had no connection to {service} in {}", format_duration(*limit))
            }
            Self::HeadTimeout(limit) => format!(
                "no answer from {service} in {}; `headTimeout` in the services file",
                format_duration(*limit)
            ),
            Self::IdleTimeout(limit) => format!(
                "nothing passed for {}; `idleTimeout` in the services file",
                format_duration(*limit)
            ),
            Self::TimedOut => {
                format!("{agent} did not take the request in time; it may have been executed")
            }
            Self::TooLarge { length, limit } => {
                let length = length.map_or_else(|| "the body".to_owned(), size);
                format!("{length} > maxBody {} of {service}", size(*limit))
            }
            Self::UpgradeNotAllowed => {
                format!("{service} does not upgrade connections; `upgrade` in the services file")
            }
            Self::RawOnly => {
                format!("{service} carries bytes, not HTTP: `strait service forward {name}`")
            }
            Self::NotRaw => format!(
                "{service} speaks HTTP: it is reached by its path, /services/relay/{agent}/{service}/"
            ),
            Self::NotExposed => format!(
                "{service} is not exposed as bytes: set spec.exposure.raw of Service {:?}",
                name.object()
            ),
            Self::BadHead(bad) => bad.to_string(),
            Self::AmbiguousPath(what) => {
                format!("path contains {what} and {service} has path rules")
            }
            Self::Overloaded { running: 1, of } => format!("1 request already runs on {of}"),
            Self::Overloaded { running, of } => format!("{running} requests already run on {of}"),
            Self::Stalled { waiting: 1 } => {
                format!("1 request already waits for {agent} to take it to {service}")
            }
            Self::Stalled { waiting } => {
                format!("{waiting} requests already wait for {agent} to take them to {service}")
            }
            Self::TooManyRequests(seconds) => {
                format!("too many requests; the next one in {seconds} s")
            }
            Self::ConnectionLost => format!(
                "the connection to {agent} broke after the request was sent; it may have been \
                 executed"
            ),
            Self::BadBody => {
                "the request's body breaks off or is misframed; it may have been executed".into()
            }
            Self::UpstreamReset => {
                format!("{service} broke off before it answered; it may have been executed")
            }
            Self::UpstreamProtocol => format!("what {service} answered is not valid HTTP"),
            Self::Aborted(aborter) => aborter.text(agent),
            Self::HubEnding => "this hub is ending; the request was not executed".into(),
            Self::NotAccepted => {
                format!("no instance of {agent} took the request; it was not executed")
            }
            Self::AuditUnavailable => {
                "the request cannot be recorded now, so it was not executed".into()
            }
            _ => "the hub or the agent failed; their logs say more under this request's id".into(),
        }
    }
}

/// A size as people write it.
fn size(bytes: u64) -> String {
    let text = format_bytes(bytes);
    match text.strip_suffix('i') {
        Some(_) => {
            let (number, unit) = text.split_at(text.len() - 2);
            format!("{number} {unit}B")
        }
        None => format!("{text} bytes"),
    }
}

impl Classified for Failure {
    fn kind(&self) -> ErrorKind {
        match self.status() {
            StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
            StatusCode::FORBIDDEN => ErrorKind::Denied,
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::URI_TOO_LONG
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => ErrorKind::TooLarge,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                ErrorKind::RateLimited
            }
            StatusCode::BAD_GATEWAY => ErrorKind::Upstream,
            StatusCode::GATEWAY_TIMEOUT => ErrorKind::Timeout,
            StatusCode::INTERNAL_SERVER_ERROR => ErrorKind::Internal,
            _ => ErrorKind::User,
        }
    }
}

impl From<BadHead> for Failure {
    fn from(bad: BadHead) -> Self {
        Self::BadHead(bad)
    }
}
