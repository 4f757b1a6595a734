//! What a kind looks like: the one description from which pruning, defaulting, validation,
//! strict decoding, OpenAPI and protobuf all follow.
//!
//! A [`Schema`] is a Kubernetes *structural* schema (KEP-1693): every node has a type, every
//! member is declared or falls under `additional` or `preserve_unknown`. Built-in kinds come
//! from [`crate::builtin`], everything else from OpenAPI v3 text.

pub mod compile;
pub mod default;
pub mod format;
pub mod pattern;
pub mod prune;
pub mod validate;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::json::{Path, Value};

pub use pattern::Pattern;

/// One node. Cheap to share: children are behind [`Arc`].
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// The type and, for containers, what is inside.
    pub shape: Shape,
    /// `type` is not given: the shape says what is inside a value of that type, and values of
    /// other types pass. So in logical junctors, and where unknown members are preserved.
    pub untyped: bool,
    /// Name of the OpenAPI definition that this node is (`io.k8s.api.core.v1.ConfigMap`), for
    /// nodes that are published once and referred to.
    pub definition: Option<Arc<str>>,
    /// For people; our own words.
    pub description: Box<str>,
    /// Whether `null` is a value of its own rather than absence.
    pub nullable: bool,
    /// Put in place of an absent member.
    pub default: Option<Value>,
    /// The only values allowed; empty: any.
    pub enumeration: Vec<Value>,
    /// `int32`, `int64`, `byte`, `date-time`, `micro-time`, … Empty: none.
    pub format: Box<str>,
    /// Bounds on values, absent where nothing is bounded.
    pub bounds: Option<Box<Bounds>>,
    /// `allOf`, `anyOf`, `oneOf`, `not`: value checks only, never structure.
    pub junctors: Option<Box<Junctors>>,
    /// `x-kubernetes-validations`: rules over the old and the new value.
    pub rules: Vec<Rule>,
    /// `x-kubernetes-preserve-unknown-fields`: undeclared members stay.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`: apiVersion, kind and metadata are implied.
    pub embedded_resource: bool,
    /// `title`, `externalDocs`, `example` and other members that say nothing to the server,
    /// published as they came.
    pub annotations: Option<Box<crate::json::Map>>,
}

/// The type of a node.
#[derive(Clone, Debug, Default)]
pub enum Shape {
    /// Anything at all; what `x-kubernetes-preserve-unknown-fields` without a type means.
    #[default]
    Any,
    /// An object.
    Object(Object),
    /// An array.
    Array(Array),
    /// A string.
    String,
    /// A number without fraction.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `x-kubernetes-int-or-string`.
    IntOrString,
}

/// What is inside an object.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// Declared members, sorted by name.
    pub properties: Vec<Property>,
    /// Members that must be present without being declared here.
    pub required_undeclared: Vec<Box<str>>,
    /// The schema of undeclared members, if they are allowed by one.
    pub additional: Option<Arc<Schema>>,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
}

/// One declared member.
#[derive(Clone, Debug)]
pub struct Property {
    /// The JSON key.
    pub name: Box<str>,
    /// Its schema.
    pub schema: Arc<Schema>,
    /// Whether it must be present.
    pub required: bool,
    /// Field number in the protobuf message; 0: not in protobuf.
    pub number: u32,
    /// `x-kubernetes-patch-strategy`, for built-in kinds: `merge`, `replace`, `retainKeys`.
    pub patch_strategy: Box<str>,
    /// `x-kubernetes-patch-merge-key`, for built-in kinds.
    pub patch_merge_key: Box<str>,
}

/// What is inside an array.
#[derive(Clone, Debug, Default)]
pub struct Array {
    /// The schema of every element.
    pub items: Arc<Schema>,
    /// How elements are told apart.
    pub list_type: ListType,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// One value as a whole.
    #[default]
    Atomic,
    /// Distinct scalars.
    Set,
    /// Objects told apart by these members (`x-kubernetes-list-map-keys`).
    Map(Vec<Box<str>>),
}

/// Bounds on values. Lengths count characters, as Kubernetes does.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// Smallest number, and whether it itself is excluded.
    pub minimum: Option<(f64, bool)>,
    /// Largest number, and whether it itself is excluded.
    pub maximum: Option<(f64, bool)>,
    /// The number must be a multiple of this.
    pub multiple_of: Option<f64>,
    /// Fewest characters.
    pub min_length: Option<u64>,
    /// Most characters.
    pub max_length: Option<u64>,
    /// A regular expression in Go's syntax that must match somewhere.
    pub pattern: Option<Pattern>,
    /// Fewest elements.
    pub min_items: Option<u64>,
    /// Most elements.
    pub max_items: Option<u64>,
    /// Fewest members.
    pub min_properties: Option<u64>,
    /// Most members.
    pub max_properties: Option<u64>,
}

/// Logical junctors.
#[derive(Clone, Debug, Default)]
pub struct Junctors {
    /// All must accept.
    pub all_of: Vec<Schema>,
    /// At least one must accept.
    pub any_of: Vec<Schema>,
    /// Exactly one must accept.
    pub one_of: Vec<Schema>,
    /// Must not accept.
    pub not: Option<Schema>,
}

/// One entry of `x-kubernetes-validations`. Until CEL is served there is one rule,
/// `self == oldSelf`: the value may be set once and not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// As written.
    pub rule: Box<str>,
    /// Said when the rule fails; empty: `failed rule: <rule>`.
    pub message: Box<str>,
    /// `FieldValueInvalid` and its siblings; empty: `FieldValueInvalid`.
    pub reason: Box<str>,
    /// Path below this node to blame, as written, e.g. `.digest`; empty: the node.
    pub field_path: Box<str>,
    /// The same, as a path.
    pub blame: Path,
}

impl Bounds {
    /// Whether nothing is bounded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.minimum.is_none()
            && self.maximum.is_none()
            && self.multiple_of.is_none()
            && self.min_length.is_none()
            && self.max_length.is_none()
            && self.pattern.is_none()
            && self.min_items.is_none()
            && self.max_items.is_none()
            && self.min_properties.is_none()
            && self.max_properties.is_none()
    }
}

impl Object {
    /// The declared member of that name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Property> {
        let at = self.properties.binary_search_by(|property| (*property.name).cmp(name)).ok()?;
        Some(&self.properties[at])
    }
}

impl Schema {
    /// The members, if this is an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Object> {
        match &self.shape {
            Shape::Object(object) => Some(object),
            _ => None,
        }
    }
}
