//! From an APIResourceSchema to the resources that an API server serves.

use std::sync::Arc;

use strait_api::kinds::KindFile;
use strait_apiserver::behaviour::Behaviour;
use strait_apiserver::catalog::{CustomKind, Definition, Resource};
use strait_machinery::builtin;
use strait_machinery::discovery::{self, Origin, Subresource};
use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value};
use strait_machinery::names::NameRule;
use strait_machinery::schema;
use strait_machinery::table::{CustomColumn, Printer};
use strait_machinery::yaml;
use strait_store::ResourceId;
use strait_types::GroupVersionKind;

/// Verbs of an ordinary kind, in the order in which they are published.
const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Verbs of a status subresource.
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// What a kind has beyond its schema.
#[derive(Clone)]
pub struct Extras {
    /// Hooks.
    pub behaviour: Arc<dyn Behaviour>,
    /// Subresources that the hooks answer, with their verbs.
    pub subresources: &'static [(&'static str, &'static [&'static str])],
    /// Kinds that are served wherever this one is, are stored nowhere, and answered by others.
    pub beside: &'static [Beside],
}

/// A kind whose objects are stored nowhere, for discovery.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// What it looks like.
    pub kind: KindFile,
    /// What can be done, in the order in which it is published.
    pub verbs: &'static [&'static str],
}

impl Extras {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        let behaviour = Arc::new(strait_apiserver::behaviour::Ordinary);
        Self { behaviour, subresources: &[], beside: &[] }
    }
}

/// The served versions of a schema's resource, stored under an identity.
///
/// # Errors
/// Everything that is wrong with the schema, by path from `spec`.
pub fn resources(
    spec: &Value,
    identity: &str,
    extras: &Extras,
    crossing: bool,
) -> Result<Vec<Arc<Resource>>, Vec<FieldError>> {
    let base = Path::of(&["spec"]);
    let mut errors = Vec::new();
    let mut resources = Vec::new();
    for (at, version) in spec.array_at(&["versions"]).iter().enumerate() {
        let path = base.field("versions").index(at);
        match version_of(spec, version, identity, extras, &path) {
            Ok(mut resource) => {
                resource.crossing = crossing;
                let served = version.get("served").and_then(Value::as_bool) == Some(true);
                if served {
                    resources.push(Arc::new(resource));
                }
            }
            Err(wrong) => errors.extend(wrong),
        }
    }
    if errors.is_empty() { Ok(resources) } else { Err(errors) }
}

/// The kinds beside a kind that is stored under an identity.
///
/// # Panics
/// If the kind's own file does not compile.
pub(crate) fn beside(extras: &Extras, identity: &str) -> Vec<Arc<Resource>> {
    let mut all = Vec::new();
    for Beside { kind, verbs } in extras.beside {
        let spec = yaml::parse(kind.text).expect("a kind's own file is YAML").remove(0).value;
        let path = Path::of(&["spec", "versions"]);
        for version in spec.array_at(&["versions"]) {
            let made = version_of(&spec, version, identity, &Extras::none(), &path);
            let mut resource = made.expect("a kind's own file compiles");
            resource.served.verbs = verbs.iter().map(|verb| (*verb).into()).collect();
            all.push(Arc::new(resource));
        }
    }
    all
}

fn version_of(
    spec: &Value,
    version: &Value,
    identity: &str,
    extras: &Extras,
    path: &Path,
) -> Result<Resource, Vec<FieldError>> {
    let text = |value: &Value, path: &[&str]| value.str_at(path).unwrap_or_default().to_owned();
    let group = text(spec, &["group"]);
    let plural = text(spec, &["names", "plural"]);
    let kind = text(spec, &["names", "kind"]);
    let name = text(version, &["name"]);
    let object_meta =
        builtin::message("meta.ObjectMeta").expect("the table has ObjectMeta").schema();
    let schema_path = path.field("schema");
    let schema = version.get("schema").unwrap_or(&Value::Null);
    let schema = Arc::new(schema::compile::compile(schema, &schema_path, &object_meta)?);
    let columns = columns(version, path)?;
    let has_status = version.at(&["subresources", "status"]).is_some_and(|value| !value.is_null());
    let gvk = GroupVersionKind::new(&group, &name, &kind);
    let list = |path: &[&str]| -> Vec<Box<str>> {
        spec.array_at(path).iter().filter_map(Value::as_str).map(Into::into).collect()
    };
    let or = |given: String, default: String| if given.is_empty() { default } else { given };
    let served = discovery::Resource {
        plural: plural.as_str().into(),
        singular: or(text(spec, &["names", "singular"]), kind.to_lowercase()).into(),
        list_kind: or(text(spec, &["names", "listKind"]), format!("{kind}List")).into(),
        short_names: list(&["names", "shortNames"]),
        categories: list(&["names", "categories"]),
        namespaced: spec.str_at(&["scope"]) == Some("Namespaced"),
        verbs: VERBS.map(Into::into).to_vec(),
        subresources: subresources(&gvk, has_status, extras),
        schema: schema.clone(),
        origin: Origin::Custom,
        gvk,
    };
    let naming = match spec.str_at(&["nameValidation"]) {
        Some("PathSegmentName") => NameRule::PathSegment,
        _ => NameRule::Subdomain,
    };
    let deprecated = version.get("deprecated").and_then(Value::as_bool) == Some(true);
    let deprecation =
        or(text(version, &["deprecationWarning"]), format!("{group}/{name} {kind} is deprecated"));
    Ok(Resource {
        gvr: strait_types::GroupVersionResource::new(&group, &name, &plural),
        id: ResourceId::new(&group, &plural, identity),
        definition: Definition::Custom(CustomKind {
            schema,
            naming,
            has_status,
            deprecation: if deprecated { deprecation.into() } else { Box::default() },
        }),
        behaviour: extras.behaviour.clone(),
        printer: Some(Arc::new(Printer::of_custom(columns))),
        crossing: false,
        served,
    })
}

fn subresources(gvk: &GroupVersionKind, has_status: bool, extras: &Extras) -> Vec<Subresource> {
    let subresource = |name: &str, verbs: &[&str]| Subresource {
        name: name.into(),
        gvk: gvk.clone(),
        verbs: verbs.iter().map(|verb| (*verb).into()).collect(),
    };
    let status = has_status.then(|| subresource("status", &STATUS_VERBS));
    let mut all: Vec<_> = extras
        .subresources
        .iter()
        .map(|(name, verbs)| subresource(name, verbs))
        .chain(status)
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn columns(version: &Value, path: &Path) -> Result<Vec<CustomColumn>, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut columns = Vec::new();
    for (at, column) in version.array_at(&["additionalPrinterColumns"]).iter().enumerate() {
        let text = |key: &str| column.str_at(&[key]).unwrap_or_default();
        match CustomColumn::new(text("name"), text("type"), text("jsonPath")) {
            Ok(mut made) => {
                made.format = text("format").into();
                if !text("description").is_empty() {
                    made.description = text("description").into();
                }
                let priority = column.get("priority").and_then(Value::as_i64).unwrap_or(0);
                made.priority = i32::try_from(priority).unwrap_or(0);
                columns.push(made);
            }
            Err(error) => {
                let path = path.field("additionalPrinterColumns").index(at).field("jsonPath");
                errors.push(FieldError::invalid(path, text("jsonPath"), error.to_string()));
            }
        }
    }
    if errors.is_empty() { Ok(columns) } else { Err(errors) }
}
