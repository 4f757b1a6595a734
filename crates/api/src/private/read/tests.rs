//! Mistakes with their places, defaults, and that schemas and structs say the same.

use std::collections::BTreeSet;

use serde::Serialize;
use strait_machinery::json::parse;
use strait_machinery::schema::{Array, Object, Schema, Shape};

use super::*;

fn mistakes(text: &str) -> Vec<String> {
    let mistakes = read(&[Source { file: "a.yaml", text }]).mistakes;
    mistakes.iter().map(ToString::to_string).collect()
}

const ENDPOINT: &str = "\
apiVersion: requests.strait.dev/v1alpha1
kind: RemoteEndpoint
metadata: {name: hub}
spec: {workspace: 'root:provider', endpointSlice: signing}
";

#[test]
fn every_mistake_of_every_document_is_told_with_its_place() {
    let text = "\
apiVersion: requests.strait.dev/v1alpha1
kind: RemoteEndpoint
metadata: {name: Hub, labels: {a: b}}
spec:
  workspace: 7
  endpointslice: signing
---
kind: RequestPoliccy
---
---
apiVersion: requests.strait.dev/v2
kind: RequestClass
metadata: {name: sign}
spec:
  executionTimeout: 10 minutes
  results:
  - {name: a, from: signature}
  executor:
    http: {url: ftp://x}
    process: {program: sign, isolation: some}
";
    let texts = mistakes(text);
    let expected = [
        "a.yaml:3:12: metadata.name: Invalid value: \"Hub\": must be a DNS subdomain",
        "a.yaml:3:23: unknown field \"metadata.labels\"",
        "a.yaml:4:1: spec.endpointSlice: Required value",
        "a.yaml:5:3: spec.workspace: Invalid value: \"integer\"",
        "a.yaml:6:3: unknown field \"spec.endpointslice\"",
        "a.yaml:8:1: kind: Unsupported value: \"RequestPoliccy\"",
        "a.yaml:11:1: apiVersion: Unsupported value: \"requests.strait.dev/v2\"",
        "a.yaml:15:3: spec.executionTimeout: Invalid value: \"10 minutes\"",
        "a.yaml:17:15: spec.results[0].from: Invalid value: \"signature\"",
        "a.yaml:18:3: spec.executor: ",
        "a.yaml:19:12: spec.executor.http.url: Invalid value: \"ftp://x\"",
        "a.yaml:20:15: spec.executor.process.program: Invalid value: \"sign\"",
        "a.yaml:20:30: spec.executor.process.isolation: Unsupported value: \"some\"",
    ];
    assert_eq!(texts.len(), expected.len(), "{texts:#?}");
    for (text, expected) in texts.iter().zip(expected) {
        assert!(text.starts_with(expected), "{text}\n{expected}");
    }
}

#[test]
fn a_file_that_is_not_yaml_does_not_hide_the_others() {
    let sources = [
        Source { file: "bad.yaml", text: "a: [" },
        Source { file: "good.yaml", text: ENDPOINT },
        Source { file: "empty.yaml", text: "# nothing\n" },
        Source { file: "list.yaml", text: "- 1\n" },
    ];
    let Documents { located, mistakes, .. } = read(&sources);
    let files: Vec<_> = mistakes.iter().map(|mistake| mistake.file.as_str()).collect();
    assert_eq!(files, ["bad.yaml", "list.yaml"]);
    assert_eq!(located.len(), 1);
    let mistake =
        located[0].mistake(&FieldError::not_found(Path::of(&["spec", "endpointSlice"]), "signing"));
    assert_eq!(mistake.to_string(), "good.yaml:4:36: spec.endpointSlice: Not found: \"signing\"");
}

#[test]
fn defaults_are_filled_in() {
    let text = "\
apiVersion: requests.strait.dev/v1alpha1
kind: RequestClass
metadata: {name: sign}
spec: {executor: {http: {url: 'http://x/y'}}}
";
    let Documents { located, mistakes, .. } = read(&[Source { file: "a.yaml", text }]);
    assert_eq!(mistakes, []);
    let Private::RequestClass(class) = &located[0].document else {
        panic!("{located:?}");
    };
    assert_eq!(class.spec.backoff.initial, "5s");
    assert_eq!(class.spec.concurrency, 16);
    let http = class.spec.executor.http.as_ref().unwrap();
    assert_eq!((&*http.method, &*http.success_statuses), ("POST", &[200, 201, 204][..]));
}

/// A value with every declared member, as a walk over the schema finds them.
fn full(schema: &Schema) -> Value {
    if let Some(allowed) = schema.enumeration.first() {
        return allowed.clone();
    }
    match &schema.shape {
        Shape::Object(object) => full_object(object),
        Shape::Array(Array { items, .. }) => [full(items)].into_iter().collect(),
        Shape::Integer | Shape::Number => 200.into(),
        Shape::Boolean => true.into(),
        Shape::String | Shape::IntOrString => "text".into(),
        Shape::Any => "anything".into(),
    }
}

fn full_object(object: &Object) -> Value {
    let mut value = Value::object();
    for property in &object.properties {
        value.set(&[&property.name], full(&property.schema));
    }
    value
}

fn as_struct(kind: &Kind, value: &Value) -> Result<Value, String> {
    fn through<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, String> {
        let read: T = serde_json::from_slice(&value.to_bytes()).map_err(|e| e.to_string())?;
        Ok(parse(&serde_json::to_vec(&read).unwrap()).unwrap())
    }
    use crate::private::{RemoteEndpoint, RequestClass, RequestKindMapping, RequestPolicy};
    match &*kind.kind {
        "RemoteEndpoint" => through::<RemoteEndpoint>(value),
        "RequestKindMapping" => through::<RequestKindMapping>(value),
        "RequestClass" => through::<RequestClass>(value),
        "RequestPolicy" => through::<RequestPolicy>(value),
        other => panic!("{other} has no struct"),
    }
}

/// The members that a struct has, as it names them itself when it meets another.
fn members(error: &str) -> BTreeSet<String> {
    let (_, list) = error.split_once("expected ").expect(error);
    let names = list.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

/// Compares every object of the schema with the struct that stands for it, by what the struct
/// says of a member that neither has.
fn compare(kind: &Kind, whole: &Value, schema: &Schema, path: &mut Vec<String>) {
    match &schema.shape {
        Shape::Object(object) if !object.properties.is_empty() => {
            let mut probed = whole.clone();
            *at(&mut probed, path).make_object() = {
                let mut object = at(&mut whole.clone(), path).make_object().clone();
                object.insert("#", true);
                object
            };
            let error = as_struct(kind, &probed).unwrap_err();
            let declared: BTreeSet<String> =
                object.properties.iter().map(|one| one.name.to_string()).collect();
            assert_eq!(members(&error), declared, "{} {path:?}", kind.kind);
            for property in &object.properties {
                path.push(property.name.to_string());
                compare(kind, whole, &property.schema, path);
                path.pop();
            }
        }
        Shape::Array(array) => {
            path.push("0".into());
            compare(kind, whole, &array.items, path);
            path.pop();
        }
        _ => {}
    }
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(value, |value, name| match value {
        Value::Array(elements) => &mut elements[0],
        Value::Object(map) => map.get_mut(name).unwrap(),
        _ => panic!("{path:?}"),
    })
}

#[test]
fn schemas_and_structs_agree() {
    assert_eq!(KINDS.len(), 4);
    for kind in KINDS.iter() {
        let whole = full(&kind.schema);
        assert_eq!(as_struct(kind, &whole).as_ref(), Ok(&whole), "{}", kind.kind);
        compare(kind, &whole, &kind.schema, &mut Vec::new());
    }
}

#[test]
fn every_member_is_described() {
    fn check(schema: &Schema, path: &str) {
        match &schema.shape {
            Shape::Object(object) => {
                for property in &object.properties {
                    let path = format!("{path}.{}", property.name);
                    let structural = ["spec", "metadata"].contains(&&*property.name);
                    let described = structural || !property.schema.description.is_empty();
                    assert!(described, "{path} has no description");
                    check(&property.schema, &path);
                }
            }
            Shape::Array(array) => check(&array.items, path),
            _ => {}
        }
    }
    for kind in KINDS.iter() {
        check(&kind.schema, &kind.kind);
    }
}
