//! The controllers that tenancy needs.

mod bindings;
mod exports;
mod namespaces;
mod purge;
mod workspaces;

use std::sync::Arc;

use strait_machinery::json::Value;
use strait_machinery::object;
use strait_runtime::{Shutdown, TaskSet};

use crate::System;
use crate::controller::start;

pub(crate) use self::bindings::{bound_resource, bound_status};
pub(crate) use self::exports::{identity_hash, new_identity, slice_status};

/// Starts them all. They end when `stop` is asked.
pub(crate) fn start_all(system: &Arc<System>, tasks: &TaskSet, stop: &Shutdown) {
    let store = system.tenancy.store();
    start(Arc::new(exports::Exports::new(system.clone())), store, tasks, stop);
    start(Arc::new(bindings::Bindings::new(system.clone())), store, tasks, stop);
    start(Arc::new(workspaces::Workspaces::new(system.clone())), store, tasks, stop);
    start(Arc::new(namespaces::Namespaces::new(system.clone())), store, tasks, stop);
}

/// Sets a condition in the form of kcp's; its time changes only with its status.
pub(crate) fn set_condition(
    object: &mut Value,
    kind: &str,
    (status, reason, message): (&str, &str, &str),
    now: &str,
) {
    let since = object
        .array_at(&["status", "conditions"])
        .iter()
        .find(|own| own.str_at(&["type"]) == Some(kind) && own.str_at(&["status"]) == Some(status))
        .and_then(|own| own.str_at(&["lastTransitionTime"]))
        .unwrap_or(now)
        .to_owned();
    let mut condition = object! {"type": kind, "status": status, "lastTransitionTime": since};
    if !reason.is_empty() {
        condition.set(&["reason"], reason);
        condition.set(&["severity"], "Error");
    }
    if !message.is_empty() {
        condition.set(&["message"], message);
    }
    let status = object.make_object().object_mut("status");
    let conditions = status.entry("conditions", || Value::Array(Vec::new()));
    if !matches!(conditions, Value::Array(_)) {
        *conditions = Value::Array(Vec::new());
    }
    if let Value::Array(conditions) = conditions {
        match conditions.iter_mut().find(|own| own.str_at(&["type"]) == Some(kind)) {
            Some(own) => *own = condition,
            None => conditions.push(condition),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let mut object = Value::object();
        set_condition(&mut object, "Ready", ("True", "", ""), "t1");
        set_condition(&mut object, "Other", ("True", "", ""), "t1");
        set_condition(&mut object, "Ready", ("True", "", ""), "t2");
        let time = |object: &Value| {
            object.array_at(&["status", "conditions"])[0]
                .str_at(&["lastTransitionTime"])
                .unwrap()
                .to_owned()
        };
        assert_eq!(time(&object), "t1");
        set_condition(&mut object, "Ready", ("False", "Because", "it is"), "t3");
        assert_eq!(time(&object), "t3");
        assert_eq!(object.array_at(&["status", "conditions"]).len(), 2);
    }
}
