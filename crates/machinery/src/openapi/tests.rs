//! What kubectl needs of the documents; that a kube-apiserver 1.34 publishes the same types,
//! required members and merge keys was compared once, definition by definition.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::builtin::kinds;
use crate::discovery::Subresource;
use crate::json::parse;
use crate::schema::{Array, Bounds, ListType, Object, Property, Schema, Shape};

fn builtins() -> Vec<Resource> {
    kinds().iter().map(Resource::of_builtin).collect()
}

fn versions(resources: &[Resource]) -> BTreeSet<GroupVersion> {
    resources.iter().map(|resource| resource.gvk.group_version()).collect()
}

fn documents() -> Vec<Value> {
    let resources = builtins();
    let all: Vec<_> = resources.iter().collect();
    versions(&resources).iter().map(|version| document(version, &all)).collect()
}

/// Calls `visit` with every object in a tree.
fn walk(value: &Value, visit: &mut impl FnMut(&Map)) {
    match value {
        Value::Object(map) => {
            visit(map);
            map.iter().for_each(|(_, value)| walk(value, visit));
        }
        Value::Array(elements) => elements.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

/// Every operation of a document, with its path and method.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in document.get("paths").unwrap().as_object().unwrap().iter() {
        for (method, operation) in item.as_object().unwrap().iter() {
            if method != "parameters" {
                operations.push((path, method, operation));
            }
        }
    }
    operations
}

#[test]
fn every_reference_has_its_definition() {
    for document in documents() {
        let schemas = document.at(&["components", "schemas"]).unwrap().as_object().unwrap();
        walk(&document, &mut |map| {
            if let Some(Value::String(target)) = map.get("$ref") {
                let name = target.strip_prefix("#/components/schemas/").unwrap();
                assert!(schemas.contains_key(name), "{name}");
            }
        });
    }
}

#[test]
fn patches_say_how_they_may_be_sent() {
    let mut patches = 0;
    for document in documents() {
        for (path, method, operation) in operations(&document) {
            if method != "patch" {
                continue;
            }
            patches += 1;
            let types = operation.at(&["requestBody", "content"]).unwrap().as_object().unwrap();
            let types: Vec<_> = types.keys().collect();
            assert_eq!(
                types,
                [
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/strategic-merge-patch+json"
                ],
                "{path}"
            );
            let names: Vec<_> = operation
                .array_at(&["parameters"])
                .iter()
                .filter_map(|one| one.str_at(&["name"]))
                .collect();
            assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation"], "{path}");
        }
    }
    assert_eq!(patches, 12);
}

#[test]
fn operations_have_ids_of_their_own_and_name_their_kind() {
    let mut ids = BTreeSet::new();
    let documents = documents();
    for document in &documents {
        for (path, method, operation) in operations(document) {
            let id = operation.str_at(&["operationId"]).unwrap();
            assert!(ids.insert(id), "{id} twice");
            assert!(
                operation.str_at(&["x-kubernetes-group-version-kind", "kind"]).is_some(),
                "{method} {path}"
            );
        }
    }
    for id in [
        "createCoreV1Namespace",
        "createCoreV1NamespacedConfigMap",
        "deleteCoreV1CollectionNamespacedConfigMap",
        "listCoreV1ConfigMapForAllNamespaces",
        "replaceCoreV1NamespaceFinalize",
        "patchCoreV1NamespaceStatus",
        "readCoordinationV1NamespacedLease",
        "listRbacAuthorizationV1ClusterRole",
        "createAuthorizationV1NamespacedLocalSubjectAccessReview",
        "createAuthenticationV1SelfSubjectReview",
    ] {
        assert!(ids.contains(id), "{id}");
    }
}

#[test]
fn definitions_carry_what_strategic_merge_and_explain_read() {
    let resources = builtins();
    let all: Vec<_> = resources.iter().collect();
    let core = document(&GroupVersion::new("", "v1"), &all);
    let at = |name: &str| core.at(&["components", "schemas", name]).unwrap();
    let secrets = at("io.k8s.api.core.v1.ServiceAccount").at(&["properties", "secrets"]).unwrap();
    assert_eq!(secrets.str_at(&["x-kubernetes-patch-merge-key"]), Some("name"));
    assert_eq!(secrets.str_at(&["x-kubernetes-patch-strategy"]), Some("merge"));
    assert_eq!(secrets.str_at(&["x-kubernetes-list-type"]), Some("map"));
    let metadata = at("io.k8s.api.core.v1.ServiceAccount").at(&["properties", "metadata"]).unwrap();
    let target = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    assert_eq!(metadata.array_at(&["allOf"])[0].str_at(&["$ref"]), Some(target));
    let phase = at("io.k8s.api.core.v1.NamespaceStatus").at(&["properties", "phase"]).unwrap();
    assert_eq!(phase.array_at(&["enum"]), ["Active".into(), "Terminating".into()]);
    let list = at("io.k8s.api.core.v1.ConfigMapList");
    assert_eq!(
        list.array_at(&["x-kubernetes-group-version-kind"])[0].to_string(),
        r#"{"group":"","kind":"ConfigMapList","version":"v1"}"#
    );
    walk(&core, &mut |map| assert_ne!(map.get("description"), Some(&"".into())));
}

fn property(name: &str, schema: Schema, required: bool) -> Property {
    Property {
        name: name.into(),
        schema: Arc::new(schema),
        required,
        number: 0,
        patch_strategy: "".into(),
        patch_merge_key: "".into(),
    }
}

fn of(shape: Shape) -> Schema {
    Schema { shape, ..Schema::default() }
}

fn object_of(properties: Vec<Property>) -> Schema {
    of(Shape::Object(Object { properties, ..Object::default() }))
}

/// Members that say a little of everything.
fn spec() -> Schema {
    let bounds = Bounds { minimum: Some((0.0, true)), max_items: Some(3), ..Bounds::default() };
    let number =
        Schema { bounds: Some(Box::new(bounds)), format: "int32".into(), ..of(Shape::Integer) };
    let item = object_of(vec![property("k", of(Shape::String), true)]);
    let list = Array { items: Arc::new(item), list_type: ListType::Map(vec!["k".into()]) };
    let additional = Some(Arc::new(of(Shape::String)));
    let map = of(Shape::Object(Object { additional, ..Object::default() }));
    let text = Schema {
        default: Some("a".into()),
        enumeration: vec!["a".into()],
        nullable: true,
        ..of(Shape::String)
    };
    let members = vec![
        property("i", number, false),
        property("ios", of(Shape::IntOrString), false),
        property("list", of(Shape::Array(list)), false),
        property("map", map, false),
        property("s", text, true),
    ];
    Schema { preserve_unknown: true, ..object_of(members) }
}

fn widget() -> Resource {
    let boxed = |texts: &[&str]| texts.iter().map(|text| (*text).into()).collect::<Vec<Box<str>>>();
    let gvk = GroupVersionKind::new("builtin.test", "v1", "Widget");
    let status = Subresource {
        name: "status".into(),
        gvk: gvk.clone(),
        verbs: boxed(&["get", "patch", "update"]),
    };
    let root = object_of(vec![property("spec", spec(), true)]);
    Resource {
        plural: "widgets".into(),
        singular: "widget".into(),
        list_kind: "WidgetList".into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        verbs: boxed(&["create", "get", "list", "patch", "update"]),
        subresources: vec![status],
        schema: Arc::new(Schema { description: "a widget".into(), ..root }),
        origin: Origin::Custom,
        gvk,
    }
}

#[test]
fn a_custom_kind_is_published_as_its_schema_says() {
    let widget = widget();
    let mut document = document(&widget.gvk.group_version(), &[&widget]);
    let mut definition =
        document.remove(&["components", "schemas", "test.builtin.v1.Widget"]).unwrap();
    for name in ["apiVersion", "kind", "metadata"] {
        assert!(definition.remove(&["properties", name]).is_some());
    }
    let expected = r#"{"description":"a widget","type":"object","required":["spec"],"properties":{"spec":{"type":"object","required":["s"],"properties":{
        "i":{"type":"integer","format":"int32","minimum":0,"exclusiveMinimum":true,"maxItems":3},
        "ios":{"x-kubernetes-int-or-string":true},
        "list":{"type":"array","items":{"type":"object","required":["k"],"properties":{"k":{"type":"string"}}},"x-kubernetes-list-map-keys":["k"],"x-kubernetes-list-type":"map"},
        "map":{"type":"object","additionalProperties":{"type":"string"}},
        "s":{"type":"string","default":"a","enum":["a"],"nullable":true}
    },"x-kubernetes-preserve-unknown-fields":true}},"x-kubernetes-group-version-kind":[{"group":"builtin.test","kind":"Widget","version":"v1"}]}"#;
    assert_eq!(definition, parse(expected.as_bytes()).unwrap());
    let status = "/apis/builtin.test/v1/namespaces/{namespace}/widgets/{name}/status";
    let patch = document.at(&["paths", status, "patch"]).unwrap();
    assert_eq!(patch.str_at(&["operationId"]), Some("patchBuiltinTestV1NamespacedWidgetStatus"));
    let types = patch.at(&["requestBody", "content"]).unwrap().as_object().unwrap();
    assert!(!types.contains_key("application/strategic-merge-patch+json"));
}

#[test]
fn equal_lists_make_equal_bytes() {
    let resources = builtins();
    let there: Vec<_> = resources.iter().collect();
    let back: Vec<_> = resources.iter().rev().collect();
    for version in versions(&resources) {
        assert_eq!(document(&version, &there).to_bytes(), document(&version, &back).to_bytes());
    }
}

#[test]
fn the_index_says_where_documents_are() {
    let (core, apps) = (GroupVersion::new("", "v1"), GroupVersion::new("apps", "v1"));
    assert_eq!(
        index("/clusters/root", [(&core, "A"), (&apps, "B")]).to_string(),
        r#"{"paths":{"api/v1":{"serverRelativeURL":"/clusters/root/openapi/v3/api/v1?hash=A"},"apis/apps/v1":{"serverRelativeURL":"/clusters/root/openapi/v3/apis/apps/v1?hash=B"}}}"#
    );
}

#[test]
fn the_older_document_has_every_definition_without_what_it_cannot_say() {
    let documents = documents();
    let combined = v2::combined(&documents);
    let definitions = combined.get("definitions").unwrap().as_object().unwrap();
    for document in &documents {
        let schemas = document.at(&["components", "schemas"]).unwrap().as_object().unwrap();
        assert!(schemas.keys().all(|name| definitions.contains_key(name)));
    }
    walk(&combined, &mut |map| {
        if let Some(Value::String(target)) = map.get("$ref") {
            let name = target.strip_prefix("#/definitions/").unwrap();
            assert!(definitions.contains_key(name), "{name}");
        }
        assert!(!map.contains_key("nullable") && !map.contains_key("anyOf"));
    });
    let options = definitions.get(definitions::DELETE_OPTIONS).unwrap();
    assert!(options.array_at(&[definitions::GVK]).len() > 1, "an option of every group");
}

#[test]
fn the_older_document_is_written_in_protobuf() {
    let schema = parse(
        br##"{"type":"object","maxItems":300,"maximum":1.5,"required":["a"],"x-y":{"k":1},
            "properties":{"a":{"$ref":"#/definitions/A"}},"additionalProperties":{"type":"string"}}"##,
    )
    .unwrap();
    let document = object! {
        "swagger": "2.0",
        "info": object! {"title": "t", "version": "v"},
        "paths": Value::object(),
        "definitions": object! {"D": schema},
    };
    let expected: &[&[u8]] = &[
        b"\x0a\x032.0\x12\x06\x0a\x01t\x12\x01v\x42\x00",
        b"\x4a\x60\x0a\x5e\x0a\x01D\x12\x59",
        b"\x39\x00\x00\x00\x00\x00\x00\xf8\x3f\x70\xac\x02\x9a\x01\x01a",
        b"\xaa\x01\x0d\x0a\x0b\xb2\x01\x08\x0a\x06string\xb2\x01\x08\x0a\x06object",
        b"\xca\x01\x18\x0a\x16\x0a\x01a\x12\x11\x0a\x0f#/definitions/A",
        b"\xfa\x01\x10\x0a\x03x-y\x12\x09\x12\x07{\"k\":1}",
    ];
    assert_eq!(gnostic::encode(&document), expected.concat());
}
