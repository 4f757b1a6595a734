//! Objects against what `apiextensions-apiserver` did with them (`testdata/apiextensions`), and
//! walks over the deepest trees.

use super::*;
use crate::builtin;
use crate::field::FieldError;
use crate::json::{MAX_DEPTH, STACK_BYTES, parse};

/// The metadata of every object.
pub(super) fn object_meta() -> Arc<Schema> {
    builtin::message("meta.ObjectMeta").unwrap().schema()
}

pub(super) fn json(text: &str) -> Value {
    parse(text.as_bytes()).unwrap()
}

pub(super) fn compiled(schema: &Value) -> Schema {
    compile::compile(schema, &Path::root(), &object_meta()).unwrap()
}

/// The schema of objects with one member, `x`.
pub(super) fn of_x(schema: &str) -> Schema {
    compiled(&json(&format!(r#"{{"type":"object","properties":{{"x":{schema}}}}}"#)))
}

pub(super) fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

pub(super) fn list(case: &Value, key: &str) -> Vec<String> {
    case.array_at(&[key]).iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn objects_are_pruned_defaulted_and_checked_as_upstream_does() {
    for line in include_str!("../../testdata/apiextensions/objects.jsonl").lines() {
        let case = json(line);
        let schema = compiled(case.get("schema").unwrap());
        let mut value = case.get("value").unwrap().clone();
        let unknown = prune::prune(&mut value, &schema);
        let unknown: Vec<String> = unknown.iter().map(Path::to_string).collect();
        let errors = match case.get("old") {
            None => {
                default::apply(&mut value, &schema).unwrap();
                validate::validate(&value, &schema, &Path::root())
            }
            Some(old) => validate::validate_update(&value, old, &schema, &Path::root()),
        };
        let mut errors = texts(&errors);
        errors.retain(|error| !error.contains("some validation rules were not checked"));
        errors.sort_unstable();
        assert_eq!(unknown, list(&case, "unknown"), "{line}");
        assert_eq!(Some(&value), case.get("result").or_else(|| case.get("value")), "{line}");
        assert_eq!(errors, list(&case, "errors"), "{line}");
    }
}

#[test]
fn texts_have_the_formats_that_upstream_sees_in_them() {
    let recorded = json(include_str!("../../testdata/apiextensions/formats.json"));
    let formats = recorded.get("formats").unwrap().as_object().unwrap();
    for (format, _) in formats.iter() {
        let good = list(recorded.get("formats").unwrap(), format);
        assert!(format::is_known(format), "{format}");
        for text in list(&recorded, "texts") {
            let expected = Some(good.contains(&text));
            assert_eq!(format::matches(format, &text), expected, "{format} {text:?}");
        }
    }
    for unheard in ["", "int32", "int64", "double", "micro-time", "k8s-short-name"] {
        assert_eq!(format::matches(unheard, "text"), None);
        assert!(!format::is_known(unheard));
    }
}

/// A schema that nests, and is itself freed without recursion.
struct Deep {
    schema: Schema,
    nodes: Vec<Arc<Schema>>,
}

impl Deep {
    /// `around` puts a schema inside another.
    fn new(levels: usize, around: impl Fn(Arc<Schema>) -> Schema) -> Self {
        let mut nodes = vec![Arc::new(Schema { shape: Shape::String, ..Schema::default() })];
        for _ in 1..levels {
            let inner = nodes.last().unwrap().clone();
            nodes.push(Arc::new(around(inner)));
        }
        let mut schema = around(nodes.last().unwrap().clone());
        schema.rules = transition_rule();
        Self { schema, nodes }
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        self.schema = Schema::default();
        while self.nodes.pop().is_some() {}
    }
}

fn transition_rule() -> Vec<Rule> {
    vec![Rule {
        rule: "self == oldSelf".into(),
        message: Box::default(),
        reason: Box::default(),
        field_path: Box::default(),
        blame: Path::root(),
    }]
}

fn object(object: Object) -> Schema {
    Schema { shape: Shape::Object(object), ..Schema::default() }
}

fn objects() -> Deep {
    Deep::new(MAX_DEPTH, |inner| {
        let property = Property {
            name: "a".into(),
            schema: inner,
            required: true,
            number: 0,
            patch_strategy: Box::default(),
            patch_merge_key: Box::default(),
        };
        object(Object { properties: vec![property], ..Object::default() })
    })
}

fn maps() -> Deep {
    Deep::new(MAX_DEPTH, |inner| object(Object { additional: Some(inner), ..Object::default() }))
}

fn lists() -> Deep {
    Deep::new(MAX_DEPTH, |items| {
        let array = Array { items, list_type: ListType::Atomic };
        Schema { shape: Shape::Array(array), ..Schema::default() }
    })
}

fn list_maps() -> Deep {
    Deep::new(MAX_DEPTH / 2, |inner| {
        let items = Arc::new(object(Object { additional: Some(inner), ..Object::default() }));
        let array = Array { items, list_type: ListType::Map(vec!["k".into()]) };
        Schema { shape: Shape::Array(array), ..Schema::default() }
    })
}

#[test]
fn walks_stay_within_the_stack_of_a_thread_that_handles_trees() {
    let run = || {
        for (deep, open, close) in [
            (objects(), "{\"a\":", "}"),
            (maps(), "{\"b\":", "}"),
            (lists(), "[", "]"),
            (list_maps(), "[{\"a\":", "}]"),
        ] {
            let levels = deep.nodes.len();
            let nested = |inside: &str| {
                json(&format!("{}{inside}{}", open.repeat(levels), close.repeat(levels)))
            };
            let (good, other, bad) = (nested("\"\""), nested("\"a\""), nested("1"));
            let mut pruned = good.clone();
            assert!(prune::prune(&mut pruned, &deep.schema).is_empty());
            assert!(default::apply(&mut pruned, &deep.schema).is_ok());
            assert_eq!(pruned, good);
            let create = |value| validate::validate(value, &deep.schema, &Path::root()).len();
            assert_eq!((create(&good), create(&bad)), (0, 2), "{open}");
            let update =
                |new, old| validate::validate_update(new, old, &deep.schema, &Path::root()).len();
            assert_eq!((update(&good, &good), update(&other, &good)), (0, 1), "{open}");
            assert_eq!(update(&bad, &bad), 0, "{open}");
        }
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).unwrap().join().unwrap();
}
