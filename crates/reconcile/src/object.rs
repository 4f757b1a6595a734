//! An object as it came from a server, checked as far as it is used in paths and keys.

use std::sync::Arc;

use strait_api::well_known::CLUSTER;
use strait_machinery::json::Value;
use strait_types::{ClusterName, Uid, is_dns1123_subdomain};

use crate::ObjectKey;

/// Annotation in which clients keep a whole copy of what they applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a server sent is not an object that can be told apart from others, or named in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an object without a usable {0}")]
pub struct MalformedObject(&'static str);

/// An object, without what no controller reads (`managedFields`, the last applied
/// configuration).
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its key.
    pub key: ObjectKey,
    /// `metadata.resourceVersion`, opaque.
    pub version: Box<str>,
    /// All of it.
    pub value: Value,
}

impl Object {
    /// Takes what a server sent.
    ///
    /// # Errors
    /// It has no name, namespace, uid, resource version or logical cluster of the form that the
    /// server should have checked.
    pub fn new(endpoint: &Arc<str>, mut value: Value) -> Result<Self, MalformedObject> {
        value.remove(&["metadata", "managedFields"]);
        value.remove(&["metadata", "annotations", LAST_APPLIED]);
        let metadata = |field: &str| value.str_at(&["metadata", field]);
        let usable = |name: &&str| is_dns1123_subdomain(name);
        let name = metadata("name").filter(usable).ok_or(MalformedObject("name"))?;
        let namespace = match metadata("namespace") {
            None | Some("") => None,
            Some(name) if usable(&name) => Some(name.into()),
            Some(_) => return Err(MalformedObject("namespace")),
        };
        let uid = metadata("uid").and_then(|uid| uid.parse::<Uid>().ok());
        let version = metadata("resourceVersion").filter(|version| !version.is_empty());
        let cluster = value.str_at(&["metadata", "annotations", CLUSTER]);
        let cluster = cluster.and_then(|cluster| ClusterName::new(cluster).ok());
        let key = ObjectKey {
            endpoint: endpoint.clone(),
            cluster: cluster.ok_or(MalformedObject("logical cluster"))?,
            namespace,
            name: name.into(),
            uid: uid.ok_or(MalformedObject("uid"))?,
        };
        let version = version.ok_or(MalformedObject("resource version"))?.into();
        Ok(Self { key, version, value })
    }

    /// Whether its deletion was asked for.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.value.at(&["metadata", "deletionTimestamp"]).is_some_and(|time| !time.is_null())
    }

    /// The names of its finalizers.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.value.array_at(&["metadata", "finalizers"]).iter().filter_map(Value::as_str)
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.value.str_at(&["metadata", "annotations", name])
    }
}

#[cfg(test)]
mod tests {
    use strait_machinery::json::parse;

    use super::*;

    const TEXT: &str = r#"{"metadata":{
        "name":"a","namespace":"ns","uid":"6f1c2c1e-5b0a-4d6f-8e2b-0f8f3c0d9a11",
        "resourceVersion":"7","managedFields":[{}],"finalizers":["x/y"],
        "annotations":{"kcp.io/cluster":"37qd",
            "kubectl.kubernetes.io/last-applied-configuration":"{}"}}}"#;

    fn object(change: impl FnOnce(&mut Value)) -> Result<Object, MalformedObject> {
        let mut value = parse(TEXT.as_bytes()).unwrap();
        change(&mut value);
        Object::new(&"hub".into(), value)
    }

    #[test]
    fn what_nobody_reads_is_dropped() {
        let object = object(|_| {}).unwrap();
        assert_eq!(object.key.to_string(), "hub|37qd|ns/a");
        assert_eq!(&*object.version, "7");
        assert!(object.value.at(&["metadata", "managedFields"]).is_none());
        assert!(object.annotation(LAST_APPLIED).is_none());
        assert_eq!(object.finalizers().collect::<Vec<_>>(), ["x/y"]);
        assert!(!object.is_deleting());
    }

    #[test]
    fn what_cannot_be_told_apart_or_named_is_refused() {
        for (path, bad) in [
            (&["metadata", "name"][..], "../../x"),
            (&["metadata", "name"], ""),
            (&["metadata", "namespace"], "a?b"),
            (&["metadata", "uid"], "7"),
            (&["metadata", "resourceVersion"], ""),
            (&["metadata", "annotations", CLUSTER], "*"),
            (&["metadata", "annotations", CLUSTER], "root:x"),
        ] {
            assert!(object(|value| value.set(path, bad)).is_err(), "{path:?} {bad}");
        }
        assert!(Object::new(&"hub".into(), Value::Null).is_err());
    }
}
