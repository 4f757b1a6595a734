//! Writes to an object's own logical cluster, each under the condition that it is still that
//! object.

use strait_machinery::json::Value;
use strait_machinery::object;
use strait_types::{Classified, ErrorKind, GroupVersionResource};

use crate::{Api, ApiError, Object, ObjectKey};

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// What a server stores of an object, and room for what it adds.
const OBJECT_BYTES_MAX: usize = 4 << 20;

/// Tries of a write whose condition failed because somebody else wrote in between.
const CONFLICTS_MAX: usize = 5;

/// Writes objects of one kind.
#[derive(Clone)]
pub struct Writer {
    api: Api,
    resource: GroupVersionResource,
}

impl Writer {
    /// Writes to that server.
    #[must_use]
    pub const fn new(api: Api, resource: GroupVersionResource) -> Self {
        Self { api, resource }
    }

    /// The server.
    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.api
    }

    /// Reads an object; none if it, or the object of that uid, is no longer there.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ApiError> {
        let read = self.api.get(&key.path(&self.resource), OBJECT_BYTES_MAX).await;
        match read {
            Ok(value) => Ok(same(key, value)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a finalizer to an object that is still as `seen`; returns it as it is then.
    ///
    /// # Errors
    /// See [`ApiError`]; a conflict means that it is no longer so.
    pub async fn add_finalizer(&self, seen: &Object, name: &str) -> Result<Object, ApiError> {
        let mut patch = vec![test("/metadata/uid", seen.key.uid.to_string())];
        patch.push(test("/metadata/resourceVersion", &*seen.version));
        if seen.finalizers().next().is_some() {
            patch.push(add("/metadata/finalizers/-", name));
        } else {
            patch.push(add("/metadata/finalizers", vec![Value::from(name)]));
        }
        let written = self.patch(&seen.key, "", JSON_PATCH, Value::Array(patch)).await?;
        same(&seen.key, written)?.ok_or(ApiError::Malformed("the object that was written"))
    }

    /// Removes a finalizer, whatever else happened to the object. Returns it as it is then; none
    /// if it is gone.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn remove_finalizer(
        &self,
        key: &ObjectKey,
        name: &str,
    ) -> Result<Option<Object>, ApiError> {
        let mut tries = 0;
        loop {
            let Some(object) = self.get(key).await? else {
                return Ok(None);
            };
            let Some(at) = object.finalizers().position(|finalizer| finalizer == name) else {
                return Ok(Some(object));
            };
            let at = format!("/metadata/finalizers/{at}");
            let patch = vec![
                test("/metadata/uid", key.uid.to_string()),
                test(&at, name),
                object! {"op": "remove", "path": &*at},
            ];
            match self.patch(key, "", JSON_PATCH, Value::Array(patch)).await {
                Ok(written) => return same(key, written),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Conflict && tries < CONFLICTS_MAX => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Merges into the status (RFC 7386: `null` removes). Returns the object as it is then; none
    /// if it is gone.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn merge_status(
        &self,
        key: &ObjectKey,
        status: Value,
    ) -> Result<Option<Object>, ApiError> {
        // A uid that is not the object's is refused, since nobody may change it.
        let patch = object! {
            "metadata": object!{"uid": key.uid.to_string()},
            "status": status,
        };
        match self.patch(key, "/status", MERGE_PATCH, patch).await {
            Ok(written) => same(key, written),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => Ok(None),
                // Another object of that name, or a status that is not allowed.
                ErrorKind::Conflict => match self.get(key).await? {
                    None => Ok(None),
                    Some(_) => Err(error),
                },
                _ => Err(error),
            },
        }
    }

    async fn patch(
        &self,
        key: &ObjectKey,
        subresource: &str,
        media_type: &'static str,
        patch: Value,
    ) -> Result<Value, ApiError> {
        let path = format!("{}{subresource}", key.path(&self.resource));
        self.api.patch(&path, media_type, &patch, OBJECT_BYTES_MAX).await
    }
}

/// The object that a server answered with, if it is the one of the key.
fn same(key: &ObjectKey, value: Value) -> Result<Option<Object>, ApiError> {
    let object = Object::new(&key.endpoint, value);
    let object = object.map_err(|_| ApiError::Malformed("an object"))?;
    Ok((object.key == *key).then_some(object))
}

fn test(path: &str, value: impl Into<Value>) -> Value {
    object! {"op": "test", "path": path, "value": value}
}

fn add(path: &str, value: impl Into<Value>) -> Value {
    object! {"op": "add", "path": path, "value": value}
}
