//! Failures as Kubernetes reports them: the `Status` object
//! (`apimachinery/pkg/api/errors/errors.go`). Clients decide by `reason` first, then `code`,
//! and some match on the text; all three are exact.

use strait_types::{Classified, ErrorKind, GroupResource};

use crate::field::{FieldError, aggregate};
use crate::json::{Map, Value};
use crate::object;

/// One cause inside a Status' details.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cause {
    /// Machine-readable, e.g. `FieldValueInvalid`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Path of the field, or empty.
    pub field: String,
}

/// What a Status says about the object concerned.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Details {
    /// The object's name, or empty.
    pub name: String,
    /// The API group.
    pub group: String,
    /// The resource in the plural; for `Invalid` the kind.
    pub kind: String,
    /// The object's uid, or empty.
    pub uid: String,
    /// In the order found.
    pub causes: Vec<Cause>,
    /// 0: not said. Also sent as the `Retry-After` header.
    pub retry_after_seconds: u32,
}

/// A failed request, ready to be told to the client.
///
/// Texts here leave the server: they never carry a path of the machine, a host name of the
/// private side, a secret, or anything of another tenant.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// CamelCase reason; empty where Kubernetes leaves it empty.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Absent where Kubernetes sends none.
    pub details: Option<Box<Details>>,
    /// Set on an expired list: where to go on inconsistently.
    pub continue_token: Option<String>,
}

impl Status {
    fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, continue_token: None }
    }

    fn about(mut self, resource: &GroupResource, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.name = name.to_owned();
        details.group = resource.group.to_string();
        details.kind = resource.resource.to_string();
        self
    }

    /// 400: the request cannot be understood.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 401: nobody proved who is asking.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::plain(401, "Unauthorized", "Unauthorized")
    }

    /// 403 about an object or, with an empty name, a resource.
    #[must_use]
    pub fn forbidden(resource: &GroupResource, name: &str, why: &str) -> Self {
        let message = match (resource.resource.is_empty(), name.is_empty()) {
            (true, true) => format!("forbidden: {why}"),
            (true, false) => format!("{} is forbidden: {why}", crate::json::quoted(name)),
            (false, true) => format!("{resource} is forbidden: {why}"),
            (false, false) => format!("{resource} \"{name}\" is forbidden: {why}"),
        };
        Self::plain(403, "Forbidden", message).about(resource, name)
    }

    /// 404: no such object.
    #[must_use]
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::plain(404, "NotFound", format!("{resource} \"{name}\" not found"))
            .about(resource, name)
    }

    /// 404: no such path; the text is the one that clients synthesize.
    #[must_use]
    pub fn unknown_path() -> Self {
        let mut status =
            Self::plain(404, "NotFound", "the server could not find the requested resource");
        status.details = Some(Box::default());
        status
    }

    /// 405.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let mut status = Self::plain(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        status.details = Some(Box::default());
        status
    }

    /// 406, naming what the client could accept.
    #[must_use]
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        Self::plain(
            406,
            "NotAcceptable",
            format!("only the following media types are accepted: {list}"),
        )
    }

    /// 409: the name is taken.
    #[must_use]
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::plain(409, "AlreadyExists", format!("{resource} \"{name}\" already exists"))
            .about(resource, name)
    }

    /// 409: the object is not as the request presumes.
    #[must_use]
    pub fn conflict(resource: &GroupResource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::plain(409, "Conflict", message).about(resource, name)
    }

    /// 410: the revision is gone.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// 413 for a body over `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::plain(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// 415, naming what would be taken.
    #[must_use]
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        Self::plain(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {list}"
            ),
        )
    }

    /// 422: the object breaks rules. `kind` is the kind, not the resource.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("{qualified} \"{name}\" is invalid: {}", aggregate(errors));
        let mut status = Self::plain(422, "Invalid", message);
        let causes = errors.iter().map(|error| Cause {
            reason: error.reason().to_owned(),
            message: error.body(),
            field: error.field(),
        });
        status.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes: causes.collect(),
            ..Details::default()
        }));
        status
    }

    /// 429: come back after `seconds`.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, seconds: u32) -> Self {
        Self::plain(429, "TooManyRequests", message).retry_after(seconds)
    }

    /// 500. `message` must be fit for any tenant.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let mut status =
            Self::plain(500, "InternalError", format!("Internal error occurred: {message}"));
        status.details = Some(Box::new(Details {
            causes: vec![Cause { message, ..Cause::default() }],
            ..Details::default()
        }));
        status
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::plain(503, "ServiceUnavailable", message)
    }

    /// 504: it took too long.
    #[must_use]
    pub fn timeout(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::plain(504, "Timeout", format!("Timeout: {}", message.into()))
            .retry_after(retry_after_seconds)
    }

    /// 504 because the store has not reached the revision that the client asked for
    /// (`NewTooLargeResourceVersionError`).
    #[must_use]
    pub fn revision_too_large(wanted: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {wanted}, current: {current}");
        let mut status = Self::timeout(message, 1);
        let details = status.details.get_or_insert_default();
        details.causes.push(Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        });
        status
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, reason: &str, message: impl Into<String>, field: &str) -> Self {
        self.details.get_or_insert_default().causes.push(Cause {
            reason: reason.to_owned(),
            message: message.into(),
            field: field.to_owned(),
        });
        self
    }

    /// Seconds for the `Retry-After` header, if any.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        let seconds = self.details.as_ref()?.retry_after_seconds;
        (seconds > 0).then_some(seconds)
    }

    /// The `Status` object.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.continue_token {
            metadata.insert("continue", &**token);
        }
        let mut status = object! {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": &*self.message,
            "code": u32::from(self.code),
        };
        if !self.reason.is_empty() {
            status.set(&["reason"], self.reason);
        }
        if let Some(details) = &self.details {
            status.set(&["details"], details.to_value());
        }
        status
    }
}

impl Details {
    /// As JSON, empty fields left out.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in
            [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)]
        {
            if !text.is_empty() {
                map.insert(key, &**text);
            }
        }
        if !self.causes.is_empty() {
            map.insert("causes", self.causes.iter().map(Cause::to_value).collect::<Value>());
        }
        if self.retry_after_seconds > 0 {
            map.insert("retryAfterSeconds", self.retry_after_seconds);
        }
        Value::Object(map)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let fields = [("reason", &self.reason), ("message", &self.message), ("field", &self.field)];
        fields
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(key, text)| (key, &**text))
            .collect::<Map>()
            .into()
    }
}

impl Classified for Status {
    fn kind(&self) -> ErrorKind {
        match self.code {
            401 => ErrorKind::Unauthenticated,
            403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            409 | 410 => ErrorKind::Conflict,
            413 => ErrorKind::TooLarge,
            429 => ErrorKind::RateLimited,
            504 => ErrorKind::Timeout,
            500.. => ErrorKind::Internal,
            _ => ErrorKind::User,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Path;

    #[test]
    fn not_found_is_what_kubernetes_sends() {
        let status = Status::not_found(&GroupResource::new("apps", "deployments"), "x");
        assert_eq!(
            status.to_value().to_string(),
            r#"{"apiVersion":"v1","code":404,"details":{"group":"apps","kind":"deployments","name":"x"},"kind":"Status","message":"deployments.apps \"x\" not found","metadata":{},"reason":"NotFound","status":"Failure"}"#
        );
    }

    #[test]
    fn invalid_names_the_kind_and_every_field() {
        let errors = [
            FieldError::required(Path::of(&["a"]), ""),
            FieldError::forbidden(Path::of(&["b"]), "no"),
        ];
        let status = Status::invalid("g", "Kind", "x", &errors);
        assert_eq!(
            status.message,
            "Kind.g \"x\" is invalid: [a: Required value, b: Forbidden: no]"
        );
        let value = status.to_value();
        assert_eq!(value.array_at(&["details", "causes"]).len(), 2);
        assert_eq!(value.str_at(&["details", "kind"]), Some("Kind"));
    }

    #[test]
    fn retry_after_is_said_in_the_object() {
        let status = Status::too_many_requests("slow down", 1);
        assert_eq!(status.retry_after_seconds(), Some(1));
        assert_eq!(status.to_value().at(&["details", "retryAfterSeconds"]), Some(&1.into()));
    }
}
