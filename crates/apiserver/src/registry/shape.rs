//! From what a client sent to what can be stored: decoding, unknown fields, defaults,
//! metadata, validation.

use strait_machinery::builtin;
use strait_machinery::json::{self, Path, Value};
use strait_machinery::object_meta;
use strait_machinery::schema;
use strait_machinery::status::Status;

use super::{Call, Incoming, OBJECT_MAX};
use crate::catalog::{CustomKind, Definition};
use crate::options::FieldValidation;

/// Annotation with the logical cluster of an object, on every object. Set by the server.
pub(super) const CLUSTER: &str = "kcp.io/cluster";

/// Longest text that is searched for the order of what is wrong with it: the search takes time
/// by length and depth.
const ORDERED_MAX: usize = 16 << 10;

/// An object of the right kind, with declared members only.
pub(super) struct Shaped {
    pub(super) value: Value,
    pub(super) warnings: Vec<String>,
}

/// Why a body is not an object of its kind.
enum Undecodable {
    /// It says that it is something else.
    Type(Status),
    /// A value is not of its field's type.
    Value(String),
}

impl Call<'_> {
    /// Decodes what a client sent.
    pub(super) fn shape(
        &self,
        incoming: Incoming,
        validation: FieldValidation,
    ) -> Result<Shaped, Status> {
        let (value, unknown) =
            self.decode(incoming.value, &incoming.raw).map_err(|why| match why {
                Undecodable::Type(status) => status,
                Undecodable::Value(why) => self.refusal(&why),
            })?;
        let found = self.in_order(unknown, incoming.strict_errors, &incoming.raw);
        let warnings = judge(found, validation).map_err(|why| self.refusal(&why))?;
        Ok(finish(value, warnings, ""))
    }

    /// Decodes what came of a patch. `refuse` says what is wrong with it.
    pub(super) fn shape_patched(
        &self,
        patched: Incoming,
        validation: FieldValidation,
        refuse: impl Fn(&str) -> Status,
    ) -> Result<Shaped, Status> {
        let (value, unknown) = self.decode(patched.value, &[]).map_err(|why| match why {
            Undecodable::Type(status) => refuse(&status.message),
            Undecodable::Value(why) => refuse(&why),
        })?;
        let found = self.in_order(unknown, patched.strict_errors, &[]);
        let warnings = judge(found, validation).map_err(|why| refuse(&why))?;
        Ok(finish(value, warnings, " after mutating admission happens"))
    }

    /// Warns of finalizers that kinds of Kubernetes may not have (`customresource/strategy.go`).
    pub(super) fn finalizer_warnings(&self, value: &Value, old: Option<&Value>) -> Vec<String> {
        if self.resource.is_builtin() {
            return Vec::new();
        }
        let of = |value: &Value| value.array_at(&["metadata", "finalizers"]).to_vec();
        let known = old.map(of).unwrap_or_default();
        let new = of(value).into_iter().filter(|finalizer| !known.contains(finalizer));
        let names = new.filter_map(|finalizer| finalizer.as_str().map(str::to_owned));
        let odd = names.filter(|name| !object_meta::is_finalizer(name));
        odd.map(|name| {
            format!(
                "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"
            )
        })
        .collect()
    }

    /// Decodes and checks a review, which is answered and not stored.
    pub(crate) fn shape_review(
        &self,
        incoming: Incoming,
        validation: FieldValidation,
    ) -> Result<(Value, Vec<String>), Status> {
        let mut shaped = self.shape(incoming, validation)?;
        self.own_namespace(&mut shaped.value)?;
        if let Definition::Builtin(kind) = &self.resource.definition {
            self.refuse(&shaped.value, &kind.validate(&shaped.value))?;
        }
        Ok((shaped.value, shaped.warnings))
    }

    /// The stored form of a tree with declared members only, and the members that are not.
    fn decode(&self, value: Value, raw: &[u8]) -> Result<(Value, Vec<String>), Undecodable> {
        match &self.resource.definition {
            Definition::Builtin(kind) => {
                kind.check_type(&value, raw).map_err(Undecodable::Type)?;
                let value = if value.is_null() { Value::object() } else { value };
                let failed = |error: builtin::DecodeError| Undecodable::Value(error.to_string());
                let decoded = kind.decode(value).map_err(failed)?;
                Ok((kind.to_stored(decoded.object).map_err(failed)?, decoded.unknown))
            }
            Definition::Custom(custom) => {
                let gvk = &self.resource.served.gvk;
                builtin::check_custom_type(gvk, &value, raw).map_err(Undecodable::Type)?;
                decode_custom(custom, value)
            }
        }
    }

    fn refusal(&self, why: &str) -> Status {
        match &self.resource.definition {
            Definition::Builtin(kind) => kind.refusal(&why),
            Definition::Custom(_) => {
                let (kind, version) = (self.resource.kind(), &self.resource.gvr.version);
                Status::bad_request(format!(
                    "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
                ))
            }
        }
    }

    /// What strict validation has against an object, in the order in which kube-apiserver tells
    /// it: that of the text for its own kinds; for others first what comes twice, then what is
    /// unknown. A field that is unknown is not reported for coming twice as well.
    fn in_order(&self, unknown: Vec<String>, strict: Vec<String>, raw: &[u8]) -> Vec<String> {
        let is_new = |text: &String| {
            let field = text.strip_prefix("duplicate ");
            !field.is_some_and(|field| unknown.contains(&format!("unknown {field}")))
        };
        let mut found: Vec<String> = strict.into_iter().filter(is_new).collect();
        let twice = found.len();
        found.extend(unknown);
        let ordered = if self.resource.is_builtin() { found.len() } else { twice };
        if ordered < 2 || raw.len() > ORDERED_MAX {
            return found;
        }
        let text = std::str::from_utf8(raw).unwrap_or_default();
        let keys = json::paths_of_keys(text);
        found[..ordered].sort_by_cached_key(|message| {
            let (times, field) = match message.strip_prefix("duplicate ") {
                Some(field) => (2, field),
                None => (1, message.strip_prefix("unknown ").unwrap_or_default()),
            };
            let path = field.trim_start_matches("field ").trim_matches('"');
            let mut places = keys.iter().enumerate().filter(|(_, key)| *key == path);
            places.nth(times - 1).map_or(usize::MAX, |(at, _)| at)
        });
        found
    }
}

/// What to warn of, or what strict validation refuses.
fn judge(found: Vec<String>, validation: FieldValidation) -> Result<Vec<String>, String> {
    match validation {
        _ if found.is_empty() => Ok(found),
        FieldValidation::Strict => Err(format!("strict decoding error: {}", found.join(", "))),
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(found),
    }
}

/// Takes out owners that came twice (`endpoints/handlers/create.go`).
fn finish(mut value: Value, mut warnings: Vec<String>, when: &str) -> Shaped {
    let owners = value.array_at(&["metadata", "ownerReferences"]);
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut again: Vec<&str> = Vec::new();
    for owner in owners {
        if !kept.contains(owner) {
            kept.push(owner.clone());
        } else if let Some(uid) = owner.str_at(&["uid"]).filter(|uid| !again.contains(uid)) {
            again.push(uid);
        }
    }
    if kept.len() < owners.len() {
        warnings.push(format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            again.join(", ")
        ));
        value.set(&["metadata", "ownerReferences"], kept);
    }
    Shaped { value, warnings }
}

/// Puts the schema's defaults in.
pub(super) fn set_defaults(custom: &CustomKind, value: &mut Value) -> Result<(), Status> {
    schema::default::apply(value, &custom.schema).map_err(|_| Status::too_large(OBJECT_MAX))
}

fn decode_custom(
    custom: &CustomKind,
    mut value: Value,
) -> Result<(Value, Vec<String>), Undecodable> {
    let metadata = value.make_object().remove("metadata").unwrap_or_else(Value::object);
    let meta = builtin::message("meta.ObjectMeta").expect("the table has ObjectMeta");
    let decoded = meta.decode(metadata).map_err(|error| Undecodable::Value(error.to_string()))?;
    let mut unknown: Vec<String> = decoded
        .unknown
        .into_iter()
        .map(|text| text.replacen("unknown field \"", "unknown field \"metadata.", 1))
        .collect();
    let pruned = schema::prune::prune(&mut value, &custom.schema);
    unknown.extend(pruned.iter().map(|path| format!("unknown field \"{path}\"")));
    set_defaults(custom, &mut value).map_err(Undecodable::Type)?;
    value.make_object().insert("metadata", decoded.object);
    Ok((value, unknown))
}

impl Call<'_> {
    /// Everything that is wrong with a new object.
    pub(super) fn validate(&self, value: &Value) -> Result<(), Status> {
        let metadata = value.get("metadata").and_then(Value::as_object);
        let metadata = metadata.cloned().unwrap_or_default();
        let path = Path::of(&["metadata"]);
        let mut errors = object_meta::validate(&metadata, self.resource.metadata_checks(), &path);
        match &self.resource.definition {
            Definition::Builtin(kind) => errors.extend(kind.validate(value)),
            Definition::Custom(custom) => {
                errors.extend(schema::validate::validate(value, &custom.schema, &Path::root()))
            }
        }
        self.refuse(value, &errors)
    }

    /// Everything that is wrong with an object that replaces another.
    pub(super) fn validate_update(&self, value: &Value, old: &Value) -> Result<(), Status> {
        let of = |value: &Value| value.get("metadata").and_then(Value::as_object).cloned();
        let (new_meta, old_meta) = (of(value).unwrap_or_default(), of(old).unwrap_or_default());
        let mut errors =
            object_meta::validate_update(&new_meta, &old_meta, &Path::of(&["metadata"]));
        match &self.resource.definition {
            Definition::Builtin(kind) => {
                errors.extend(kind.validate_update(value, old, self.subresource));
            }
            Definition::Custom(custom) => {
                errors.extend(schema::validate::validate_update(
                    value,
                    old,
                    &custom.schema,
                    &Path::root(),
                ));
            }
        }
        self.refuse(value, &errors)
    }

    fn refuse(
        &self,
        value: &Value,
        errors: &[strait_machinery::field::FieldError],
    ) -> Result<(), Status> {
        if errors.is_empty() {
            return Ok(());
        }
        let name = value.str_at(&["metadata", "name"]).unwrap_or_default();
        Err(self.invalid(name, errors))
    }
}
