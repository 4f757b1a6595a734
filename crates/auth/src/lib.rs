//! Who is asking, and may they: users, request attributes, RBAC evaluation.
//!
//! Everything here is a pure function of what was authenticated and which roles and bindings
//! exist; reading certificates and the store is done by others.

mod attributes;
mod decision;
pub mod rbac;
mod user;

pub use attributes::{Attributes, NonResource, ResourceRequest};
pub use decision::Decision;
pub use user::{User, groups};
