//! Role-based access control, compiled (`plugin/pkg/auth/authorizer/rbac`).
//!
//! A [`Policy`] is built once per change of roles or bindings and then answers from an index
//! by subject. There are no deny rules: what no rule allows is not decided here.

mod policy;
mod rule;

pub use policy::{Policy, PolicyBuilder, RoleRef, Subject};
pub use rule::{Rule, covers};
