//! HTTP/1.1 (RFC 9112), read strictly and written plainly.
//!
//! ```text
//! bytes ─► Intake ─► Lines ─► head ─► Payload ─► parts of the body
//! head, parts of the body ─► Sending ─► bytes
//! ```
//!
//! Heads and bodies are functions of bytes. Nothing is held while nothing comes.

mod answer;
mod date;
mod flow;
mod head;
mod intake;
mod lines;
mod payload;
mod requests;
mod sending;
pub(crate) mod serve;
mod upload;
mod waiting;

use http::StatusCode;

pub(crate) use head::RequestHead;
pub use head::{AnswerHead, FIELDS_MAX, Length, read_answer, read_chunk_size};
pub use intake::Intake;
pub use lines::Lines;
pub use payload::{Cut, Part, Payload, take, take_mut};
pub use sending::{PIECES_MAX, Sending, WrongLength, put};

pub(crate) use flow::Receiver;
pub(crate) use requests::HEAD_BYTES_MAX;

/// A message that can be read in more than one way, or is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Where it ends, or what it says, depends on who reads it.
    #[error("the framing is ambiguous: {0}")]
    Framing(&'static str),
    /// It is too large.
    #[error("the message has more than {0}")]
    Size(&'static str),
}

impl Malformed {
    /// Status and text for whoever sent it.
    pub(crate) fn told(self) -> (StatusCode, String) {
        let status = match self {
            Self::Framing(_) => StatusCode::BAD_REQUEST,
            Self::Size(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        };
        (status, format!("{self}\n"))
    }
}

/// For fuzzing: requests are taken or refused whatever pieces they come in.
#[cfg(feature = "fuzzing")]
pub fn fuzz_requests(bytes: &[u8]) {
    let whole = requests::read(bytes, bytes.len().max(1));
    for pieces in [1, 2, 7] {
        assert_eq!(requests::read(bytes, pieces), whole, "in pieces of {pieces}");
    }
}

#[cfg(test)]
mod tests;
