//! ConfigMaps and Secrets.

use super::{IMMUTABLE, members, text};
use crate::builtin::base64;
use crate::field::FieldError;
use crate::json::{Path, Value, parse};

/// Most bytes of all values together.
const DATA_MAX: usize = 1 << 20;
const KEY_MAX: usize = 253;
const SET_IMMUTABLE: &str = "field is immutable when `immutable` is set";
const BAD_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

/// Moves `stringData` into `data` and sets the type.
pub(super) fn complete_secret(object: &mut Value) {
    let object = object.make_object();
    if let Some(Value::Object(texts)) = object.remove("stringData") {
        let data = object.object_mut("data");
        for (key, value) in texts {
            let bytes = value.as_str().unwrap_or_default().as_bytes();
            data.insert(key, base64::encode(bytes));
        }
    }
    if object.get("type").and_then(Value::as_str).is_none_or(str::is_empty) {
        object.insert("type", "Opaque");
    }
}

pub(super) fn validate_config_map(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in members(object, "data") {
        let path = Path::of(&["data"]).key(key);
        key_errors(key, &path, &mut errors);
        if object.at(&["binaryData", key]).is_some() {
            let detail = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(path, key, detail));
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in members(object, "binaryData") {
        key_errors(key, &Path::of(&["binaryData"]).key(key), &mut errors);
        size += value.as_str().map_or(0, base64::decoded_len);
    }
    if size > DATA_MAX {
        errors.push(FieldError::too_long(Path::root().key(""), DATA_MAX));
    }
    errors
}

pub(super) fn validate_config_map_update(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = frozen_errors(object, old, &["data", "binaryData"]);
    errors.extend(validate_config_map(object));
    errors
}

pub(super) fn validate_secret(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in members(object, "data") {
        key_errors(key, &Path::of(&["data"]).key(key), &mut errors);
        size += value.as_str().map_or(0, base64::decoded_len);
    }
    if size > DATA_MAX {
        errors.push(FieldError::too_long(Path::of(&["data"]), DATA_MAX));
    }
    errors.extend(missing_keys(object));
    errors
}

pub(super) fn validate_secret_update(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = text(object, &["type"]);
    if kind != text(old, &["type"]) {
        errors.push(FieldError::invalid(Path::of(&["type"]), kind, IMMUTABLE));
    }
    errors.extend(frozen_errors(object, old, &["data"]));
    errors.extend(validate_secret(object));
    errors
}

/// What an update may not change once `immutable` is set.
fn frozen_errors(object: &Value, old: &Value, names: &[&str]) -> Vec<FieldError> {
    let set = Some(&Value::Bool(true));
    if old.get("immutable") != set {
        return Vec::new();
    }
    let lifted = (object.get("immutable") != set).then_some("immutable");
    let changed = names.iter().copied().filter(|name| object.get(name) != old.get(name));
    let forbidden = |name| FieldError::forbidden(Path::of(&[name]), SET_IMMUTABLE);
    lifted.into_iter().chain(changed).map(forbidden).collect()
}

fn key_errors(key: &str, path: &Path, errors: &mut Vec<FieldError>) {
    let mut invalid = |detail: String| errors.push(FieldError::invalid(path.clone(), key, detail));
    if key.len() > KEY_MAX {
        invalid(format!("must be no more than {KEY_MAX} characters"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if key.is_empty() || !key.bytes().all(allowed) {
        invalid(BAD_KEY.into());
    }
    match key {
        "." | ".." => invalid(format!("must not be '{key}'")),
        _ if key.starts_with("..") => invalid("must not start with '..'".into()),
        _ => {}
    }
}

/// What a secret of its type lacks.
fn missing_keys(object: &Value) -> Vec<FieldError> {
    let key_path = |key: &str| Path::of(&["data"]).key(key);
    let has = |key: &str| object.at(&["data", key]).is_some();
    let all_of = |keys: &[&str]| -> Vec<_> {
        let missing = keys.iter().filter(|key| !has(key));
        missing.map(|key| FieldError::required(key_path(key), "")).collect()
    };
    match text(object, &["type"]) {
        "kubernetes.io/service-account-token" => {
            let name = text(object, &["metadata", "annotations", SERVICE_ACCOUNT_NAME]);
            let path = Path::of(&["metadata", "annotations"]).key(SERVICE_ACCOUNT_NAME);
            if name.is_empty() { vec![FieldError::required(path, "")] } else { Vec::new() }
        }
        "kubernetes.io/dockercfg" => docker_errors(object, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => docker_errors(object, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if has("username") || has("password") => Vec::new(),
        "kubernetes.io/basic-auth" => all_of(&["username", "password"]),
        "kubernetes.io/ssh-auth" if text(object, &["data", "ssh-privatekey"]).is_empty() => {
            vec![FieldError::required(key_path("ssh-privatekey"), "")]
        }
        "kubernetes.io/tls" => all_of(&["tls.crt", "tls.key"]),
        _ => Vec::new(),
    }
}

/// The key must be there and hold a JSON object.
fn docker_errors(object: &Value, key: &str) -> Vec<FieldError> {
    let path = Path::of(&["data"]).key(key);
    let Some(config) = object.str_at(&["data", key]) else {
        return vec![FieldError::required(path, "")];
    };
    let detail = match parse(&base64::decode(config.as_bytes()).unwrap_or_default()) {
        Ok(Value::Object(_) | Value::Null) => return Vec::new(),
        Ok(other) => format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go_kind(&other)
        ),
        Err(_) if config.is_empty() => "unexpected end of JSON input".into(),
        Err(error) => error.to_string(),
    };
    vec![FieldError::invalid(path, "<secret contents redacted>", detail)]
}

const fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        other => other.type_name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;

    #[test]
    fn all_values_together_take_at_most_a_mebibyte() {
        let text = |size: usize| Value::from("x".repeat(size));
        let bytes = |size: usize| Value::from(base64::encode(&vec![0; size]));
        for (size, told) in
            [(DATA_MAX - 1, None), (DATA_MAX, Some("Too long: may not be more than 1048576 bytes"))]
        {
            let map =
                object! {"data": object!{"a": text(size)}, "binaryData": object!{"b": bytes(1)}};
            let secret = object! {"data": object!{"a": bytes(size), "b": bytes(1)}};
            for (path, errors) in
                [("[]", validate_config_map(&map)), ("data", validate_secret(&secret))]
            {
                let body = errors.first().map(FieldError::body);
                assert_eq!(body.as_deref(), told);
                assert!(errors.iter().all(|error| error.path.to_string() == path));
            }
        }
    }
}
