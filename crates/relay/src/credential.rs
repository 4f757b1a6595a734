//! What a client shows to reach a service: relay tokens, what they are bound to, and how they
//! end early.
//!
//! A relay token is a compact JWS (RFC 7515) by ES256, for one agent's one service in one logical
//! cluster and one person. It says what its bearer may at most: RBAC decides each request besides.
//! The cluster is named by its id, so that a workspace made again under an old name honours none.
//!
//! Headers of tokens are never read. A token is ours if its header is, byte for byte, the one that
//! we write for one of our keys; what algorithm a header asks for cannot matter.

mod claims;
mod jws;
mod live;
mod revoked;
mod scope;

pub use claims::{Claims, LIFE_DEFAULT, LIFE_MAX, clipped_life};
pub use jws::{KeyRing, Rejected, SignError, TokenKey, is_ours};
pub use live::{Live, StreamId};
pub use revoked::{ENTRIES_MAX, Full, Outcome, Revocation, Revoked, Subject, Subjects, Within};
pub use scope::{Asked, Scope};

#[cfg(test)]
pub(crate) use revoked::tests::subjects;
