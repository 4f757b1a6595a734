//! From what a client sent to what can be stored: decoding, unknown fields, defaults,
//! metadata, validation.

use strait_machinery::builtin;
use strait_machinery::json::{Path, Value};
use strait_machinery::object_meta;
use strait_machinery::schema;
use strait_machinery::status::Status;

use super::{Call, Incoming, OBJECT_MAX};
use crate::catalog::{CustomKind, Definition};
use crate::options::FieldValidation;

/// Annotation with the logical cluster of an object, on every object. Set by the server.
pub(super) const CLUSTER: &str = "kcp.io/cluster";

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
        let strict = incoming.strict_errors;
        let (value, unknown) =
            self.decode(incoming.value, &incoming.raw).map_err(|why| match why {
                Undecodable::Type(status) => status,
                Undecodable::Value(why) => self.refusal(&why),
            })?;
        let warnings = judge(unknown, strict, validation).map_err(|why| self.refusal(&why))?;
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
        let warnings =
            judge(unknown, patched.strict_errors, validation).map_err(|why| refuse(&why))?;
        Ok(finish(value, warnings, " after mutating admission happens"))
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
            Definition::Custom(_) => Status::bad_request(why),
        }
    }
}

/// What to warn of, or what strict validation refuses. A field that is unknown is not reported
/// for coming twice as well.
fn judge(
    unknown: Vec<String>,
    strict: Vec<String>,
    validation: FieldValidation,
) -> Result<Vec<String>, String> {
    if validation == FieldValidation::Ignore || (unknown.is_empty() && strict.is_empty()) {
        return Ok(Vec::new());
    }
    let field = |text: &str| text.split_once(' ').map(|(_, field)| field.to_owned());
    let fields: Vec<_> =
        unknown.iter().filter_map(|text| field(text.strip_prefix("unknown ")?)).collect();
    let is_new = |text: &String| {
        let again = text.strip_prefix("duplicate ").and_then(field);
        again.is_none_or(|again| !fields.contains(&again))
    };
    let duplicates = strict.into_iter().filter(is_new);
    let found: Vec<String> = unknown.iter().cloned().chain(duplicates).collect();
    match validation {
        FieldValidation::Strict => Err(format!("strict decoding error: {}", found.join(", "))),
        FieldValidation::Ignore | FieldValidation::Warn => Ok(found),
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
