//! Records: what the hub remembers beside the objects that people see.
//!
//! They are kept in the store under resources that no workspace serves, so no request reaches
//! them. Each hangs on a lease and goes when it can no longer matter.

use std::time::Duration;

use strait_apiserver::registry::Registry;
use strait_machinery::json::Value;
use strait_machinery::object::{Body, Header};
use strait_machinery::status::Status;
use strait_store::engine::LeaseId;
use strait_store::{CommitError, Key, Put};

/// A new record, with name and uid, that goes with its lease.
pub(super) fn record(
    registry: &Registry,
    key: Key,
    mut value: Value,
    lease: LeaseId,
) -> Result<Put, Status> {
    value.set(&["metadata", "name"], key.name.name());
    value.set(&["metadata", "uid"], registry.new_uid().to_string());
    Ok(Put { lease: Some(lease), ..encoded(key, &value)? })
}

/// A tree as something to write.
pub(super) fn encoded(key: Key, value: &Value) -> Result<Put, Status> {
    let broken = |_| Status::internal("a record cannot be stored");
    let body = Body::encode(value).map_err(broken)?;
    let header = Header::of(value).map_err(broken)?;
    Ok(Put { key, body, header, lease: None })
}

/// A lease of this length.
pub(super) async fn lease(registry: &Registry, ttl: Duration) -> Result<LeaseId, Status> {
    registry.store().grant(ttl).await.map_err(|error| unwritten(&error))
}

/// What a caller is told when the store takes no write.
pub(super) fn unwritten(error: &CommitError) -> Status {
    match error {
        CommitError::Full => Status::internal("the server has no space left, nothing was written"),
        _ => Status::unavailable("the store takes no writes now").retry_after(1),
    }
}
