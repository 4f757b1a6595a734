//! Certificates: the hub's CA, issuing, checking, TLS configurations.
//!
//! One CA (ECDSA P-256) signs everything: the hub's serving certificate, people's and agents'.
//! Whoever presents a client certificate proves only that it holds the key; what the certificate
//! is worth is decided by [`PeerCertificate::verify`], after the handshake, so that a wrong one
//! gets an answer instead of a broken connection.
//!
//! Certificates and signing requests are written by rcgen, and read by x509-parser and webpki.
//! Private keys come from the crypto library's own generator; serial numbers and times are passed
//! in. What is issued names at most one group, as rcgen writes one organisation into a subject;
//! a certificate that is presented may name several.

mod authority;
mod client;
mod csr;
mod error;
mod files;
mod identity;
mod issue;
mod key;
mod naming;
mod peer;
mod pem;
mod provider;
mod server;
mod service;
#[cfg(test)]
mod testing;
mod tunnel;

pub use authority::Authority;
pub use client::{
    ClientIdentity, PinMismatch, client_config, pinned_client_config, unverified_client_config,
};
pub use csr::Csr;
pub use error::PkiError;
pub use files::{FileCertificate, file_server_config};
pub use identity::{AGENTS_GROUP, AgentIdentity, InvalidAgentIdentity};
pub use issue::{Certificate, ClientSubject, KeyedCertificate, ServerNames, renewal_time};
pub use key::{KeyHash, PrivateKey};
pub use peer::{PeerCertificate, TrustBundle, VerifyError};
pub use provider::install_provider;
pub use server::{ServingCertificate, server_config};
pub use service::{UnknownAuthority, service_client_config};
pub use tunnel::tunnel_client_config;
