//! Heads of HTTP messages as blocks: stateless, so that no stream depends on another's.
//!
//! A [`Request`], [`Response`] or [`Trailers`] is its block, checked; its parts are read off the
//! block when asked for, and nothing is copied. The bytes are in `docs/tunnel-protocol.md`.

mod field;
mod request;
mod response;

pub use field::Fields;
pub(crate) use response::Head;
pub use strait_types::Field;

pub use request::{Method, Request, RequestParts, Tlvs};
pub use response::{Response, Trailers};

/// Fields of one head at most.
pub const MAX_FIELDS: usize = 256;
/// Bytes of a field's name at most.
pub const MAX_NAME: usize = 128;
/// Bytes of a request's path at most.
pub const MAX_PATH: usize = 16 << 10;
/// Bytes of a request's authority at most.
pub const MAX_AUTHORITY: usize = 1 << 10;
/// Bytes of a block at most.
pub const MAX_BLOCK: usize = crate::wire::BLOCK;

/// A head that cannot be carried, or a block that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The block ends too early, or goes on after its end.
    #[error("the head block is cut short or has bytes left over")]
    Length,
    /// The block is longer than [`MAX_BLOCK`], or a part longer than its own limit.
    #[error("the head is too large")]
    TooLarge,
    /// More than [`MAX_FIELDS`].
    #[error("more than {MAX_FIELDS} fields")]
    TooManyFields,
    /// Not a method that may cross.
    #[error("the method cannot be carried")]
    Method,
    /// Not a host with an optional port.
    #[error("the authority is not valid")]
    Authority,
    /// Not in origin form.
    #[error("the path is not in origin form")]
    Path,
    /// Not in 100–599.
    #[error("the status is not one of HTTP")]
    Status,
    /// Not a lower-case token.
    #[error("a field's name is not valid")]
    Name,
    /// Control characters, or blanks at its ends.
    #[error("a field's value is not valid")]
    Value,
    /// The extensions of a head are wrong, or one that must be understood is not known.
    #[error("an extension of the head is not valid or not known")]
    Extension,
}
