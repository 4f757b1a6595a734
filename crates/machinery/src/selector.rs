//! Selectors: which objects of a list or watch are meant.
//!
//! Texts of errors are those of Kubernetes (`apimachinery/pkg/labels`, `pkg/fields`); they are
//! sent as they are in a 400. Sizes are bounded by what carries a selector, a URL or an object.

mod field;
mod label;
mod parse;
mod structured;

pub use field::{FieldSelector, FieldTerm};
pub use label::{LabelSelector, Operator, Requirement};
pub use structured::{from_structured, validate_structured};

use strait_types::{Classified, ErrorKind};

/// A selector cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSelector(String);

impl Classified for InvalidSelector {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}
