//! The asking end of a crossing: a client's message on a stream, and the answer to it. It is the
//! hub's for clients outside, and the agent's for programs beside it.

mod answer;
mod message;
mod pump;
mod upload;

use std::time::Duration;

use http::StatusCode;
use strait_tunnel::{Code, End, EndedBy, OpenError};

use crate::link::Unopened;

pub(crate) use answer::{Question, respond};
pub(crate) use message::{Came, Message, refused};
pub(crate) use pump::{Broken, pump};
pub(crate) use upload::Upload;

/// Hears what passes on a stream. Dropped before it heard of an end, the client left.
pub(crate) trait Meter: Send + Sync + Unpin + 'static {
    /// The head of the answer came; `inner`: how long the service took for it, as whoever serves
    /// it says.
    fn answered(&self, status: StatusCode, inner: Option<Duration>);
    /// Bytes from the service.
    fn brought(&self, bytes: usize);
    /// All the bytes to the service so far.
    fn took(&self, bytes: u64);
    /// The stream ended, in order unless something broke it; the first end counts.
    fn ended(&self, broken: Option<&End>);
}

/// Says of a stream that was not opened that too many wait to be accepted.
pub(crate) const STALLED: &str = "too many streams wait to be accepted";

/// A stream that could not be opened was not executed.
pub(crate) fn ending_of(error: impl Into<Unopened>) -> End {
    let (code, text) = match error.into() {
        Unopened::Stalled => (Code::Overloaded, STALLED),
        Unopened::Connection(OpenError::TooMany) => (Code::Overloaded, ""),
        _ => (Code::Refused, ""),
    };
    End { code, by: EndedBy::Us, truncated: true, unexecuted: true, text: text.into() }
}
