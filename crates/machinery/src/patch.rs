//! JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386), as kube-apiserver applies them.
//!
//! Statuses are those of Kubernetes (`endpoints/handlers/patch.go`). Where an operation fails,
//! Kubernetes hides the reason; here it is a cause of the status.
//!
//! Bounds: [`MAX_OPERATIONS`], [`MAX_COPIED_BYTES`], [`MAX_SHIFTED`], and no patch nests a
//! document deeper than [`crate::json::MAX_DEPTH`].

mod apply;
mod decode;
mod merge;

use crate::json::Value;
use crate::status::{Details, Status};

pub use decode::JsonPatch;
pub use merge::MergePatch;

/// Most operations of one JSON patch.
pub const MAX_OPERATIONS: usize = 10_000;
/// Most bytes that the `copy` operations of one patch may add.
pub const MAX_COPIED_BYTES: usize = 3 << 20;
/// Most elements and members that the operations of one patch may shift to make or close a gap:
/// some tenths of a second.
pub const MAX_SHIFTED: usize = 100_000_000;

/// A patch, and what strict validation has against it, e.g. `duplicate field "spec.x"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<P> {
    /// The patch.
    pub patch: P,
    /// In document order.
    pub strict_errors: Vec<String>,
}

/// 400: this is no patch.
fn undecodable(why: impl std::fmt::Display) -> Status {
    Status::bad_request(format!("error decoding patch: {why}"))
}

/// 422: an operation failed.
fn inapplicable(why: String) -> Status {
    let status = Status {
        code: 422,
        reason: "Invalid",
        message: "the server rejected our request due to an error in our request".into(),
        details: Some(Box::<Details>::default()),
        continue_token: None,
    };
    status.cause("UnexpectedServerResponse", why, "")
}

/// The word of `encoding/json` for what a value is.
const fn go_word(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        other => other.type_name(),
    }
}
