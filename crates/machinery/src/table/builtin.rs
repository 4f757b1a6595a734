//! Columns of the built-in kinds, as kube-apiserver 1.34 prints them
//! (`pkg/printers/internalversion`).

use jiff::Timestamp;

use super::age_of;
use crate::builtin::{Kind, Layout};
use crate::json::{Map, Value};
use crate::object;

/// A column and how its cells come about.
#[derive(Debug)]
pub(super) struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    description: &'static str,
    /// Shown only by `-o wide`.
    wide: bool,
    pub(super) cell: fn(&Value, Timestamp) -> Value,
}

impl Column {
    pub(super) fn definition(&self) -> Value {
        definition(self.name, self.kind, self.format, self.description, u32::from(self.wide))
    }
}

/// One of a table's `columnDefinitions`.
pub(super) fn definition(
    name: &str,
    kind: &str,
    format: &str,
    description: &str,
    priority: impl Into<Value>,
) -> Value {
    object! {
        "name": name,
        "type": kind,
        "format": format,
        "description": description,
        "priority": priority,
    }
}

const fn column(
    name: &'static str,
    description: &'static str,
    cell: fn(&Value, Timestamp) -> Value,
) -> Column {
    Column { name, kind: "string", format: "", description, wide: false, cell }
}

const fn wide(
    name: &'static str,
    description: &'static str,
    cell: fn(&Value, Timestamp) -> Value,
) -> Column {
    Column { wide: true, ..column(name, description, cell) }
}

/// The first column of most kinds.
pub(super) const NAME: Column = Column {
    format: "name",
    ..column("Name", "Name of the object.", |object, _| text(object, &["metadata", "name"]))
};

const AGE: Column = column("Age", "How long ago the object was created.", |object, now| {
    age_of(created(object), Layout::Seconds, now)
});

const CREATED: Column = Column {
    kind: "date",
    ..column("Created At", "When the object was created.", |object, _| {
        text(object, &["metadata", "creationTimestamp"])
    })
};

const NAMESPACE: &[Column] = &[
    NAME,
    column("Status", "Whether the namespace is active or going away.", |object, _| {
        text(object, &["status", "phase"])
    }),
    AGE,
];

const CONFIG_MAP: &[Column] = &[
    NAME,
    column("Data", "How many values there are.", |object, _| {
        (count(object, "data") + count(object, "binaryData")).into()
    }),
    AGE,
];

const SECRET: &[Column] = &[
    NAME,
    column("Type", "What the secret is for.", |object, _| text(object, &["type"])),
    column("Data", "How many values there are.", |object, _| count(object, "data").into()),
    AGE,
];

const SERVICE_ACCOUNT: &[Column] = &[
    NAME,
    column("Secrets", "How many secrets it names.", |object, _| {
        object.array_at(&["secrets"]).len().into()
    }),
    AGE,
];

const LEASE: &[Column] = &[
    NAME,
    column("Holder", "Who holds the lease.", |object, _| text(object, &["spec", "holderIdentity"])),
    AGE,
];

const ROLE: &[Column] = &[NAME, CREATED];

const BINDING: &[Column] = &[
    NAME,
    column("Role", "The role that is granted.", |object, _| {
        let role = |name| object.str_at(&["roleRef", name]).unwrap_or_default();
        format!("{}/{}", role("kind"), role("name")).into()
    }),
    AGE,
    wide("Users", "Users who get it.", |object, _| subjects(object, "User")),
    wide("Groups", "Groups that get it.", |object, _| subjects(object, "Group")),
    wide("ServiceAccounts", "Service accounts that get it.", |object, _| {
        subjects(object, "ServiceAccount")
    }),
];

const EVENT: &[Column] = &[
    column("Last Seen", "How long ago it was last seen.", last_seen),
    column("Type", "Normal or Warning.", |object, _| text(object, &["type"])),
    column("Reason", "Why it happened, in one word.", |object, _| text(object, &["reason"])),
    column("Object", "The object that it happened to.", |object, _| about(object)),
    wide("Subobject", "The part of the object that it happened to.", |object, _| {
        text(object, &["involvedObject", "fieldPath"])
    }),
    wide("Source", "What reports it.", |object, _| source(object)),
    column("Message", "What happened.", |object, _| {
        object.str_at(&["message"]).unwrap_or_default().trim().into()
    }),
    wide("First Seen", "How long ago it was first seen.", first_seen),
    wide("Count", "How often it was seen.", |object, _| seen(object)),
    Column {
        format: "name",
        ..wide("Name", "Name of the event.", |object, _| text(object, &["metadata", "name"]))
    },
];

/// The columns of a kind that has stored objects.
pub(super) fn columns(kind: &Kind) -> Option<&'static [Column]> {
    Some(match kind.kind {
        "Namespace" => NAMESPACE,
        "ConfigMap" => CONFIG_MAP,
        "Secret" => SECRET,
        "ServiceAccount" => SERVICE_ACCOUNT,
        "Event" => EVENT,
        "Lease" => LEASE,
        "Role" | "ClusterRole" => ROLE,
        "RoleBinding" | "ClusterRoleBinding" => BINDING,
        _ if kind.verbs.contains(&"list") => &[NAME, CREATED],
        _ => return None,
    })
}

fn text(object: &Value, path: &[&str]) -> Value {
    object.str_at(path).unwrap_or_default().into()
}

fn created(object: &Value) -> Option<&str> {
    object.str_at(&["metadata", "creationTimestamp"])
}

fn count(object: &Value, name: &str) -> usize {
    object.get(name).and_then(Value::as_object).map_or(0, Map::len)
}

/// Names of a binding's subjects of a kind.
fn subjects(object: &Value, kind: &str) -> Value {
    let of_kind = |subject: &&Value| subject.str_at(&["kind"]) == Some(kind);
    let name = |subject: &Value| {
        let text = |name| subject.str_at(&[name]).unwrap_or_default();
        if kind == "ServiceAccount" {
            format!("{}/{}", text("namespace"), text("name"))
        } else {
            text("name").to_owned()
        }
    };
    let names: Vec<_> = object.array_at(&["subjects"]).iter().filter(of_kind).map(name).collect();
    names.join(", ").into()
}

fn first_seen(event: &Value, now: Timestamp) -> Value {
    match event.str_at(&["firstTimestamp"]) {
        Some(first) => age_of(Some(first), Layout::Seconds, now),
        None => age_of(event.str_at(&["eventTime"]), Layout::Micros, now),
    }
}

fn last_seen(event: &Value, now: Timestamp) -> Value {
    if let Some(series) = event.get("series") {
        return age_of(series.str_at(&["lastObservedTime"]), Layout::Micros, now);
    }
    match event.str_at(&["lastTimestamp"]) {
        Some(last) => age_of(Some(last), Layout::Seconds, now),
        None => first_seen(event, now),
    }
}

/// Events of the new form have no count outside of a series.
fn seen(event: &Value) -> Value {
    let number = |path: &[&str]| event.at(path).and_then(Value::as_i64).unwrap_or(0);
    match (event.get("series"), number(&["count"])) {
        (Some(_), _) => number(&["series", "count"]).into(),
        (None, 0) => 1.into(),
        (None, count) => count.into(),
    }
}

fn about(event: &Value) -> Value {
    let part = |name| event.str_at(&["involvedObject", name]).unwrap_or_default();
    let kind = part("kind").to_lowercase();
    match part("name") {
        "" => kind.into(),
        name => format!("{kind}/{name}").into(),
    }
}

fn source(event: &Value) -> Value {
    let first = |old: &[&str], new: &str| {
        let old = event.str_at(old).filter(|text| !text.is_empty());
        old.or_else(|| event.str_at(&[new])).unwrap_or_default().to_owned()
    };
    let component = first(&["source", "component"], "reportingComponent");
    let instance = first(&["source", "host"], "reportingInstance");
    if instance.is_empty() { component.into() } else { format!("{component}, {instance}").into() }
}
