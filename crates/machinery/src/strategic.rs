//! Strategic merge patch, as kube-apiserver applies it to built-in kinds
//! (`apimachinery/pkg/util/strategicpatch`): a merge patch that also merges lists.
//!
//! The builtin tables say how a member is merged: a list with a merge key element by element, a
//! list of scalars as a set, every other list as one value. What a patch cannot say so, it says
//! in directives:
//!
//! | member of a patch | what it does |
//! |---|---|
//! | `$patch: replace` or `delete` | the object it stands in replaces the other, or empties it; in an element of a list, that list is replaced or that element removed |
//! | `$retainKeys: [a, …]` | all other members go |
//! | `$deleteFromPrimitiveList/f: [a, …]` | removes scalars from the list `f` |
//! | `$setElementOrder/f: [a, …]` | the order of the list `f` |
//!
//! Order, where Kubernetes leaves it to chance: `$setElementOrder` first, then
//! `$deleteFromPrimitiveList`, then everything else by name. Members that the tables do not
//! know are taken as they are; decoding the result finds them.
//!
//! Bounds: time is that of sorting, in the size of patch and object; no list is searched once
//! per element. Walks recurse as deep as patch and object do ([`crate::json::STACK_BYTES`]).

mod list;
mod map;
mod order;
mod shape;
mod text;

use crate::builtin::{self, Message, Table};
use crate::json::{Map, Value, parse_strict};
use crate::patch::Decoded;
use crate::status::{Details, Status};

use shape::Shape;

/// A member that says what becomes of a whole object or list.
const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

/// A strategic merge patch.
#[derive(Debug, Clone, PartialEq)]
pub struct StrategicPatch(Map);

impl StrategicPatch {
    /// Reads a patch.
    ///
    /// # Errors
    /// 400 for what is not a JSON object; `null` is the empty patch.
    pub fn decode(bytes: &[u8]) -> Result<Decoded<Self>, Status> {
        let parsed = parse_strict(bytes).map_err(|error| Status::bad_request(error.to_string()))?;
        let patch = match parsed.value {
            Value::Object(map) => Self(map),
            Value::Null => Self(Map::new()),
            other => {
                let found = match other {
                    Value::Bool(_) => "bool",
                    other => other.type_name(),
                };
                return Err(Status::bad_request(format!(
                    "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
                )));
            }
        };
        let duplicates = parsed.duplicates.iter();
        let strict_errors = duplicates.map(|path| format!("duplicate field \"{path}\""));
        Ok(Decoded { patch, strict_errors: strict_errors.collect() })
    }

    /// Applies the patch to an object of a built-in kind in the form in which it is served.
    ///
    /// # Errors
    /// 400 for a directive of the wrong form, 422 for lists of lists, and, as Kubernetes has it,
    /// 500 without a reason for everything else that a client can do wrong.
    pub fn apply(&self, object: Value, message: &Message) -> Result<Value, Status> {
        self.apply_in(builtin::table(), object, message)
    }

    fn apply_in(&self, table: &Table, object: Value, message: &Message) -> Result<Value, Status> {
        let mut object = object;
        let shape = Shape::of_message(table, message);
        map::merge(object.make_object(), &self.0, shape).map_err(|refused| *refused)?;
        Ok(object)
    }

    /// The members of the patch.
    #[must_use]
    pub const fn as_map(&self) -> &Map {
        &self.0
    }
}

impl std::fmt::Display for StrategicPatch {
    /// Prints the patch as kube-apiserver does where it refuses the result: `map[data:map[a:1]]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&text::printed_map(&self.0))
    }
}

/// A patch that cannot be applied. Boxed, for merging recurses.
type Refused = Box<Status>;

/// 400: a directive is not of the form that it must have.
fn malformed(directive: &'static str) -> Refused {
    Box::new(Status::bad_request(match directive {
        DELETE_FROM_LIST => "invalid patch format of primitive list".to_owned(),
        SET_ORDER => "invalid patch format of setElementOrder list".to_owned(),
        RETAIN_KEYS => "invalid patch format of retainKeys".to_owned(),
        other => format!("invalid patch format of {other}"),
    }))
}

/// 422: lists have no lists as elements.
fn list_of_lists() -> Refused {
    let status = Status {
        code: 422,
        reason: "Invalid",
        message: "the server rejected our request due to an error in our request".into(),
        details: Some(Box::<Details>::default()),
        continue_token: None,
    };
    Box::new(status.cause("UnexpectedServerResponse", "lists of lists are not supported", ""))
}

/// 500 without a reason: what Kubernetes has no class for.
fn unclassified(message: impl Into<String>) -> Refused {
    let message = message.into();
    Box::new(Status { code: 500, reason: "", message, details: None, continue_token: None })
}

/// An element of a list does not say which it is.
fn no_merge_key(element: &Map, key: &str) -> Refused {
    let element = text::printed_map(element);
    unclassified(format!("map: {element} does not contain declared merge key: {key}"))
}

/// A value is not of the type that its place demands.
fn wrong_type(wanted: &str, found: &Value) -> Refused {
    let found = match found {
        Value::Null => "%!s(<nil>)",
        found => text::go_type(found),
    };
    unclassified(format!("expected a {wanted}, but received a {found}"))
}

#[cfg(test)]
mod tests;
