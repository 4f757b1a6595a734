//! OpenAPI v3 text to a [`Schema`]: what is not structural is refused, in the words of
//! Kubernetes (`apiextensions-apiserver`).
//!
//! Text is bounded: [`MAX_NODES`], [`MAX_DEPTH`], [`MAX_PATTERN_WEIGHT`] and others, beside the
//! limits of each pattern ([`super::pattern`]).

mod build;
mod defaults;
mod openapi;
mod props;
mod structural;
#[cfg(test)]
mod tests;
mod transition;

use std::sync::Arc;

use super::Schema;
use crate::field::FieldError;
use crate::json::{Path, Value};

/// Most nodes of a schema, and elements of lists in it: several times the largest definitions in
/// use.
pub const MAX_NODES: usize = 50_000;
/// Deepest nesting of nodes.
pub const MAX_DEPTH: usize = 100;
/// Longest name of a property.
pub const MAX_NAME_BYTES: usize = 1024;
/// Most keys of a list-map.
pub const MAX_MAP_KEYS: usize = 64;
/// Most weight of all patterns of a schema, so that compiled patterns stay within tens of MiB.
pub const MAX_PATTERN_WEIGHT: u64 = 200_000;

/// Compiles the schema of one version of a kind.
///
/// `text` is an APIResourceSchema version's `schema` or a CustomResourceDefinition's
/// `openAPIV3Schema`, `base` where it stands, `object_meta` the schema of every object's
/// metadata.
///
/// # Errors
/// Every breach of the rules, by path.
pub fn compile(
    text: &Value,
    base: &Path,
    object_meta: &Arc<Schema>,
) -> Result<Schema, Vec<FieldError>> {
    let props = props::read(text, base)?;
    let mut errors = structural::check(&props, base);
    let is_structural = errors.is_empty();
    let others = openapi::check(&props, base);
    let schema = build::root(props, object_meta);
    if is_structural {
        errors.extend(defaults::check(&schema, base));
    }
    errors.extend(others);
    if errors.is_empty() { Ok(schema) } else { Err(errors) }
}
