//! Agents and their hub: joining, renewing, presence, and what is decided about a crossing.
//!
//! ```text
//! strait agent token create NAME ─► sj1.… ─► agent: POST /relay/v1/join ─► certificate
//!                                                   POST /relay/v1/renew  (before it ends)
//!                                                   agents/NAME/heartbeat (while it lives)
//! ```
//!
//! A token's use is burnt, durably, before anything is signed. A certificate is honoured only
//! while its Agent object exists, lists the installation, and refuses it in no other way.
//!
//! The decisions about a crossing ([`http`], [`access`], [`credential`], [`choice`], [`message`],
//! [`services`]) are functions without sockets and clocks; `docs/design/relay-decisions.md` has
//! their order.
//!
//! Limits: 16 tokens per agent outstanding, 100 uses and 7 days per token, 10 attempts to join
//! per minute and address, 64 instances per agent.

pub mod access;
pub mod agent;
mod agents;
mod approval;
mod ask;
mod carried;
pub mod choice;
pub mod credential;
pub mod dial;
pub mod http;
pub mod hub;
pub mod incoming;
mod limiter;
pub mod link;
mod map;
pub mod message;
mod places;
mod recent;
pub mod record;
mod seen;
pub mod serve;
pub mod services;
pub mod token;
pub mod websocket;

pub use agents::{Affinity, AgentSpec, Agents, LOST_AFTER};
pub use approval::JoinPolicy;

/// Key of a user's extra that holds an agent's installation, proved by its certificate.
pub const INSTANCE_EXTRA: &str = "strait.dev/instance";

/// Path that agents join at.
pub const JOIN_PATH: &str = "/relay/v1/join";

/// Path that agents renew at.
pub const RENEW_PATH: &str = "/relay/v1/renew";

/// Path that credentials are revoked at in all workspaces.
pub const REVOCATIONS_PATH: &str = "/relay/v1/revocations";

/// Application protocol (ALPN) of connections that carry a tunnel.
pub const TUNNEL_PROTOCOL: &[u8] = b"strait-tunnel/1";

/// The ALPN name of HTTP, as an agent speaks it with its hub (RFC 7301 §6).
pub const HTTP_PROTOCOL: &[u8] = b"http/1.1";
