//! Heartbeats: requests that the agent answers itself, for each service that it offers.
//!
//! One that comes back proves the way to the agent, whatever the service does and its rules say:
//! nothing goes in, and nothing is said of the service. Whoever may reach the service may send it.

use http::StatusCode;
use strait_tunnel::{Code, Response};

use crate::link::Sender;

/// The path, below every service.
pub const HEARTBEAT_PATH: &str = "/.well-known/strait/heartbeat";

/// Whether a request for this path is a heartbeat.
pub(super) fn is_one(path: &str) -> bool {
    path == HEARTBEAT_PATH
}

/// Answers one; the answer's status.
pub(super) fn answer(sender: &Sender) -> Result<StatusCode, Code> {
    let status = StatusCode::NO_CONTENT;
    let head = Response::new(status.as_u16(), []).map_err(|_| Code::Internal)?;
    sender.send_head(&head, true).map_err(|_| Code::Cancel)?;
    Ok(status)
}
