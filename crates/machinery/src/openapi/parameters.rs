//! Parameters of operations.

use crate::json::Value;
use crate::object;

/// Name, type and description.
type Parameter = (&'static str, &'static str, &'static str);

const DRY_RUN: Parameter = ("dryRun", "string", "All: check everything, store nothing.");
const FIELD_MANAGER: Parameter =
    ("fieldManager", "string", "Name of the writer, at most 128 printable characters.");
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What to do about unknown and repeated fields: Ignore drops them, Warn (the default) drops them and says so, Strict refuses the request.",
);
const GRACE_PERIOD: Parameter =
    ("gracePeriodSeconds", "integer", "Seconds to leave the object to end by itself; 0: at once.");
const ORPHAN: Parameter = (
    "orphanDependents",
    "boolean",
    "Old form of propagationPolicy: whether to leave dependents alone.",
);
const PROPAGATION: Parameter = (
    "propagationPolicy",
    "string",
    "What becomes of objects owned by this one: Orphan leaves them, Background deletes them afterwards, Foreground before.",
);
const CONTINUE: Parameter =
    ("continue", "string", "Where the page before ended: what it said in metadata.continue.");
const FIELD_SELECTOR: Parameter = ("fieldSelector", "string", "Only objects whose fields are so.");
const LABEL_SELECTOR: Parameter = ("labelSelector", "string", "Only objects whose labels are so.");
const LIMIT: Parameter =
    ("limit", "integer", "At most so many objects; the rest is on further pages.");
const RESOURCE_VERSION: Parameter =
    ("resourceVersion", "string", "How fresh the answer must be, or where the watch begins.");
const RESOURCE_VERSION_MATCH: Parameter = (
    "resourceVersionMatch",
    "string",
    "What resourceVersion means to a list: Exact or NotOlderThan.",
);
const TIMEOUT: Parameter = ("timeoutSeconds", "integer", "Ends the request after so many seconds.");
const BOOKMARKS: Parameter =
    ("allowWatchBookmarks", "boolean", "Also send events that say how far the watch has come.");
const INITIAL_EVENTS: Parameter = (
    "sendInitialEvents",
    "boolean",
    "Begin the watch with what there is, and say where that ends.",
);
const WATCH: Parameter = ("watch", "boolean", "Send changes as they happen instead of a list.");

pub(super) const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
pub(super) const DELETE: &[Parameter] = &[DRY_RUN, GRACE_PERIOD, ORPHAN, PROPAGATION];
pub(super) const LIST: &[Parameter] = &[
    BOOKMARKS,
    CONTINUE,
    FIELD_SELECTOR,
    LABEL_SELECTOR,
    LIMIT,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    INITIAL_EVENTS,
    TIMEOUT,
    WATCH,
];
pub(super) const DELETE_COLLECTION: &[Parameter] = &[
    CONTINUE,
    DRY_RUN,
    FIELD_SELECTOR,
    GRACE_PERIOD,
    LABEL_SELECTOR,
    LIMIT,
    ORPHAN,
    PROPAGATION,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    TIMEOUT,
];

/// Parameters of an operation.
pub(super) fn query(parameters: &[Parameter]) -> Value {
    parameters
        .iter()
        .map(|(name, kind, description)| parameter(name, "query", kind, description))
        .collect()
}

/// Parameters that all operations on a path have in common.
pub(super) fn of_path(kind: &str, named: bool, namespaced: bool) -> Value {
    let mut parameters = Vec::new();
    if named {
        parameters.push(in_path("name", &format!("Name of the {kind}.")));
    }
    if namespaced {
        parameters.push(in_path("namespace", "Namespace of the object."));
    }
    parameters.push(parameter(
        "pretty",
        "query",
        "string",
        "true: with line breaks and indentation.",
    ));
    parameters.into()
}

fn in_path(name: &str, description: &str) -> Value {
    let mut parameter = parameter(name, "path", "string", description);
    parameter.set(&["required"], true);
    parameter
}

fn parameter(name: &str, place: &str, kind: &str, description: &str) -> Value {
    object! {
        "name": name,
        "in": place,
        "description": description,
        "schema": object! {"type": kind, "uniqueItems": true},
    }
}
