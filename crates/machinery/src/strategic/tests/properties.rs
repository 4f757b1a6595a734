//! What holds for every patch.

use proptest::prelude::*;

use super::TYPES;
use crate::builtin::{self, kinds};
use crate::json::{Map, Value};
use crate::strategic::StrategicPatch;

/// Trees whose members have these names.
fn trees(names: Vec<&'static str>, leaves: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    leaves.prop_recursive(6, 64, 5, move |inner| {
        let name = prop::sample::select(names.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6).prop_map(object),
        ]
    })
}

fn object(members: Vec<(&'static str, Value)>) -> Value {
    members.into_iter().collect::<Map>().into()
}

fn leaves() -> BoxedStrategy<Value> {
    prop_oneof![
        (0..3).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec!["a", "b", "delete", "replace", "merge"]).prop_map(Value::from),
    ]
    .boxed()
}

fn leaves_and_null() -> BoxedStrategy<Value> {
    prop_oneof![4 => leaves(), 1 => Just(Value::Null)].boxed()
}

/// Members of the types of these tests.
const MEMBERS: [&str; 12] = [
    "metadata",
    "finalizers",
    "ownerReferences",
    "uid",
    "spec",
    "containers",
    "name",
    "env",
    "ports",
    "containerPort",
    "parent",
    "nodeSelector",
];

const DIRECTIVES: [&str; 8] = [
    "$patch",
    "$retainKeys",
    "$deleteFromPrimitiveList/finalizers",
    "$setElementOrder/finalizers",
    "$setElementOrder/containers",
    "$setElementOrder/env",
    "$setElementOrder/ports",
    "$setElementOrder/ownerReferences",
];

/// Pods, as far as the shape of their lists goes: what a server may have stored.
fn pods() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let list = |key: &'static str, members: BoxedStrategy<Vec<(&'static str, Value)>>| {
        let elements = prop::collection::btree_map(name(), members, 0..4);
        let element = move |(name, mut members): (&str, Vec<(&'static str, Value)>)| {
            members.push((key, name.into()));
            object(members)
        };
        elements.prop_map(move |elements| elements.into_iter().map(element).collect::<Value>())
    };
    let text = |member: &'static str| {
        prop::option::of(name()).prop_map(move |text| {
            text.map(|text| (member, Value::from(text))).into_iter().collect::<Vec<_>>()
        })
    };
    let envs = list("name", text("value").boxed());
    let container = (text("image"), prop::option::of(envs)).prop_map(|(mut members, env)| {
        members.extend(env.map(|env| ("env", env)));
        members
    });
    let containers = list("name", container.boxed());
    let owners = list("uid", text("name").boxed());
    let finalizers = prop::collection::btree_set(name(), 0..4);
    (containers, owners, finalizers, text("a")).prop_map(
        |(containers, owners, finalizers, labels)| {
            let finalizers = finalizers.into_iter().collect::<Value>();
            let metadata = vec![
                ("finalizers", finalizers),
                ("ownerReferences", owners),
                ("labels", object(labels)),
            ];
            object(vec![
                ("metadata", object(metadata)),
                ("spec", object(vec![("containers", containers)])),
            ])
        },
    )
}

/// A patched pod; nothing where the patch is refused.
fn patched(pod: &Value, patch: &Value) -> Option<Value> {
    let table = builtin::read_table(TYPES);
    let patch = StrategicPatch(patch.as_object().cloned().unwrap_or_default());
    patch.apply_in(&table, pod.clone(), table.message("core.Pod").unwrap()).ok()
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
        let _ = StrategicPatch::decode(&bytes);
    }

    #[test]
    fn no_patch_panics(
        pod in trees(MEMBERS.into(), leaves_and_null()),
        patch in trees([&MEMBERS[..], &DIRECTIVES[..]].concat(), leaves_and_null()),
    ) {
        let _ = patched(&pod, &patch);
        for kind in kinds() {
            let patch = StrategicPatch(patch.as_object().cloned().unwrap_or_default());
            let _ = patch.apply(pod.clone(), kind.message());
        }
    }

    #[test]
    fn the_empty_patch_changes_nothing(pod in pods()) {
        prop_assert_eq!(patched(&pod, &Value::object()), Some(pod));
    }

    #[test]
    fn an_object_is_a_patch_that_makes_it_of_nothing(pod in pods()) {
        prop_assert_eq!(patched(&Value::object(), &pod), Some(pod));
    }

    #[test]
    fn what_is_there_already_changes_nothing(pod in pods()) {
        prop_assert_eq!(patched(&pod, &pod), Some(pod));
    }

    #[test]
    fn applied_again_a_patch_changes_nothing(pod in pods(), patch in pods()) {
        let once = patched(&pod, &patch).unwrap();
        prop_assert_eq!(patched(&once, &patch), Some(once));
    }
}
