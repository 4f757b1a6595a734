//! From the members of a checked schema to a [`Schema`].

use std::collections::BTreeSet;
use std::sync::Arc;

use super::props::{Additional, Props};
use super::transition;
use crate::schema::{Array, Junctors, ListType, Object, Property, Schema, Shape};

/// Builds the root of a kind.
pub(super) fn root(props: Props<'_>, object_meta: &Arc<Schema>) -> Schema {
    let mut schema = node(props, object_meta);
    imply_meta(&mut schema, object_meta);
    schema
}

fn node(props: Props<'_>, object_meta: &Arc<Schema>) -> Schema {
    let rules = transition::build(&props);
    let embedded_resource = props.embedded_resource;
    let (shape, untyped) = shape(&props);
    let mut schema = Schema {
        shape,
        untyped,
        definition: None,
        description: props.description.into(),
        nullable: props.nullable,
        default: props.default.cloned(),
        enumeration: props.enumeration.to_vec(),
        format: props.format.into(),
        preserve_unknown: props.preserves_unknown(),
        embedded_resource,
        rules,
        annotations: (!props.annotations.is_empty()).then(|| Box::new(props.annotations)),
        bounds: None,
        junctors: None,
    };
    let junctors = Junctors {
        all_of: nodes(props.all_of, object_meta),
        any_of: nodes(props.any_of, object_meta),
        one_of: nodes(props.one_of, object_meta),
        not: props.not.map(|not| node(*not, object_meta)),
    };
    let has_junctors = junctors.not.is_some()
        || [&junctors.all_of, &junctors.any_of, &junctors.one_of].iter().any(|of| !of.is_empty());
    schema.junctors = has_junctors.then(|| Box::new(junctors));
    schema.bounds = (!props.bounds.is_empty()).then(|| Box::new(props.bounds));
    match &mut schema.shape {
        Shape::Object(object) => {
            fill_object(object, props.properties, &props.required, object_meta);
            object.additional = props.additional.and_then(|of| additional(of, object_meta));
        }
        Shape::Array(array) => {
            if let Some(items) = props.items {
                array.items = Arc::new(node(*items, object_meta));
            }
        }
        _ => {}
    }
    if embedded_resource {
        imply_meta(&mut schema, object_meta);
    }
    schema
}

fn nodes(all: Vec<Props<'_>>, object_meta: &Arc<Schema>) -> Vec<Schema> {
    all.into_iter().map(|props| node(props, object_meta)).collect()
}

/// The shape without what is inside, and whether `type` was left out.
fn shape(props: &Props<'_>) -> (Shape, bool) {
    let object =
        || Shape::Object(Object { atomic: props.map_type == Some("atomic"), ..Object::default() });
    let array = || {
        let list_type = match props.list_type {
            Some("set") => ListType::Set,
            Some("map") => ListType::Map(props.map_keys.iter().map(|&key| key.into()).collect()),
            _ => ListType::Atomic,
        };
        Shape::Array(Array { list_type, ..Array::default() })
    };
    match props.kind {
        kind if props.int_or_string && !matches!(kind, "object" | "array") => {
            (Shape::IntOrString, false)
        }
        "object" => (object(), false),
        "array" => (array(), false),
        "string" => (Shape::String, false),
        "integer" => (Shape::Integer, false),
        "number" => (Shape::Number, false),
        "boolean" => (Shape::Boolean, false),
        _ if props.items.is_some() => (array(), true),
        _ if props.properties.is_empty()
            && props.required.is_empty()
            && props.additional.is_none() =>
        {
            (Shape::Any, false)
        }
        _ => (object(), true),
    }
}

fn fill_object(
    object: &mut Object,
    properties: Vec<(&str, Props<'_>)>,
    required: &[&str],
    object_meta: &Arc<Schema>,
) {
    let mut required: BTreeSet<&str> = required.iter().copied().collect();
    for (name, props) in properties {
        let schema = node(props, object_meta);
        object.properties.push(property(name, schema.into(), required.remove(name)));
    }
    object.required_undeclared = required.into_iter().map(Into::into).collect();
}

fn property(name: &str, schema: Arc<Schema>, required: bool) -> Property {
    Property {
        name: name.into(),
        schema,
        required,
        number: 0,
        patch_strategy: Box::default(),
        patch_merge_key: Box::default(),
    }
}

fn additional(additional: Additional<'_>, object_meta: &Arc<Schema>) -> Option<Arc<Schema>> {
    match additional {
        Additional::Schema(props) => Some(Arc::new(node(*props, object_meta))),
        Additional::Allowed(false) => None,
        // Any value, but of an object no member is declared.
        Additional::Allowed(true) => Some(Arc::new(Schema {
            shape: Shape::Object(Object::default()),
            untyped: true,
            nullable: true,
            ..Schema::default()
        })),
    }
}

/// Every resource has these three, whether its schema says so or not.
fn imply_meta(schema: &mut Schema, object_meta: &Arc<Schema>) {
    let Shape::Object(object) = &mut schema.shape else {
        return;
    };
    let text = Arc::new(Schema { shape: Shape::String, ..Schema::default() });
    for name in ["apiVersion", "kind"] {
        declare(object, name, || text.clone());
    }
    declare(object, "metadata", || object_meta.clone());
    let Ok(at) = object.properties.binary_search_by(|property| (*property.name).cmp("metadata"))
    else {
        return;
    };
    object.properties[at].schema = with_object_meta(&object.properties[at].schema, object_meta);
}

/// Declares a member that is not declared yet.
fn declare(object: &mut Object, name: &str, schema: impl FnOnce() -> Arc<Schema>) {
    if let Err(at) = object.properties.binary_search_by(|property| (*property.name).cmp(name)) {
        let required = object.required_undeclared.iter().any(|required| **required == *name);
        object.required_undeclared.retain(|required| **required != *name);
        object.properties.insert(at, property(name, schema(), required));
    }
}

/// What a schema says of metadata, and all that ObjectMeta has beside it.
fn with_object_meta(said: &Arc<Schema>, object_meta: &Arc<Schema>) -> Arc<Schema> {
    let (Some(said_object), Some(all)) = (said.as_object(), object_meta.as_object()) else {
        return said.clone();
    };
    let says_nothing = said_object.properties.is_empty()
        && said_object.required_undeclared.is_empty()
        && said.bounds.is_none()
        && said.junctors.is_none()
        && said.enumeration.is_empty()
        && said.default.is_none()
        && said.rules.is_empty();
    if says_nothing {
        return object_meta.clone();
    }
    let mut schema = Schema { definition: object_meta.definition.clone(), ..Schema::clone(said) };
    if let Shape::Object(object) = &mut schema.shape {
        for property in &all.properties {
            declare(object, &property.name, || property.schema.clone());
        }
    }
    Arc::new(schema)
}
