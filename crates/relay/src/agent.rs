//! The agent's side: joining a hub, and staying a member of it.

mod call;
mod membership;

pub use call::{Facts, FrontDoor, JoinError};
pub use membership::{Membership, MembershipError};
