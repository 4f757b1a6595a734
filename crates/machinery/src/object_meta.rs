//! Validation of `metadata` (`apimachinery/pkg/api/validation/objectmeta.go`).
//!
//! Types are checked elsewhere, by the schema: what has the wrong type here counts as absent.

use std::collections::BTreeSet;

use crate::field::{FieldError, MAX_ERRORS};
use crate::go_text::quoted;
use crate::json::{Map, Path, Value};
use crate::names::{NameRule, label_value, qualified_name};

/// Most bytes of all annotations of an object, keys and values.
pub const ANNOTATIONS_MAX: usize = 256 << 10;

const IMMUTABLE: &str = "field is immutable";
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// Finalizers that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", ORPHAN, FOREGROUND];

/// What a kind demands of its metadata.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checks {
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// What names must be.
    pub name: NameRule,
    /// Whether finalizers must be standard or carry a domain: built-in kinds. Objects of other
    /// kinds only draw a warning.
    pub qualified_finalizers: bool,
}

/// What is wrong with the metadata of a new object, after a generated name was put in.
#[must_use]
pub fn validate(metadata: &Map, checks: Checks, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let generate_name = text(metadata, "generateName");
    if !generate_name.is_empty() {
        let wrong = checks.name.check_prefix(generate_name);
        errors.extend(invalid(&path.field("generateName"), generate_name, wrong));
    }
    let name = text(metadata, "name");
    if name.is_empty() {
        let detail = "name or generateName is required";
        errors.push(FieldError::required(path.field("name"), detail));
    } else {
        errors.extend(invalid(&path.field("name"), name, checks.name.check(name)));
    }
    errors.extend(namespace(metadata, checks.namespaced, &path.field("namespace")));
    if generation(metadata) < 0 {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(path.field("generation"), generation(metadata), detail));
    }
    shared(metadata, path, &mut errors);
    finalizers(metadata, checks.qualified_finalizers, &path.field("finalizers"), &mut errors);
    errors
}

/// What is wrong with the metadata of an update, after the server filled in what the client
/// left out.
#[must_use]
pub fn validate_update(new: &Map, old: &Map, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.get("deletionTimestamp").is_some_and(|time| !time.is_null()) {
        errors.extend(no_new_finalizers(new, old, &path.field("finalizers")));
    }
    if text(new, "resourceVersion").is_empty() {
        let detail = "must be specified for an update";
        errors.push(FieldError::invalid(path.field("resourceVersion"), "", detail));
    }
    if generation(new) < generation(old) {
        let detail = "must not be decremented";
        errors.push(FieldError::invalid(path.field("generation"), generation(new), detail));
    }
    for key in ["name", "namespace", "uid"] {
        if text(new, key) != text(old, key) {
            errors.push(FieldError::invalid(path.field(key), text(new, key), IMMUTABLE));
        }
    }
    for key in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let value = |metadata: &Map| metadata.get(key).cloned().unwrap_or_default();
        if value(new) != value(old) {
            errors.push(FieldError::invalid(path.field(key), value(new), IMMUTABLE));
        }
    }
    shared(new, path, &mut errors);
    errors
}

/// What is wrong with a map of labels.
#[must_use]
pub fn labels(labels: &Map, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.iter() {
        if errors.len() >= MAX_ERRORS {
            break;
        }
        errors.extend(invalid(path, key, qualified_name(key)));
        let value = value.as_str().unwrap_or_default();
        errors.extend(invalid(path, value, label_value(value)));
    }
    errors
}

/// What is wrong with a map of annotations: keys as of labels but in any case, no more than
/// [`ANNOTATIONS_MAX`] in all.
#[must_use]
pub fn annotations(annotations: &Map, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in annotations.iter() {
        if errors.len() < MAX_ERRORS {
            errors.extend(invalid(path, key, qualified_name(&key.to_lowercase())));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(path.clone(), ANNOTATIONS_MAX));
    }
    errors
}

/// What is wrong with a list of owner references.
#[must_use]
pub fn owner_references(owners: &[Value], path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    for owner in owners.iter().filter_map(Value::as_object) {
        if errors.len() >= MAX_ERRORS {
            break;
        }
        owner_reference(owner, path, &mut errors);
        if owner.get("controller").and_then(Value::as_bool) != Some(true) {
            continue;
        }
        let this = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
        match &controller {
            None => controller = Some(this),
            Some(first) => errors.push(FieldError::invalid(
                path.clone(),
                if owners.len() > MAX_ERRORS { "array".into() } else { Value::from(owners.to_vec()) },
                format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                ),
            )),
        }
    }
    errors
}

fn owner_reference(owner: &Map, path: &Path, errors: &mut Vec<FieldError>) {
    let api_version = text(owner, "apiVersion");
    let version = match api_version.split('/').collect::<Vec<_>>()[..] {
        [version] | [_, version] => version,
        _ => "",
    };
    if version.is_empty() {
        let at = path.field("apiVersion");
        errors.push(FieldError::invalid(at, api_version, "version must not be empty"));
    }
    for key in ["kind", "name", "uid"] {
        if text(owner, key).is_empty() {
            errors.push(FieldError::invalid(path.field(key), "", "must not be empty"));
        }
    }
    if api_version == "v1" && text(owner, "kind") == "Event" {
        let detail = "/v1, Kind=Event is disallowed from being an owner";
        errors.push(FieldError::invalid(path.clone(), owner.clone(), detail));
    }
}

/// The checks of both create and update.
fn shared(metadata: &Map, path: &Path, errors: &mut Vec<FieldError>) {
    if let Some(Value::Object(map)) = metadata.get("labels") {
        errors.extend(labels(map, &path.field("labels")));
    }
    if let Some(Value::Object(map)) = metadata.get("annotations") {
        errors.extend(annotations(map, &path.field("annotations")));
    }
    if let Some(Value::Array(owners)) = metadata.get("ownerReferences") {
        errors.extend(owner_references(owners, &path.field("ownerReferences")));
    }
}

fn namespace(metadata: &Map, namespaced: bool, path: &Path) -> Vec<FieldError> {
    let namespace = text(metadata, "namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => vec![FieldError::required(path.clone(), "")],
        (true, false) => invalid(path, namespace, NameRule::Label.check(namespace)).collect(),
        (false, false) => vec![FieldError::forbidden(path.clone(), "not allowed on this type")],
        (false, true) => Vec::new(),
    }
}

fn finalizers(metadata: &Map, qualified: bool, path: &Path, errors: &mut Vec<FieldError>) {
    let finalizers = texts(metadata, "finalizers");
    for finalizer in &finalizers {
        if errors.len() >= MAX_ERRORS {
            return;
        }
        errors.extend(invalid(path, finalizer, qualified_name(finalizer)));
    }
    if finalizers.contains(ORPHAN) && finalizers.contains(FOREGROUND) {
        let detail = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        let all = metadata.get("finalizers").cloned().unwrap_or_default();
        errors.push(FieldError::invalid(path.clone(), all, detail));
    }
    if !qualified {
        return;
    }
    let list = metadata.get("finalizers").and_then(Value::as_array).unwrap_or_default();
    for (at, finalizer) in list.iter().enumerate() {
        if errors.len() >= MAX_ERRORS {
            return;
        }
        let name = finalizer.as_str().unwrap_or_default();
        if !is_finalizer(name) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path.index(at), name, detail));
        }
    }
}

/// Whether a finalizer is one of Kubernetes' own or carries a domain.
#[must_use]
pub fn is_finalizer(name: &str) -> bool {
    name.contains('/') || STANDARD_FINALIZERS.contains(&name)
}

fn no_new_finalizers(new: &Map, old: &Map, path: &Path) -> Option<FieldError> {
    let (new, old) = (texts(new, "finalizers"), texts(old, "finalizers"));
    let added: Vec<_> = new.difference(&old).map(|finalizer| quoted(finalizer)).collect();
    if added.is_empty() {
        return None;
    }
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    Some(FieldError::forbidden(path.clone(), detail))
}

fn invalid<'a>(
    path: &'a Path,
    value: &'a str,
    wrong: Vec<String>,
) -> impl Iterator<Item = FieldError> + 'a {
    wrong.into_iter().map(move |text| FieldError::invalid(path.clone(), value, text))
}

fn text<'a>(metadata: &'a Map, key: &str) -> &'a str {
    metadata.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn texts<'a>(metadata: &'a Map, key: &str) -> BTreeSet<&'a str> {
    let list = metadata.get(key).and_then(Value::as_array).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}

fn generation(metadata: &Map) -> i64 {
    metadata.get("generation").and_then(Value::as_i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    const CREATE: Checks =
        Checks { namespaced: true, name: NameRule::Subdomain, qualified_finalizers: false };

    fn map(json: &str) -> Map {
        parse(json.as_bytes()).unwrap().as_object().unwrap().clone()
    }

    fn told(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    // Recorded from ValidateObjectMeta of apimachinery v0.34.
    #[test]
    fn new_objects_are_judged_as_kubernetes_judges_them() {
        let table: &[(&str, &[&str])] = &[
            (r#"{"name":"a","namespace":"default"}"#, &[]),
            (
                "{}",
                &[
                    "metadata.name: Required value: name or generateName is required",
                    "metadata.namespace: Required value",
                ],
            ),
            (
                r#"{"generateName":"A-","name":"b","namespace":"a.b","generation":-1}"#,
                &[
                    r#"metadata.namespace: Invalid value: "a.b": must not contain dots"#,
                    "metadata.generation: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                r#"{"name":"a","namespace":"n","finalizers":["orphan","foregroundDeletion"]}"#,
                &[
                    r#"metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set"#,
                ],
            ),
            (
                r#"{"name":"a","namespace":"n","ownerReferences":[{"apiVersion":"v1","kind":"Event","name":"e","uid":"u"},{}]}"#,
                &[
                    r#"metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":"u"}: /v1, Kind=Event is disallowed from being an owner"#,
                    r#"metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty"#,
                    r#"metadata.ownerReferences.kind: Invalid value: "": must not be empty"#,
                    r#"metadata.ownerReferences.name: Invalid value: "": must not be empty"#,
                    r#"metadata.ownerReferences.uid: Invalid value: "": must not be empty"#,
                ],
            ),
        ];
        for (metadata, errors) in table {
            let found = validate(&map(metadata), CREATE, &Path::of(&["metadata"]));
            assert_eq!(told(&found), *errors, "{metadata}");
        }
    }

    #[test]
    fn labels_and_annotations_are_refused_by_key_and_value() {
        let found = labels(&map(r#"{"a b":"-","ok":"x"}"#), &Path::of(&["l"]));
        let told = told(&found);
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("l: Invalid value: \"a b\": name part must consist of"));
        assert!(told[1].starts_with("l: Invalid value: \"-\": a valid label must be"));
        let found = annotations(&map(r#"{"A/B":"x","a/b/c":""}"#), &Path::of(&["a"]));
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn annotations_are_bounded_in_all() {
        let of = |size: usize| map(&format!(r#"{{"k":"{}"}}"#, "v".repeat(size)));
        let path = Path::of(&["a"]);
        assert_eq!(annotations(&of(ANNOTATIONS_MAX - 1), &path), []);
        let text = "a: Too long: may not be more than 262144 bytes";
        assert_eq!(told(&annotations(&of(ANNOTATIONS_MAX), &path)), [text]);
    }

    #[test]
    fn only_one_owner_is_the_controller() {
        let owner = |name: &str| {
            map(&format!(
                r#"{{"apiVersion":"v1","kind":"K","name":"{name}","uid":"u","controller":true}}"#
            ))
        };
        let owners = [Value::from(owner("x")), owner("y").into()];
        let found = owner_references(&owners, &Path::of(&["o"]));
        let end = "Only one reference can have Controller set to true. Found \"true\" in references for K/x and K/y";
        assert!(told(&found)[0].ends_with(end), "{found:?}");
    }

    #[test]
    fn finalizers_of_built_in_kinds_carry_a_domain() {
        let checks = Checks { qualified_finalizers: true, ..CREATE };
        let metadata = map(r#"{"name":"a","namespace":"n","finalizers":["orphan","a/b","own"]}"#);
        let found = validate(&metadata, checks, &Path::of(&["metadata"]));
        let text = "metadata.finalizers[2]: Invalid value: \"own\": name is neither a standard finalizer name nor is it fully qualified";
        assert_eq!(told(&found), [text]);
    }

    #[test]
    fn checks_stop_at_a_hundred_errors() {
        let list = |element: &str| vec![element; 1000].join(",");
        let labels: Vec<_> = (0..1000).map(|at| format!(r#""-{at}":"-""#)).collect();
        let metadata = map(&format!(
            r#"{{"labels":{{{}}},"ownerReferences":[{}],"finalizers":[{}]}}"#,
            labels.join(","),
            list(r#"{"controller":true}"#),
            list(r#""a""#),
        ));
        let found = validate(&metadata, Checks::default(), &Path::root());
        assert!((MAX_ERRORS..3 * MAX_ERRORS).contains(&found.len()), "{}", found.len());
    }

    // Recorded from ValidateObjectMetaUpdate of apimachinery v0.34.
    #[test]
    fn updates_do_not_change_what_is_immutable() {
        let old = map(
            r#"{"name":"b","namespace":"n","uid":"u","generation":3,"creationTimestamp":"2020-01-01T00:00:00Z","deletionTimestamp":"2020-01-01T00:00:00Z","deletionGracePeriodSeconds":30,"finalizers":["kept/x"]}"#,
        );
        let new = map(r#"{"name":"a","generation":2,"finalizers":["x/y","kept/x"]}"#);
        let found = validate_update(&new, &old, &Path::of(&["metadata"]));
        let expected = [
            r#"metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"x/y"}"#,
            r#"metadata.resourceVersion: Invalid value: "": must be specified for an update"#,
            "metadata.generation: Invalid value: 2: must not be decremented",
            r#"metadata.name: Invalid value: "a": field is immutable"#,
            r#"metadata.namespace: Invalid value: "": field is immutable"#,
            r#"metadata.uid: Invalid value: "": field is immutable"#,
            "metadata.creationTimestamp: Invalid value: null: field is immutable",
            "metadata.deletionTimestamp: Invalid value: null: field is immutable",
            "metadata.deletionGracePeriodSeconds: Invalid value: null: field is immutable",
        ];
        assert_eq!(told(&found), expected);
        let same = map(r#"{"name":"a","resourceVersion":"1"}"#);
        assert_eq!(validate_update(&same, &same, &Path::root()), []);
    }
}
