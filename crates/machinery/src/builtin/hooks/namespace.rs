//! Namespaces.

use super::text;
use crate::field::FieldError;
use crate::json::{Path, Value};
use crate::names::qualified_name;
use crate::object;

/// The finalizer that stands for the namespace's content.
const FINALIZER: &str = "kubernetes";
/// Finalizers that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = [FINALIZER, "orphan", "foregroundDeletion"];
const LABEL: &str = "kubernetes.io/metadata.name";

/// Sets the label that repeats the name.
pub(super) fn set_label(object: &mut Value) {
    let name = text(object, &["metadata", "name"]).to_owned();
    if !name.is_empty() {
        object.set(&["metadata", "labels", LABEL], name);
    }
}

pub(super) fn prepare_for_create(object: &mut Value) {
    object.set(&["status"], object! {"phase": "Active"});
    let mut finalizers = object.array_at(&["spec", "finalizers"]).to_vec();
    let ours = Value::from(FINALIZER);
    if !finalizers.contains(&ours) {
        finalizers.push(ours);
        object.set(&["spec", "finalizers"], finalizers);
    }
}

pub(super) fn prepare_for_update(object: &mut Value, old: &Value, subresource: &str) {
    let kept: &[&str] = match subresource {
        "status" => &["spec"],
        "finalize" => &["status"],
        _ => &["spec", "status"],
    };
    for name in kept {
        object.set(&[name], old.get(name).cloned().unwrap_or_else(Value::object));
    }
}

pub(super) fn validate(object: &Value) -> Vec<FieldError> {
    let path = Path::of(&["spec", "finalizers"]);
    let finalizers = object.array_at(&["spec", "finalizers"]);
    finalizers.iter().flat_map(|finalizer| finalizer_errors(finalizer, &path)).collect()
}

pub(super) fn validate_update(object: &Value, subresource: &str) -> Vec<FieldError> {
    match subresource {
        "status" => phase_error(object).into_iter().collect(),
        "finalize" => {
            let path = Path::of(&["spec", "finalizers"]);
            let finalizers = object.array_at(&["spec", "finalizers"]).iter().enumerate();
            finalizers
                .flat_map(|(at, finalizer)| finalizer_errors(finalizer, &path.index(at)))
                .collect()
        }
        _ => validate(object),
    }
}

fn finalizer_errors(finalizer: &Value, path: &Path) -> Vec<FieldError> {
    let name = finalizer.as_str().unwrap_or_default();
    let mut wrong = qualified_name(name);
    if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
        wrong.push("name is neither a standard finalizer name nor is it fully qualified".into());
    }
    wrong.into_iter().map(|text| FieldError::invalid(path.clone(), name, text)).collect()
}

fn phase_error(object: &Value) -> Option<FieldError> {
    let deleting = object.str_at(&["metadata", "deletionTimestamp"]).is_some();
    let (wanted, when) = if deleting {
        ("Terminating", "`deletionTimestamp` is not empty")
    } else {
        ("Active", "`deletionTimestamp` is empty")
    };
    let phase = text(object, &["status", "phase"]);
    (phase != wanted).then(|| {
        // The capital is Kubernetes' own.
        let path = Path::of(&["status", "Phase"]);
        FieldError::invalid(path, phase, format!("may only be '{wanted}' if {when}"))
    })
}
