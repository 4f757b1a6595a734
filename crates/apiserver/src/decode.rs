//! Request bodies to trees, by media type.

use bytes::Bytes;
use strait_machinery::status::Status;
use strait_machinery::{builtin, json, object, protobuf, yaml};
use strait_types::GroupVersion;

use crate::negotiate::REQUEST_TYPES;
use crate::registry::Incoming;

/// Largest request body, bytes (kube-apiserver's `MaxRequestBodyBytes`).
pub const BODY_MAX: usize = 3_145_728;

/// The message of a protobuf body: that of a built-in kind, or options of a request.
fn message(envelope: &protobuf::Envelope<'_>) -> Option<&'static builtin::Message> {
    let version: GroupVersion = envelope.api_version.parse().ok()?;
    match builtin::kind(&version.group, &version.version, envelope.kind) {
        Some(kind) => Some(kind.message()),
        None => builtin::message(&format!("meta.{}", envelope.kind)),
    }
}

/// Reads a body.
///
/// # Errors
/// 415 for a media type that is not read here, 400 for bytes that are not of theirs.
pub fn object(media_type: &str, body: &Bytes, kind: &str) -> Result<Incoming, Status> {
    let unrecognized = |why: &dyn std::fmt::Display| builtin::unrecognized(kind, why, body);
    let plain = |value| Incoming { value, strict_errors: Vec::new(), raw: body.clone() };
    match media_type {
        "application/json" | "text/json" => {
            let parsed = json::parse_strict(body).map_err(|error| {
                unrecognized(&format!("couldn't get version/kind; json parse error: {error}"))
            })?;
            let strict_errors =
                parsed.duplicates.iter().map(|path| format!("duplicate field \"{path}\""));
            let strict_errors = strict_errors.collect();
            Ok(Incoming { value: parsed.value, strict_errors, raw: body.clone() })
        }
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            let text = std::str::from_utf8(body).map_err(|error| unrecognized(&error))?;
            let documents = yaml::parse(text).map_err(|error| unrecognized(&error))?;
            let document = documents.into_iter().next().map(|document| document.value);
            Ok(plain(document.unwrap_or_default()))
        }
        "application/vnd.kubernetes.protobuf" => {
            let envelope = protobuf::Envelope::open(body).map_err(|error| unrecognized(&error))?;
            if envelope.is_empty() {
                return Err(unrecognized(&"empty body"));
            }
            let Some(message) = message(&envelope) else {
                // Its type is all that there is to refuse it by.
                let (version, kind) = (envelope.api_version, envelope.kind);
                return Ok(plain(object! {"apiVersion": version, "kind": kind}));
            };
            Ok(plain(envelope.object(message).map_err(|error| unrecognized(&error))?))
        }
        _ => Err(Status::unsupported_media_type(&REQUEST_TYPES)),
    }
}
