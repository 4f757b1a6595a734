//! `apiVersion` and `kind` of a request's body: whether it is what the URL asks for.

use std::fmt;

use strait_types::{GroupVersion, GroupVersionKind};

use super::kind;
use super::model::Kind;
use crate::field::FieldError;
use crate::go_text::quoted;
use crate::json::{Path, Value};
use crate::status::Status;

/// Most bytes of a body that a message shows.
const SHOWN_MAX: usize = 30;

impl Kind {
    /// Checks a body that is to be an object of this kind; what it leaves out is presumed.
    /// `raw` is the body's text, for messages.
    ///
    /// # Errors
    /// A 400 for anything else.
    pub fn check_type(&self, body: &Value, raw: &[u8]) -> Result<(), Status> {
        let (api_version, name) =
            type_of(body).map_err(|why| unrecognized(self.kind, &why, raw))?;
        let version = parse_version(&api_version, self.group_version())
            .map_err(|why| unrecognized(self.kind, &why, raw))?;
        let name = if name.is_empty() { self.kind } else { &name };
        if version == self.group_version() && name == self.kind {
            return Ok(());
        }
        let why = match kind(&version.group, &version.version, name) {
            Some(other) => format!(
                "converting ({}) to ({}.{}): unknown conversion",
                other.message().go_type(),
                self.stored_as().package(),
                self.kind
            ),
            None => format!("no kind {} is registered for version \"{version}\"", quoted(name)),
        };
        Err(Status::bad_request(format!(
            "{name} in version {} cannot be handled as a {}: {why}",
            quoted(&version.version),
            self.kind
        )))
    }

    fn package(&self) -> &'static str {
        let id = self.message().id;
        id.split_once('.').map_or(id, |(package, _)| package)
    }
}

/// Checks a body that is to be an object of a custom kind, which must name its type.
///
/// # Errors
/// A 400, or a 422 where only the kind is another.
pub fn check_custom_type(
    expected: &GroupVersionKind,
    body: &Value,
    raw: &[u8],
) -> Result<(), Status> {
    let refuse = |why: String| unrecognized(&expected.kind, &why, raw);
    let (api_version, name) = type_of(body).map_err(refuse)?;
    if name.is_empty() {
        let text = String::from_utf8_lossy(raw);
        return Err(refuse(format!("Object 'Kind' is missing in '{text}'")));
    }
    let version = parse_version(&api_version, GroupVersion::new("", "")).map_err(refuse)?;
    if version != expected.group_version() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            expected.group_version()
        )));
    }
    if *name != *expected.kind {
        let detail = format!("must be {}", expected.kind);
        let object = body.str_at(&["metadata", "name"]).unwrap_or_default();
        let error = FieldError::invalid(Path::of(&["kind"]), &*name, detail);
        return Err(Status::invalid(&expected.group, &name, object, &[error]));
    }
    Ok(())
}

/// The 400 for a body in which no object can be seen, such as one that is no JSON. `why` says
/// what a parser said.
#[must_use]
pub fn unrecognized(kind: &str, why: &dyn fmt::Display, raw: &[u8]) -> Status {
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({})",
        summary(raw)
    ))
}

/// `apiVersion` and `kind`, empty where absent.
fn type_of(body: &Value) -> Result<(String, String), String> {
    let failed = |found: &Value, place: &str| {
        let found = if let Value::Bool(_) = found { "bool" } else { found.type_name() };
        format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go {place}"
        )
    };
    let map = match body {
        Value::Object(map) => map,
        Value::Null => return Ok(Default::default()),
        other => {
            let place = r#"value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
            return Err(failed(other, place));
        }
    };
    let text = |key: &str| match map.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.to_string()),
        Some(other) => Err(failed(other, &format!("struct field .{key} of type string"))),
    };
    Ok((text("apiVersion")?, text("kind")?))
}

fn parse_version(text: &str, absent: GroupVersion) -> Result<GroupVersion, String> {
    if text.is_empty() { Ok(absent) } else { text.parse().map_err(|error| format!("{error}")) }
}

/// The beginning of a body: text where it looks like an object, hexadecimal otherwise.
fn summary(raw: &[u8]) -> String {
    let shown = &raw[..raw.len().min(SHOWN_MAX)];
    let rest = if shown.len() < raw.len() { " ..." } else { "" };
    match shown.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{rest}", String::from_utf8_lossy(shown)),
        Some(_) => {
            let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{rest}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    const UNRECOGNIZED: &str = "the object provided is unrecognized (must be of type";

    /// Recorded from kube-apiserver 1.34, which also names the file that lists its kinds.
    #[test]
    fn bodies_of_another_kind_are_refused() {
        let config_map = kind("", "v1", "ConfigMap").unwrap();
        for (body, message) in [
            ("{}", ""),
            ("null", ""),
            (r#"{"kind":"ConfigMap"}"#, ""),
            (r#"{"apiVersion":"v1","kind":null}"#, ""),
            (
                "[]",
                r#"ConfigMap): couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (5b5d)"#,
            ),
            (
                r#"{"kind":3}"#,
                r#"ConfigMap): couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string ({"kind":3})"#,
            ),
            (
                r#"{"apiVersion": "a/b/c", "metadata": {"name": "a"}}"#,
                r#"ConfigMap): unexpected GroupVersion string: a/b/c ({"apiVersion": "a/b/c", "metad ...)"#,
            ),
            (
                r#"{"kind":"Secret"}"#,
                r#"Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion"#,
            ),
            (
                r#"{"apiVersion":"v2"}"#,
                r#"ConfigMap in version "v2" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v2""#,
            ),
        ] {
            let checked = config_map.check_type(&parse(body.as_bytes()).unwrap(), body.as_bytes());
            let told = checked.map_or_else(|status| status.message, |()| String::new());
            assert_eq!(told.trim_start_matches(UNRECOGNIZED).trim_start(), message, "{body}");
        }
    }

    /// Recorded from kube-apiserver 1.34.
    #[test]
    fn custom_objects_must_say_what_they_are() {
        let widget = GroupVersionKind::new("builtin.test", "v1", "Widget");
        for (body, message) in [
            (r#"{"apiVersion":"builtin.test/v1","kind":"Widget"}"#, ""),
            ("null", "Widget): Object 'Kind' is missing in 'null' (6e756c6c)"),
            (
                r#"{"kind":"Widget"}"#,
                "the API version in the data () does not match the expected API version (builtin.test/v1)",
            ),
            (
                r#"{"apiVersion":"builtin.test/v1","kind":"Gadget","metadata":{"name":"q"}}"#,
                r#"Gadget.builtin.test "q" is invalid: kind: Invalid value: "Gadget": must be Widget"#,
            ),
        ] {
            let value = parse(body.as_bytes()).unwrap();
            let checked = check_custom_type(&widget, &value, body.as_bytes());
            let told = checked.map_or_else(|status| status.message, |()| String::new());
            assert_eq!(told.trim_start_matches(UNRECOGNIZED).trim_start(), message, "{body}");
        }
        assert!(unrecognized("X", &"why", b"").message.ends_with("why (<empty>)"));
    }
}
