//! Which binding brings which resource into a logical cluster.
//!
//! The LogicalCluster object says it in an annotation, which changes in the same transaction as
//! the binding. So of two bindings that want the same name at the same time, one gets it.

use strait_api::well_known::RESOURCE_BINDINGS;
use strait_machinery::json::{Map, Value, parse};
use strait_machinery::object;

use crate::binding::BoundResource;

/// The holders of a logical cluster's resources, as an annotation of kcp's form:
/// `{"plural.group": {"n": binding}}`. Entries of another form are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Locks(Map);

impl Locks {
    /// Reads a LogicalCluster object.
    pub(crate) fn of(logical_cluster: &Value) -> Self {
        let text = logical_cluster.str_at(&["metadata", "annotations", RESOURCE_BINDINGS]);
        let read = text.and_then(|text| parse(text.as_bytes()).ok());
        Self(read.and_then(|value| value.as_object().cloned()).unwrap_or_default())
    }

    /// The binding that has a resource.
    pub(crate) fn holder(&self, resource: &BoundResource) -> Option<&str> {
        self.0.get(&name_of(resource))?.str_at(&["n"])
    }

    /// Gives resources to a binding.
    pub(crate) fn take<'a>(
        &mut self,
        binding: &str,
        resources: impl Iterator<Item = &'a BoundResource>,
    ) {
        for resource in resources {
            self.0.insert(name_of(resource), object! {"n": binding});
        }
    }

    /// Takes from a binding all that it has.
    pub(crate) fn release(&mut self, binding: &str) {
        self.0.retain(|_, holder| holder.str_at(&["n"]) != Some(binding));
    }

    /// Writes itself into a LogicalCluster object.
    pub(crate) fn write(self, logical_cluster: &mut Value) {
        let metadata = logical_cluster.make_object().object_mut("metadata");
        let text = Value::from(self.0).to_string();
        metadata.object_mut("annotations").insert(RESOURCE_BINDINGS, text);
    }
}

fn name_of(resource: &BoundResource) -> String {
    format!("{}.{}", resource.resource, resource.group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widgets() -> BoundResource {
        BoundResource {
            group: "example.io".into(),
            resource: "widgets".into(),
            schema_uid: String::new(),
            identity: String::new(),
        }
    }

    #[test]
    fn what_a_binding_takes_it_has_until_it_gives_it_back() {
        let mut object = Value::object();
        let kept = r#"{"crds.example.io":{"c":true,"e":"x"}}"#;
        object.set(&["metadata", "annotations", RESOURCE_BINDINGS], kept);
        let mut locks = Locks::of(&object);
        assert_eq!(locks.holder(&widgets()), None);
        locks.take("a", [widgets()].iter());
        locks.clone().write(&mut object);
        assert_eq!(Locks::of(&object), locks);
        assert_eq!(locks.holder(&widgets()), Some("a"));
        locks.release("b");
        assert_eq!(locks.holder(&widgets()), Some("a"));
        locks.release("a");
        locks.write(&mut object);
        let text = object.str_at(&["metadata", "annotations", RESOURCE_BINDINGS]);
        assert_eq!(text, Some(kept));
    }

    #[test]
    fn an_annotation_that_is_no_map_holds_nothing() {
        for text in ["", "[]", "{", "7"] {
            let mut object = Value::object();
            object.set(&["metadata", "annotations", RESOURCE_BINDINGS], text);
            assert_eq!(Locks::of(&object), Locks::default(), "{text}");
        }
    }
}
