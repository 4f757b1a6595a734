//! Messages as schemas, for everything that treats built-in and custom kinds alike.

use std::sync::Arc;

use super::model::{Kind, Member, Message, Table, Type};
use super::table;
use crate::schema::{Array, Object, Property, Schema, Shape};

/// Definitions of types that are no messages.
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const FIELDS_V1: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

impl Kind {
    /// The kind's schema, always the same one.
    #[must_use]
    pub fn schema(&self) -> Arc<Schema> {
        self.message().schema()
    }
}

impl Message {
    /// The message's schema, always the same one.
    #[must_use]
    pub fn schema(&self) -> Arc<Schema> {
        self.schema_in(table())
    }

    /// Messages do not contain themselves, so this ends.
    pub(crate) fn schema_in(&self, table: &Table) -> Arc<Schema> {
        let schema = self.schema.get_or_init(|| {
            let properties = self.members.iter().map(|member| member.property(table)).collect();
            Arc::new(Schema {
                shape: Shape::Object(Object {
                    properties,
                    atomic: self.atomic,
                    ..Object::default()
                }),
                definition: Some(self.definition().into()),
                description: self.description.into(),
                ..Schema::default()
            })
        });
        schema.clone()
    }
}

impl Member {
    fn property(&self, table: &Table) -> Property {
        Property {
            name: self.name.into(),
            schema: Arc::new(self.schema(table)),
            required: self.required,
            number: self.number,
            patch_strategy: self.patch_strategy.into(),
            patch_merge_key: self.patch_merge_key.into(),
        }
    }

    /// That of its type, with what is said of the member.
    fn schema(&self, table: &Table) -> Schema {
        let mut schema = schema_of(&self.ty, table);
        schema.description = self.description.into();
        let values = self.enumeration.split(',').filter(|value| !value.is_empty());
        schema.enumeration = values.map(Into::into).collect();
        if let Shape::Array(array) = &mut schema.shape {
            array.list_type = self.list_type.clone();
        }
        schema
    }
}

fn schema_of(ty: &Type, table: &Table) -> Schema {
    let shaped = |shape| Schema { shape, ..Schema::default() };
    let formatted = |shape, format: &str| Schema { format: format.into(), ..shaped(shape) };
    match ty {
        Type::String(_) => shaped(Shape::String),
        Type::Bool => shaped(Shape::Boolean),
        Type::Int32 => formatted(Shape::Integer, "int32"),
        Type::Int64 => formatted(Shape::Integer, "int64"),
        Type::Bytes => formatted(Shape::String, "byte"),
        Type::Message(at) => table.messages[*at].schema_in(table).as_ref().clone(),
        Type::List(items) => list_of(schema_of(items, table)),
        Type::Strings(_) => list_of(shaped(Shape::String)),
        Type::Map(values) => shaped(Shape::Object(Object {
            additional: Some(Arc::new(schema_of(values, table))),
            ..Object::default()
        })),
        Type::Time => {
            let description = "A moment in RFC 3339, to the second.";
            Schema { format: "date-time".into(), ..named(TIME, Shape::String, description) }
        }
        Type::MicroTime => {
            let description = "A moment in RFC 3339, with six digits of fraction.";
            Schema { format: "micro-time".into(), ..named(MICRO_TIME, Shape::String, description) }
        }
        Type::FieldsV1 => any_object(FIELDS_V1, "A set of fields as a tree."),
        Type::RawExtension => any_object(RAW_EXTENSION, "An object of any kind."),
        Type::IntOrString => {
            let description = "A number or a string.";
            let schema = named(INT_OR_STRING, Shape::IntOrString, description);
            Schema { format: "int-or-string".into(), ..schema }
        }
    }
}

/// A type that is no message and has a definition all the same.
fn named(definition: &str, shape: Shape, description: &str) -> Schema {
    Schema {
        shape,
        definition: Some(definition.into()),
        description: description.into(),
        ..Schema::default()
    }
}

fn any_object(definition: &str, description: &str) -> Schema {
    let schema = named(definition, Shape::Object(Object::default()), description);
    Schema { preserve_unknown: true, ..schema }
}

fn list_of(items: Schema) -> Schema {
    let array = Array { items: Arc::new(items), ..Array::default() };
    Schema { shape: Shape::Array(array), ..Schema::default() }
}

/// The schema published under a definition's name.
#[must_use]
pub fn definition(name: &str) -> Option<Arc<Schema>> {
    let table = table();
    let ty = match name {
        TIME => Type::Time,
        MICRO_TIME => Type::MicroTime,
        FIELDS_V1 => Type::FieldsV1,
        RAW_EXTENSION => Type::RawExtension,
        INT_OR_STRING => Type::IntOrString,
        _ => {
            let (prefix, last) = name.rsplit_once('.')?;
            let named = |message: &&Message| message.prefix == prefix && message.name() == last;
            return Some(table.messages.iter().find(named)?.schema_in(table));
        }
    };
    Some(Arc::new(schema_of(&ty, table)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::kind;
    use crate::schema::ListType;

    #[test]
    fn a_kind_is_a_schema_with_everything_that_merging_needs() {
        let schema = kind("", "v1", "ServiceAccount").unwrap().schema();
        assert_eq!(schema.definition.as_deref(), Some("io.k8s.api.core.v1.ServiceAccount"));
        let secrets = schema.as_object().unwrap().property("secrets").unwrap();
        assert_eq!(secrets.number, 2);
        assert_eq!((&*secrets.patch_strategy, &*secrets.patch_merge_key), ("merge", "name"));
        let Shape::Array(array) = &secrets.schema.shape else { panic!("secrets is a list") };
        assert_eq!(array.list_type, ListType::Map(vec!["name".into()]));
        assert!(array.items.as_object().unwrap().atomic);
        assert_eq!(array.items.definition.as_deref(), Some("io.k8s.api.core.v1.ObjectReference"));
    }

    #[test]
    fn every_definition_is_found_by_its_name() {
        for message in &table().messages {
            let name = message.definition();
            let schema = definition(&name).unwrap();
            assert_eq!(schema.definition.as_deref(), Some(&*name));
            assert!(!schema.description.is_empty(), "{name}");
            for property in &schema.as_object().unwrap().properties {
                assert!(!property.schema.description.is_empty(), "{name}.{}", property.name);
            }
        }
        assert!(definition(MICRO_TIME).is_some());
        assert!(definition("io.k8s.api.core.v1.Pod").is_none());
    }
}
