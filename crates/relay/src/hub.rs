//! The hub's side: tokens, joining, renewing, presence.

mod behaviour;
mod join;
mod presence;
mod records;
mod tokens;

pub use behaviour::extras;
pub use join::{Answer, JoinRequest, Joining, RENEW_GRACE, RenewRequest};
pub use presence::watch_presence;
