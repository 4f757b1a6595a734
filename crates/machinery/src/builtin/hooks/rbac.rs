//! Roles and bindings.

use super::{as_struct, text};
use crate::field::FieldError;
use crate::json::{Path, Value};
use crate::names::{dns1123_subdomain, path_segment};
use crate::selector::{from_structured, validate_structured};

pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

const ROLE_REF: [(&str, &str); 3] = [("apiGroup", "APIGroup"), ("kind", "Kind"), ("name", "Name")];

/// Completes the groups that references leave out.
pub(super) fn set_groups(binding: &mut Value) {
    if text(binding, &["roleRef", "apiGroup"]).is_empty() {
        binding.set(&["roleRef", "apiGroup"], GROUP);
    }
    let subjects = binding.as_object_mut().and_then(|binding| binding.get_mut("subjects"));
    if let Some(Value::Array(subjects)) = subjects {
        for subject in subjects {
            let of_group = matches!(text(subject, &["kind"]), "User" | "Group");
            if of_group && text(subject, &["apiGroup"]).is_empty() {
                subject.set(&["apiGroup"], GROUP);
            }
        }
    }
}

pub(super) fn validate_role(role: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (at, rule) in role.array_at(&["rules"]).iter().enumerate() {
        rule_errors(rule, namespaced, &Path::of(&["rules"]).index(at), &mut errors);
    }
    if let Some(aggregation) = role.get("aggregationRule") {
        aggregation_errors(aggregation, &mut errors);
    }
    errors
}

fn rule_errors(rule: &Value, namespaced: bool, path: &Path, errors: &mut Vec<FieldError>) {
    let is_empty = |name: &str| rule.array_at(&[name]).is_empty();
    let mut required = |name: &str, detail: &str| {
        if is_empty(name) {
            errors.push(FieldError::required(path.field(name), detail));
        }
    };
    required("verbs", "verbs must contain at least one value");
    if is_empty("nonResourceURLs") {
        required("apiGroups", "resource rules must supply at least one api group");
        required("resources", "resource rules must supply at least one resource");
        return;
    }
    let mut invalid = |detail: &str| {
        let urls = rule.get("nonResourceURLs").cloned().unwrap_or_default();
        errors.push(FieldError::invalid(path.field("nonResourceURLs"), urls, detail));
    };
    if namespaced {
        invalid("namespaced rules cannot apply to non-resource URLs");
    }
    if !["apiGroups", "resources", "resourceNames"].into_iter().all(is_empty) {
        invalid("rules cannot apply to both regular resources and non-resource URLs");
    }
}

fn aggregation_errors(aggregation: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::of(&["aggregationRule", "clusterRoleSelectors"]);
    let selectors = aggregation.array_at(&["clusterRoleSelectors"]);
    if selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(path.clone(), detail));
    }
    for (at, selector) in selectors.iter().filter_map(Value::as_object).enumerate() {
        errors.extend(validate_structured(selector, &path.index(at)));
        if from_structured(selector).is_err() {
            let detail = "invalid label selector.";
            errors.push(FieldError::invalid(path.index(at), Value::Null, detail));
        }
    }
}

pub(super) fn validate_binding(binding: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let role = |name: &str| text(binding, &["roleRef", name]);
    let path = Path::of(&["roleRef"]);
    supported(role("apiGroup"), &[GROUP], &path.field("apiGroup"), &mut errors);
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    supported(role("kind"), kinds, &path.field("kind"), &mut errors);
    if role("name").is_empty() {
        errors.push(FieldError::required(path.field("name"), ""));
    }
    let invalid = |text| FieldError::invalid(path.field("name"), role("name"), text);
    errors.extend(path_segment(role("name")).into_iter().map(invalid));
    for (at, subject) in binding.array_at(&["subjects"]).iter().enumerate() {
        subject_errors(subject, namespaced, &Path::of(&["subjects"]).index(at), &mut errors);
    }
    errors
}

pub(super) fn validate_binding_update(
    binding: &Value,
    old: &Value,
    namespaced: bool,
) -> Vec<FieldError> {
    let mut errors = validate_binding(binding, namespaced);
    if let (Some(role), Some(before)) = (binding.get("roleRef"), old.get("roleRef"))
        && role != before
    {
        let value = as_struct(role, &ROLE_REF);
        errors.push(FieldError::invalid(Path::of(&["roleRef"]), value, "cannot change roleRef"));
    }
    errors
}

fn subject_errors(subject: &Value, namespaced: bool, path: &Path, errors: &mut Vec<FieldError>) {
    let name = text(subject, &["name"]);
    if name.is_empty() {
        errors.push(FieldError::required(path.field("name"), ""));
    }
    let group = text(subject, &["apiGroup"]);
    match text(subject, &["kind"]) {
        "ServiceAccount" => {
            if !name.is_empty() {
                let invalid = |text| FieldError::invalid(path.field("name"), name, text);
                errors.extend(dns1123_subdomain(name).into_iter().map(invalid));
            }
            supported(group, &[""], &path.field("apiGroup"), errors);
            if !namespaced && text(subject, &["namespace"]).is_empty() {
                errors.push(FieldError::required(path.field("namespace"), ""));
            }
        }
        "User" | "Group" => supported(group, &[GROUP], &path.field("apiGroup"), errors),
        kind => supported(kind, &["ServiceAccount", "User", "Group"], &path.field("kind"), errors),
    }
}

fn supported(value: &str, values: &[&str], path: &Path, errors: &mut Vec<FieldError>) {
    if !values.contains(&value) {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        errors.push(FieldError::not_supported(path.clone(), value, values));
    }
}
