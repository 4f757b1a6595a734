//! Removing objects.

use strait_machinery::json::Value;
use strait_machinery::object::{Header, Object};
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Key, Put, Txn};
use strait_types::GroupResource;

use super::{ATTEMPTS, Call, Deleted, Registry, Shown, encode, unwritten};
use crate::options::DeleteOptions;
use crate::view::WriteKind;

impl Registry {
    /// Removes an object, or begins to where finalizers hold it.
    ///
    /// # Errors
    /// What the client did wrong, or the server could not do; nothing was changed.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may still remove the object.
    pub async fn delete(
        &self,
        call: &Call<'_>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let key = call.key(name)?;
        for _ in 0..ATTEMPTS {
            let seen = self
                .find(&key)
                .filter(|object| call.view.sees(call.resource, call.cluster, &key.name, object));
            let Some(old) = seen else {
                return Err(call.not_found(name));
            };
            call.check_preconditions(&old, name, options)?;
            let admission = call.admission(self, options.dry_run);
            call.resource.behaviour.admit_delete(&admission, &old)?;
            let mut value = old.to_value();
            let hooked = if old.header.deleting {
                call.resource.behaviour.must_stay(&value)
            } else {
                call.resource.behaviour.begin_deletion(&mut value)
            };
            let stays = hooked || !old.header.finalizers.is_empty();
            if stays && old.header.deleting {
                return Ok(Deleted::Waiting(Shown::Stored(old)));
            }
            if stays {
                self.mark(&mut value, hooked);
            }
            if options.dry_run {
                let shown = Shown::Dry(value);
                return Ok(if stays { Deleted::Waiting(shown) } else { Deleted::Gone(shown) });
            }
            let mut txn = removal(&key, &old, &value, stays)?;
            txn.compares.extend(call.view.guards(call.resource, WriteKind::Change)?);
            self.record_event(call, &value, None).await?;
            match self.store().commit(call.cluster, txn).await {
                Ok(committed) => {
                    return Ok(match committed.objects.into_iter().next() {
                        Some(object) => Deleted::Waiting(Shown::Stored(object)),
                        None => Deleted::Gone(Shown::Stored(old)),
                    });
                }
                Err(CommitError::Refused(_)) => {}
                Err(error) => return Err(unwritten(&error)),
            }
        }
        Err(call.changed(name))
    }

    /// Marks an object as being deleted. Kinds that hold themselves, which are namespaces, name
    /// no grace period (`registry/core/namespace/storage`).
    fn mark(&self, value: &mut Value, holds_itself: bool) {
        value.set(&["metadata", "deletionTimestamp"], self.timestamp());
        if !holds_itself {
            value.set(&["metadata", "deletionGracePeriodSeconds"], 0);
        }
        if let Some(generation) = value.at(&["metadata", "generation"]).and_then(Value::as_i64) {
            value.set(&["metadata", "generation"], generation + 1);
        }
    }
}

fn removal(key: &Key, old: &Object, value: &Value, stays: bool) -> Result<Txn, Status> {
    let mut txn = Txn::default();
    txn.compares.push(Compare { key: key.clone(), expect: Expect::Revision(old.revision) });
    if stays {
        let body = encode(value)?;
        let header = Header::of(value).map_err(|_| Status::internal("the object has no name"))?;
        txn.puts.push(Put { key: key.clone(), body, header, lease: None });
    } else {
        txn.deletes.push(key.clone());
    }
    Ok(txn)
}

impl Call<'_> {
    fn check_preconditions(
        &self,
        old: &Object,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        // By the kind, as Kubernetes has it here.
        let kind = GroupResource::new(&self.resource.gvr.group, self.resource.kind());
        let uid = old.header.uid.to_string();
        if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
            let why = format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(&kind, name, &why));
        }
        let revision = old.revision.to_string();
        if let Some(wanted) =
            options.resource_version.as_deref().filter(|wanted| *wanted != revision)
        {
            let why = format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({revision}). The object might have been modified"
            );
            return Err(Status::conflict(&kind, name, &why));
        }
        Ok(())
    }
}
