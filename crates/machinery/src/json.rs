//! JSON as Kubernetes treats it: canonical bytes, numbers in their own text, duplicate keys
//! noticed.
//!
//! [`parse`] is iterative and bounded: nesting to [`MAX_DEPTH`], integers to `i64`/`u64`,
//! duplicates reported by path while the last one wins. Objects keep their keys sorted, so
//! equal trees have equal bytes ([`Value::to_bytes`]).
//!
//! Functions that walk a tree, here and elsewhere in this crate, recurse. A thread that
//! handles untrusted trees needs [`STACK_BYTES`] of stack; `runtime` gives it.

mod map;
mod parse;
mod path;
mod value;
mod write;

pub use map::Map;
pub use parse::{Parsed, SyntaxError, parse, parse_strict, paths_of_keys};
pub use path::{Path, Segment};
pub use value::{Number, Value};
pub use write::{escape_into, quoted};

/// Nesting beyond this is refused, as Go's decoder does (`encoding/json` maxNestingDepth).
pub const MAX_DEPTH: usize = 10_000;

/// Stack that a walk over a tree of [`MAX_DEPTH`] may take, with a margin for unoptimised
/// builds. Virtual memory: pages are used only where a walk really goes that deep.
pub const STACK_BYTES: usize = 32 << 20;

/// At most this many duplicate keys are named; the rest would tell nobody more.
pub const MAX_DUPLICATES: usize = 100;
