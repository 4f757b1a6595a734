//! Access reviews. Kubernetes reports their errors without the kind's name
//! (`.authorization.k8s.io "" is invalid`).

use super::{as_struct, text};
use crate::field::FieldError;
use crate::json::{Path, Value};
use crate::names::{label_value, qualified_name};

const ATTRIBUTES: [(&str, &str); 2] = [("path", "Path"), ("verb", "Verb")];

pub(super) fn validate(kind: &str, review: &Value) -> Vec<FieldError> {
    match kind {
        "SubjectAccessReview" => {
            let mut errors = spec_errors(review, true);
            errors.extend(metadata_error(review, &[], "must be empty"));
            errors
        }
        "SelfSubjectAccessReview" => {
            let mut errors = spec_errors(review, false);
            errors.extend(metadata_error(review, &[], "must be empty"));
            errors
        }
        "LocalSubjectAccessReview" => {
            let mut errors = spec_errors(review, true);
            let detail = "must be empty except for namespace";
            errors.extend(metadata_error(review, &["namespace"], detail));
            local_errors(review, &mut errors);
            errors
        }
        _ => Vec::new(),
    }
}

fn spec_errors(review: &Value, of_subject: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::of(&["spec"]);
    let resource = review.at(&["spec", "resourceAttributes"]);
    let other = review.at(&["spec", "nonResourceAttributes"]);
    match (resource, other) {
        (Some(_), Some(other)) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            let value = as_struct(other, &ATTRIBUTES);
            errors.push(FieldError::invalid(path.field("nonResourceAttributes"), value, detail));
        }
        (None, None) => {
            let detail =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            let path = path.field("resourceAttributes");
            errors.push(FieldError::invalid(path, Value::Null, detail));
        }
        _ => {}
    }
    let nobody = text(review, &["spec", "user"]).is_empty()
        && review.array_at(&["spec", "groups"]).is_empty();
    if of_subject && nobody {
        let detail = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(path.field("user"), "", detail));
    }
    if let Some(resource) = resource {
        let path = path.field("resourceAttributes");
        for name in ["fieldSelector", "labelSelector"] {
            if let Some(selector) = resource.get(name) {
                selector_errors(selector, name, &path.field(name), &mut errors);
            }
        }
    }
    errors
}

fn selector_errors(selector: &Value, name: &str, path: &Path, errors: &mut Vec<FieldError>) {
    let raw = text(selector, &["rawSelector"]);
    let requirements = selector.array_at(&["requirements"]);
    match (raw.is_empty(), requirements.is_empty()) {
        (false, false) => {
            let detail = "may not specified at the same time as requirements";
            errors.push(FieldError::invalid(path.field("rawSelector"), raw, detail));
        }
        (true, true) => {
            let detail =
                format!("when {path} is specified, requirements or rawSelector is required");
            errors.push(FieldError::required(path.field("requirements"), detail));
        }
        _ => {}
    }
    for (at, requirement) in requirements.iter().enumerate() {
        let path = path.field("requirements").index(at);
        if name == "labelSelector" {
            values_error(requirement, &path, errors);
            label_errors(requirement, &path, errors);
        } else {
            if text(requirement, &["key"]).is_empty() {
                errors.push(FieldError::required(path.field("key"), "must be specified"));
            }
            values_error(requirement, &path, errors);
        }
    }
}

/// Operators that this server does not know pass: a newer client may know what they mean.
fn values_error(requirement: &Value, path: &Path, errors: &mut Vec<FieldError>) {
    let path = path.field("values");
    let empty = requirement.array_at(&["values"]).is_empty();
    match text(requirement, &["operator"]) {
        "In" | "NotIn" if empty => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(path, detail));
        }
        "Exists" | "DoesNotExist" if !empty => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(path, detail));
        }
        _ => {}
    }
}

fn label_errors(requirement: &Value, path: &Path, errors: &mut Vec<FieldError>) {
    let key = text(requirement, &["key"]);
    let invalid = |text| FieldError::invalid(path.field("key"), key, text);
    errors.extend(qualified_name(key).into_iter().map(invalid));
    for (at, value) in requirement.array_at(&["values"]).iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        let invalid = |text| FieldError::invalid(path.field("values").index(at), value, text);
        errors.extend(label_value(value).into_iter().map(invalid));
    }
}

/// Reviews have no metadata but what is named.
fn metadata_error(review: &Value, allowed: &[&str], detail: &str) -> Option<FieldError> {
    let metadata = review.get("metadata").and_then(Value::as_object)?;
    let extra = metadata.keys().any(|key| !allowed.contains(&key));
    let path = Path::of(&["metadata"]);
    extra.then(|| FieldError::invalid(path, Value::Object(metadata.clone()), detail))
}

fn local_errors(review: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::of(&["spec"]);
    if let Some(resource) = review.at(&["spec", "resourceAttributes"]) {
        let namespace = text(resource, &["namespace"]);
        if namespace != text(review, &["metadata", "namespace"]) {
            let path = path.field("resourceAttributes").field("namespace");
            errors.push(FieldError::invalid(path, namespace, "must match metadata.namespace"));
        }
    }
    if let Some(other) = review.at(&["spec", "nonResourceAttributes"]) {
        let value = as_struct(other, &ATTRIBUTES);
        let detail = "disallowed on this kind of request";
        errors.push(FieldError::invalid(path.field("nonResourceAttributes"), value, detail));
    }
}
