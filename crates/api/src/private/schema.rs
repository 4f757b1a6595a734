//! The schemas, compiled once.

use std::sync::{Arc, LazyLock};

use strait_machinery::json::{Path, Value};
use strait_machinery::schema::compile::compile;
use strait_machinery::schema::{Bounds, Object, Property, Schema, Shape};
use strait_machinery::yaml;

/// A kind of the private side.
pub(super) struct Kind {
    pub(super) kind: String,
    pub(super) schema: Schema,
}

const TEXTS: [&str; 4] = [
    include_str!("../../kinds/private/remoteendpoints.requests.strait.dev.yaml"),
    include_str!("../../kinds/private/requestkindmappings.requests.strait.dev.yaml"),
    include_str!("../../kinds/private/requestclasses.requests.strait.dev.yaml"),
    include_str!("../../kinds/private/requestpolicies.requests.strait.dev.yaml"),
];

/// Every kind.
pub(super) static KINDS: LazyLock<Vec<Kind>> =
    LazyLock::new(|| TEXTS.iter().map(|text| kind(text)).collect());

fn kind(text: &str) -> Kind {
    let why = "the files in kinds/private are compiled in, and a test reads them";
    let document = yaml::parse(text).expect(why).pop().expect(why).value;
    let kind = document.str_at(&["names", "kind"]).expect(why).to_owned();
    let versions = document.array_at(&["versions"]);
    let schema = versions.first().and_then(|version| version.get("schema")).expect(why);
    let schema = compile(schema, &Path::root(), &metadata()).expect(why);
    Kind { kind, schema }
}

/// Metadata of a file's document: a name and nothing else.
fn metadata() -> Arc<Schema> {
    let name = Schema {
        shape: Shape::String,
        description: "Name, unique among the documents of the kind".into(),
        bounds: Some(Box::new(Bounds {
            min_length: Some(1),
            max_length: Some(253),
            ..Bounds::default()
        })),
        ..Schema::default()
    };
    let name = Property {
        name: "name".into(),
        schema: Arc::new(name),
        required: true,
        number: 0,
        patch_strategy: Box::default(),
        patch_merge_key: Box::default(),
    };
    let object = Object { properties: vec![name], ..Object::default() };
    Arc::new(Schema { shape: Shape::Object(object), ..Schema::default() })
}

/// The kind of a document, if it is one of these.
pub(super) fn kind_of(document: &Value) -> Option<&'static Kind> {
    let kind = document.str_at(&["kind"])?;
    KINDS.iter().find(|known| known.kind == kind)
}
