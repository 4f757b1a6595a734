//! The hub's side: tokens, joining, renewing, presence, services and credentials for them.

mod approvals;
mod audited;
mod behaviour;
mod call;
mod calls;
pub mod carriage;
mod conditions;
mod connections;
mod credentials;
mod ending;
mod events;
mod front;
mod join;
mod keys;
mod metrics;
mod presence;
mod records;
mod report;
mod revocations;
mod services;
mod tokens;
mod told;
mod tunnels;
mod verified;

pub use behaviour::{Handlers, extras};
pub use call::{Call, CallFailed, CallTarget, Called};
pub use connections::Connections;
pub use credentials::{Caller, Credentials};
pub use ending::Ending;
pub use front::{Certificate, Certified, Front, Live, LivePath, Recorded, Recorder, STREAMS_PATH};
pub use join::{Answer, JoinRequest, Joining, RENEW_GRACE, RenewRequest};
pub use presence::watch_presence;
pub use revocations::OnRevocation;
pub use services::{Announcements, KEPT_FOR, WRITE_EVERY};
pub use told::Told;
pub use tunnels::{Accepted, Chosen, Connected, Heard, Honoured, Nobody, Presence, Tunnels};
