//! What single kinds do beyond their schema: defaults, what a client may not set, and rules.
//!
//! Everything here takes decoded objects in the form in which they are stored
//! ([`Kind::to_stored`]). Rules of `metadata` are those of [`crate::object_meta`] with
//! [`Kind::metadata_checks`] and stand beside these.

mod data;
mod event;
mod lease;
mod namespace;
mod rbac;
mod review;

use super::model::Kind;
use crate::field::FieldError;
use crate::json::{Map, Value};

const IMMUTABLE: &str = "field is immutable";

impl Kind {
    /// Completes a new object and takes out what only the server sets. A generated name is
    /// already in place.
    pub fn prepare_for_create(&self, object: &mut Value) {
        self.set_defaults(object);
        match (self.group, self.kind) {
            ("", "Namespace") => namespace::prepare_for_create(object),
            ("coordination.k8s.io", "Lease") => lease::prepare(object, None),
            _ => {}
        }
    }

    /// Completes an object that replaces `old`, through a subresource (empty: the object
    /// itself), and puts back what may not be changed that way.
    pub fn prepare_for_update(&self, object: &mut Value, old: &Value, subresource: &str) {
        self.set_defaults(object);
        match (self.group, self.kind) {
            ("", "Namespace") => namespace::prepare_for_update(object, old, subresource),
            ("coordination.k8s.io", "Lease") => lease::prepare(object, Some(old)),
            _ => {}
        }
    }

    fn set_defaults(&self, object: &mut Value) {
        match (self.group, self.kind) {
            ("", "Namespace") => namespace::set_label(object),
            ("", "Secret") => data::complete_secret(object),
            ("", "ServiceAccount") => keep_secret_names(object),
            (rbac::GROUP, "RoleBinding" | "ClusterRoleBinding") => rbac::set_groups(object),
            _ => {}
        }
    }

    /// What is wrong with a new object.
    #[must_use]
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        match (self.group, self.kind) {
            ("", "Namespace") => namespace::validate(object),
            ("", "ConfigMap") => data::validate_config_map(object),
            ("", "Secret") => data::validate_secret(object),
            ("" | "events.k8s.io", "Event") => event::validate(object, self.is_new_event()),
            ("coordination.k8s.io", "Lease") => lease::validate(object),
            (rbac::GROUP, "Role") => rbac::validate_role(object, true),
            (rbac::GROUP, "ClusterRole") => rbac::validate_role(object, false),
            (rbac::GROUP, "RoleBinding") => rbac::validate_binding(object, true),
            (rbac::GROUP, "ClusterRoleBinding") => rbac::validate_binding(object, false),
            ("authorization.k8s.io", kind) => review::validate(kind, object),
            _ => Vec::new(),
        }
    }

    /// What is wrong with an object that replaces `old` through a subresource (empty: the
    /// object itself).
    #[must_use]
    pub fn validate_update(
        &self,
        object: &Value,
        old: &Value,
        subresource: &str,
    ) -> Vec<FieldError> {
        match (self.group, self.kind) {
            ("", "Namespace") => namespace::validate_update(object, subresource),
            ("", "ConfigMap") => data::validate_config_map_update(object, old),
            ("", "Secret") => data::validate_secret_update(object, old),
            ("events.k8s.io", "Event") => event::validate_update(object, old),
            (rbac::GROUP, "RoleBinding") => rbac::validate_binding_update(object, old, true),
            (rbac::GROUP, "ClusterRoleBinding") => {
                rbac::validate_binding_update(object, old, false)
            }
            _ => self.validate(object),
        }
    }
}

/// Service accounts name secrets and nothing more of them.
fn keep_secret_names(object: &mut Value) {
    let secrets = object.as_object_mut().and_then(|object| object.get_mut("secrets"));
    if let Some(Value::Array(secrets)) = secrets {
        for secret in secrets.iter_mut().filter_map(Value::as_object_mut) {
            secret.retain(|key, _| key == "name");
        }
    }
}

/// The string at a path; empty if there is none.
fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    object.str_at(path).unwrap_or_default()
}

/// The members at a name; none if there is no object.
fn members<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    object.get(name).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// An object as Go prints a struct without JSON names: these members, in this spelling.
fn as_struct(object: &Value, names: &[(&str, &str)]) -> Value {
    let members = names.iter().map(|&(json, go)| (go, text(object, &[json])));
    members.collect::<Map>().into()
}
