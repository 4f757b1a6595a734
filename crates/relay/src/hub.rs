//! The hub's side: tokens, joining, renewing, presence.

mod behaviour;
mod join;
mod presence;

pub use behaviour::extras;
pub use join::{Answer, JoinRequest, Joining, RenewRequest};
pub use presence::watch_presence;
