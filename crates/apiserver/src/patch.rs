//! Patches by media type.

use strait_machinery::json::{Value, parse};
use strait_machinery::patch::{Decoded, JsonPatch, MergePatch};
use strait_machinery::status::Status;
use strait_machinery::strategic::StrategicPatch;

use crate::catalog::{Definition, Resource};

/// Media types of patches, in the order that errors name them in. The last is for kinds of
/// Kubernetes itself, whose lists have merge keys.
pub const PATCH_TYPES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// A patch that was read.
pub struct Patch {
    operation: Operation,
    strict_errors: Vec<String>,
    pins_revision: bool,
}

enum Operation {
    Json(JsonPatch),
    Merge(MergePatch),
    Strategic(StrategicPatch),
}

impl Patch {
    /// Reads a patch for objects of a resource.
    ///
    /// # Errors
    /// 415 for another media type, 400 or 413 for bytes that are no patch.
    pub fn read(media_type: &str, body: &[u8], resource: &Resource) -> Result<Self, Status> {
        let (operation, strict_errors) = match media_type {
            "application/json-patch+json" => {
                let Decoded { patch, strict_errors } = JsonPatch::decode(body)?;
                (Operation::Json(patch), strict_errors)
            }
            "application/merge-patch+json" => {
                let Decoded { patch, strict_errors } = MergePatch::decode(body)?;
                (Operation::Merge(patch), strict_errors)
            }
            "application/strategic-merge-patch+json" if resource.is_builtin() => {
                let Decoded { patch, strict_errors } = StrategicPatch::decode(body)?;
                (Operation::Strategic(patch), strict_errors)
            }
            _ => {
                let types =
                    if resource.is_builtin() { &PATCH_TYPES[..] } else { &PATCH_TYPES[..2] };
                return Err(Status::unsupported_media_type(types));
            }
        };
        let pins_revision = parse(body).is_ok_and(|value| mentions_revision(&value));
        Ok(Self { operation, strict_errors, pins_revision })
    }

    /// An object of the resource, as it is served, after the patch.
    ///
    /// # Errors
    /// 422: the patch does not apply.
    pub fn apply(&self, mut object: Value, resource: &Resource) -> Result<Value, Status> {
        match (&self.operation, &resource.definition) {
            (Operation::Json(patch), _) => patch.apply(object),
            (Operation::Merge(patch), _) => {
                patch.apply(&mut object);
                Ok(object)
            }
            (Operation::Strategic(patch), Definition::Builtin(kind)) => {
                patch.apply(object, kind.message())
            }
            (Operation::Strategic(_), Definition::Custom(_)) => {
                Err(Status::unsupported_media_type(&PATCH_TYPES[..2]))
            }
        }
    }

    /// The patch itself as messages show it; none where they show what came of it.
    #[must_use]
    pub fn shown(&self) -> Option<String> {
        match &self.operation {
            Operation::Strategic(patch) => Some(patch.to_string()),
            Operation::Json(_) | Operation::Merge(_) => None,
        }
    }

    /// What strict validation has against the patch itself.
    #[must_use]
    pub fn strict_errors(&self) -> &[String] {
        &self.strict_errors
    }

    /// Whether the client means one revision of the object and no other.
    #[must_use]
    pub const fn pins_revision(&self) -> bool {
        self.pins_revision
    }
}

fn mentions_revision(patch: &Value) -> bool {
    let of_operation =
        |operation: &Value| operation.str_at(&["path"]) == Some("/metadata/resourceVersion");
    match patch {
        Value::Array(operations) => operations.iter().any(of_operation),
        patch => patch.at(&["metadata", "resourceVersion"]).is_some_and(|value| !value.is_null()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::behaviour::Ordinary;

    #[test]
    fn patches_are_read_by_media_type() {
        let kind = strait_machinery::builtin::kind("", "v1", "ConfigMap").unwrap();
        let resource = Resource::of_builtin(kind, Arc::new(Ordinary));
        for (media_type, body, pinned) in [
            ("merge-patch", "{}", Ok(false)),
            ("merge-patch", r#"{"metadata":{"resourceVersion":"1"}}"#, Ok(true)),
            ("strategic-merge-patch", r#"{"metadata":{"resourceVersion":"1"}}"#, Ok(true)),
            ("merge-patch", r#"{"metadata":{"resourceVersion":null}}"#, Ok(false)),
            (
                "json-patch",
                r#"[{"op":"test","path":"/metadata/resourceVersion","value":"1"}]"#,
                Ok(true),
            ),
            ("json-patch", "{}", Err(400)),
            ("apply-patch", "{}", Err(415)),
        ] {
            let read =
                Patch::read(&format!("application/{media_type}+json"), body.as_bytes(), &resource);
            let read = read.map(|patch| patch.pins_revision()).map_err(|status| status.code);
            assert_eq!(read, pinned, "{media_type} {body}");
        }
    }
}
