//! Events. Those with an `eventTime` are of the new form and obey its rules, whichever way they
//! come; through `events.k8s.io` only that form may be made.

use super::{IMMUTABLE, as_struct, text};
use crate::field::FieldError;
use crate::json::{Path, Value};
use crate::names::{dns1123_subdomain, qualified_name};

/// Most bytes of `reportingInstance`, `action` and `reason`.
const WORD_MAX: usize = 128;
/// Most bytes of `message`.
const MESSAGE_MAX: usize = 1024;

const REFERENCE: [(&str, &str); 7] = [
    ("apiVersion", "APIVersion"),
    ("fieldPath", "FieldPath"),
    ("kind", "Kind"),
    ("name", "Name"),
    ("namespace", "Namespace"),
    ("resourceVersion", "ResourceVersion"),
    ("uid", "UID"),
];
const SOURCE: [(&str, &str); 2] = [("component", "Component"), ("host", "Host")];

/// `new`: the request came through `events.k8s.io`.
pub(super) fn validate(event: &Value, new: bool) -> Vec<FieldError> {
    let mut errors = validate_always(event, new);
    if new {
        errors.extend(series_errors(event));
        errors.extend(creation_errors(event));
    }
    errors
}

/// Of an update through `events.k8s.io`: only the series may change.
pub(super) fn validate_update(event: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = validate_always(event, true);
    if event.get("series") != old.get("series") {
        errors.extend(series_errors(event));
    }
    for (name, told) in [
        ("involvedObject", "involvedObject"),
        ("reason", "reason"),
        ("message", "message"),
        ("source", "source"),
        ("firstTimestamp", "firstTimestamp"),
        ("lastTimestamp", "lastTimestamp"),
        ("count", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        if event.get(name) != old.get(name) {
            let value = printed(name, event.get(name));
            errors.push(FieldError::invalid(Path::of(&[told]), value, IMMUTABLE));
        }
    }
    errors
}

/// A member as an error shows it.
fn printed(name: &str, value: Option<&Value>) -> Value {
    match (name, value) {
        ("involvedObject" | "related", Some(value)) => as_struct(value, &REFERENCE),
        ("source", Some(value)) => as_struct(value, &SOURCE),
        ("related", None) => Value::Null,
        ("count", None) => 0.into(),
        (_, None) => "".into(),
        (_, Some(value)) => value.clone(),
    }
}

fn validate_always(event: &Value, new: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let namespace = text(event, &["metadata", "namespace"]);
    let about = text(event, &["involvedObject", "namespace"]);
    let timed = event.str_at(&["eventTime"]).is_some();
    let fits = match (timed, about.is_empty()) {
        (false, true) => matches!(namespace, "" | "default"),
        (false, false) => namespace == about,
        (true, true) => matches!(namespace, "default" | "kube-system"),
        (true, false) => true,
    };
    if !fits {
        let path = Path::of(&["involvedObject", "namespace"]);
        errors.push(FieldError::invalid(path, about, "does not match event.namespace"));
    }
    if timed {
        reporting_errors(event, new, &mut errors);
    }
    let invalid = |text| FieldError::invalid(Path::of(&["namespace"]), namespace, text);
    errors.extend(dns1123_subdomain(namespace).into_iter().map(invalid));
    errors
}

/// What an event with an `eventTime` must say.
fn reporting_errors(event: &Value, new: bool, errors: &mut Vec<FieldError>) {
    let controller = text(event, &["reportingComponent"]);
    let path = Path::of(&[if new { "reportingController" } else { "reportingComponent" }]);
    if controller.is_empty() {
        errors.push(FieldError::required(path.clone(), ""));
    }
    let wrong = qualified_name(controller).into_iter();
    errors.extend(wrong.map(|text| FieldError::invalid(path.clone(), controller, text)));
    for (name, required, max) in [
        ("reportingInstance", true, WORD_MAX),
        ("action", true, WORD_MAX),
        ("reason", true, WORD_MAX),
        ("message", false, MESSAGE_MAX),
    ] {
        let value = text(event, &[name]);
        if value.is_empty() && required {
            errors.push(FieldError::required(Path::of(&[name]), ""));
        }
        if value.len() > max {
            let detail = format!("can have at most {max} characters");
            errors.push(FieldError::invalid(Path::of(&[name]), "", detail));
        }
    }
}

fn series_errors(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(series) = event.get("series") {
        if series.get("count").and_then(Value::as_i64).unwrap_or(0) < 2 {
            let path = Path::of(&["series", "count"]);
            errors.push(FieldError::invalid(path, "", "should be at least 2"));
        }
        if text(series, &["lastObservedTime"]).is_empty() {
            errors.push(FieldError::required(Path::of(&["series", "lastObservedTime"]), ""));
        }
    }
    errors
}

/// What an event made through `events.k8s.io` must and must not say.
fn creation_errors(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(event, &["eventTime"]).is_empty() {
        errors.push(FieldError::required(Path::of(&["eventTime"]), ""));
    }
    let kind = text(event, &["type"]);
    if !matches!(kind, "Normal" | "Warning") {
        let detail = format!("has invalid value: {kind}");
        errors.push(FieldError::invalid(Path::of(&["type"]), "", detail));
    }
    let is_set = |name: &str| match event.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::Object(source)) => !source.is_empty(),
        Some(_) => true,
    };
    for name in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        if is_set(name) {
            errors.push(FieldError::invalid(Path::of(&[name]), "", "needs to be unset"));
        }
    }
    errors
}
