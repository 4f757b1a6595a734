//! The rules for HTTP heads that cross, as functions of what came.
//!
//! ```text
//! client ─► net ─► Target ─► fields::remove_connection ─► credentials::present ─►
//!           fields::remove_identity ─► stream (who asks, from where: beside the fields)
//! stream ─► the same removals once more ─► Rules ─► fields::Added ─► ServiceUrl::uri ─► service
//! service ─► fields::remove_connection ─► fields::remove_claims ─► answer::Public ─► client
//! ```
//!
//! Both ends of the tunnel run the removals: an agent does not believe that a hub did. What is
//! ours is added after the last of them, so that no field of a client, and no `Connection` that
//! names one, can stand for or take away one of ours.
//!
//! The URL that a service is asked for is put together from parts: scheme and authority are the
//! configuration's, and no text that came from outside is ever parsed as a URL.

pub mod answer;
pub mod credentials;
pub mod fields;
pub mod framing;
pub mod pattern;
pub mod proxies;
pub mod rules;
pub mod site;
pub mod target;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod trace;
pub mod trailers;
pub mod upgrade;
pub mod url;
pub mod way;

use http::StatusCode;
use strait_types::{Classified, ErrorKind};

use crate::websocket::BadRequest;

/// A request's head is refused before anything else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// The target is not a path of this server's.
    #[error("the request target must be a path that begins with /, not {0}")]
    TargetForm(&'static str),
    /// The target holds a byte that none may hold.
    #[error("the request target contains {0}")]
    TargetByte(&'static str),
    /// A segment of the path is `.` or `..`, plainly or encoded.
    #[error("the path contains the segment . or ..")]
    DotSegment,
    /// The target is too long.
    #[error("the request target is longer than {} bytes", target::LENGTH_MAX)]
    TargetLength,
    /// The head is too large.
    #[error("the request head has more than {0}")]
    HeadSize(&'static str),
    /// How long the body is cannot be told for sure.
    #[error("the request's framing is ambiguous: {0}")]
    Framing(&'static str),
    /// Whom the request is for cannot be told for sure.
    #[error("the request's host is {0}")]
    Authority(&'static str),
    /// The method crosses to no service.
    #[error("the method is not served")]
    Method,
    /// An expectation that nobody here meets.
    #[error("the only expectation met is 100-continue")]
    Expectation,
    /// No WebSocket can be made of the connection.
    #[error(transparent)]
    WebSocket(BadRequest),
    /// A path or query for a service that knows none.
    #[error("a raw service has no paths and takes no query")]
    RawTarget,
}

impl BadHead {
    /// The status that tells it.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TargetLength => StatusCode::URI_TOO_LONG,
            Self::HeadSize(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TargetForm(_)
            | Self::TargetByte(_)
            | Self::DotSegment
            | Self::Framing(_)
            | Self::Authority(_)
            | Self::WebSocket(_)
            | Self::RawTarget => StatusCode::BAD_REQUEST,
        }
    }

    /// Machine-readable, as `X-Strait-Error` says it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TargetForm(_) | Self::TargetByte(_) | Self::DotSegment | Self::RawTarget => {
                "BadTarget"
            }
            Self::TargetLength => "TargetTooLong",
            Self::HeadSize(_) => "HeadTooLarge",
            Self::Framing(_) => "BadFraming",
            Self::Authority(_) => "BadHost",
            Self::Method => "MethodNotServed",
            Self::Expectation => "ExpectationFailed",
            Self::WebSocket(_) => "BadWebSocket",
        }
    }
}

impl Classified for BadHead {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TargetLength | Self::HeadSize(_) => ErrorKind::TooLarge,
            _ => ErrorKind::User,
        }
    }
}

/// Whether any byte is so. Without a way out in the middle, several are looked at at once.
fn any_byte(text: &str, is_so: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(false, |any, byte| any | is_so(byte))
}
