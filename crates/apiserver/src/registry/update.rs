//! Replacing and changing objects.

use std::sync::Arc;

use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value};
use strait_machinery::object::{Header, Object};
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Key, Put, Txn};

use super::shape::{Shaped, set_defaults};
use super::{ATTEMPTS, Call, Incoming, Registry, Shown, Written, encode, unwritten};
use crate::catalog::Definition;
use crate::crossing::{REQUESTER, stages};
use crate::options::WriteOptions;
use crate::patch::Patch;
use crate::view::WriteKind;

/// How a new state is made of an old one.
enum Change<'a> {
    /// The client sent the whole object.
    Replace(&'a Incoming),
    /// The client sent a patch.
    Patch(&'a Patch),
}

/// A new state, and whether the client pinned the old one.
struct Next {
    value: Value,
    warnings: Vec<String>,
    pinned: bool,
}

impl Registry {
    /// Replaces an object.
    ///
    /// # Errors
    /// What the client did wrong, or the server could not do; nothing was stored.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may still store the object.
    pub async fn update(
        &self,
        call: &Call<'_>,
        name: &str,
        incoming: Incoming,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        call.check_name(&incoming.value, name)?;
        let absent = self.find(&call.key(name)?).is_none();
        if absent && call.resource.allows_create_on_update() && call.subresource.is_empty() {
            call.check_uid(&incoming.value, "", name)?;
            let mut incoming = incoming;
            incoming.value.make_object().object_mut("metadata").remove("resourceVersion");
            return self.create(call, incoming, options).await;
        }
        self.change(call, name, &Change::Replace(&incoming), options).await
    }

    /// Changes an object by a patch.
    ///
    /// # Errors
    /// What the client did wrong, or the server could not do; nothing was stored.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may still store the object.
    pub async fn patch(
        &self,
        call: &Call<'_>,
        name: &str,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.change(call, name, &Change::Patch(patch), options).await
    }

    async fn change(
        &self,
        call: &Call<'_>,
        name: &str,
        change: &Change<'_>,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let key = call.key(name)?;
        for _ in 0..ATTEMPTS {
            let seen = self
                .find(&key)
                .filter(|object| call.view.sees(call.resource, call.cluster, &key.name, object));
            let Some(old) = seen else {
                return Err(call.not_found(name));
            };
            let before = old.to_value();
            let mut next = call.next(name, &before, change, options)?;
            self.settle(call, &mut next.value, &before, options)?;
            next.warnings.extend(call.finalizer_warnings(&next.value, Some(&before)));
            let written =
                |object| Written { object, created: false, warnings: next.warnings.clone() };
            let body = encode(&next.value)?;
            if body == old.body {
                return Ok(written(Shown::Stored(old)));
            }
            if options.dry_run {
                return Ok(written(Shown::Dry(next.value)));
            }
            let header =
                Header::of(&next.value).map_err(|_| Status::internal("the object has no name"))?;
            let stays = !header.deleting
                || !header.finalizers.is_empty()
                || call.resource.behaviour.must_stay(&next.value);
            let mut txn = Txn::default();
            txn.compares.push(Compare { key: key.clone(), expect: Expect::Revision(old.revision) });
            txn.compares.extend(call.view.guards(call.resource, WriteKind::Change)?);
            if stays {
                let (key, lease) = (key.clone(), self.lease_for(call.resource).await?);
                txn.puts.push(Put { key, body, header, lease });
            } else {
                txn.deletes.push(key.clone());
            }
            let outcome = next.value.str_at(&["status", "phase"]).unwrap_or_default();
            self.record(call, &next.value, &stages(&before, &next.value), outcome).await?;
            self.record_event(call, &before, Some(&next.value)).await?;
            match self.store().commit(call.cluster, txn).await {
                Ok(committed) => {
                    return Ok(written(shown(committed, next.value)));
                }
                Err(CommitError::Refused(0)) if next.pinned => return Err(call.changed(name)),
                Err(CommitError::Refused(_)) => {}
                Err(error) => return Err(unwritten(&error)),
            }
        }
        Err(call.changed(name))
    }

    /// Completes a new state and checks it against the old one.
    fn settle(
        &self,
        call: &Call<'_>,
        value: &mut Value,
        old: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        call.keep_server_fields(value, old);
        call.own_place(value)?;
        let admission = call.admission(self, options.dry_run);
        match &call.resource.definition {
            Definition::Builtin(kind) => kind.prepare_for_update(value, old, call.subresource),
            Definition::Custom(custom) if call.subresource == "status" => {
                let status = value.make_object().remove("status");
                *value = old.clone();
                if let Some(status) = status {
                    value.set(&["status"], status);
                } else {
                    value.make_object().remove("status");
                }
                set_defaults(custom, value)?;
            }
            Definition::Custom(custom) if custom.has_status => {
                match old.get("status") {
                    Some(status) => value.set(&["status"], status.clone()),
                    None => drop(value.make_object().remove("status")),
                }
                set_defaults(custom, value)?;
            }
            Definition::Custom(_) => {}
        }
        call.resource.behaviour.prepare(&admission, value, Some(old))?;
        if let Definition::Custom(custom) = &call.resource.definition {
            bump_generation(value, old, custom.has_status);
        }
        call.validate_update(value, old)?;
        call.resource.behaviour.admit(&admission, value, Some(old))
    }

    /// Puts one key's new bytes in place if it is still at the old revision, for controllers
    /// that decide on an object themselves. Returns the new object, or nothing where it
    /// changed meanwhile.
    ///
    /// # Errors
    /// The store takes no write.
    pub async fn replace_stored(
        &self,
        key: &Key,
        old: &Object,
        value: &Value,
        guards: Vec<Compare>,
    ) -> Result<Option<Arc<Object>>, Status> {
        let body = encode(value)?;
        let header = Header::of(value).map_err(|_| Status::internal("the object has no name"))?;
        let mut compares =
            vec![Compare { key: key.clone(), expect: Expect::Revision(old.revision) }];
        compares.extend(guards);
        let put = Put { key: key.clone(), body, header, lease: None };
        let txn = Txn { compares, puts: vec![put], deletes: Vec::new() };
        match self.store().commit(&key.cluster, txn).await {
            Ok(committed) => Ok(committed.objects.into_iter().next()),
            Err(CommitError::Refused(_)) => Ok(None),
            Err(error) => Err(unwritten(&error)),
        }
    }
}

/// What a committed change shows: the stored object, or for a last finalizer's removal the
/// final state at the revision of the deletion.
fn shown(committed: strait_store::Committed, mut value: Value) -> Shown {
    if let Some(object) = committed.objects.into_iter().next() {
        Shown::Stored(object)
    } else {
        value.set(&["metadata", "resourceVersion"], committed.revision.to_string());
        Shown::Dry(value)
    }
}

/// Generation rises when anything but metadata (and a status of its own) changes.
fn bump_generation(value: &mut Value, old: &Value, has_status: bool) {
    let outside = |value: &Value| -> Value {
        let mut map = value.as_object().cloned().unwrap_or_default();
        map.remove("metadata");
        if has_status {
            map.remove("status");
        }
        map.into()
    };
    let generation = old.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
    let changed = outside(value) != outside(old);
    value.set(&["metadata", "generation"], if changed { generation + 1 } else { generation });
}

impl Call<'_> {
    fn next(
        &self,
        name: &str,
        old: &Value,
        change: &Change<'_>,
        options: &WriteOptions,
    ) -> Result<Next, Status> {
        let shaped = match change {
            Change::Replace(incoming) => {
                self.shape((*incoming).clone(), options.field_validation)?
            }
            Change::Patch(patch) => self.patched(patch, old, options)?,
        };
        self.check_name(&shaped.value, name)?;
        let of = |value: &Value, key: &str| {
            value.str_at(&["metadata", key]).unwrap_or_default().to_owned()
        };
        let version = of(&shaped.value, "resourceVersion");
        let pinned = match change {
            Change::Patch(patch) => patch.pins_revision(),
            Change::Replace(_) => {
                self.check_uid(&shaped.value, &of(old, "uid"), name)?;
                !matches!(&*version, "" | "0")
            }
        };
        if !pinned
            && matches!(change, Change::Replace(_))
            && !self.resource.allows_unconditional_update()
        {
            let path = Path::of(&["metadata", "resourceVersion"]);
            let error = FieldError::invalid(path, 0, "must be specified for an update");
            // By the resource's name, as Kubernetes has it here and only here.
            let (group, resource) = (&self.resource.gvr.group, &self.resource.gvr.resource);
            return Err(Status::invalid(group, resource, name, &[error]));
        }
        if !matches!(&*version, "" | "0") && version != of(old, "resourceVersion") {
            return Err(self.changed(name));
        }
        Ok(Next { value: shaped.value, warnings: shaped.warnings, pinned })
    }

    fn patched(
        &self,
        patch: &Patch,
        old: &Value,
        options: &WriteOptions,
    ) -> Result<Shaped, Status> {
        let apply = || patch.apply(self.resource.served_form(old.clone())?, self.resource);
        let strict_errors = patch.strict_errors().to_vec();
        let patched = Incoming { value: apply()?, strict_errors, ..Incoming::default() };
        self.shape_patched(patched, options.field_validation, |why| {
            let shown = patch.shown().or_else(|| Some(apply().ok()?.to_string()));
            let error = FieldError::invalid(Path::of(&["patch"]), shown.unwrap_or_default(), why);
            Status::invalid("", "", "", &[error])
        })
    }

    fn check_name(&self, value: &Value, name: &str) -> Result<(), Status> {
        let given = value.str_at(&["metadata", "name"]).unwrap_or_default();
        if given.is_empty() {
            return Err(Status::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        }
        if given == name {
            return Ok(());
        }
        Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )))
    }

    fn check_uid(&self, value: &Value, uid: &str, name: &str) -> Result<(), Status> {
        let given = value.str_at(&["metadata", "uid"]).unwrap_or_default();
        if given.is_empty() || given == uid {
            return Ok(());
        }
        Err(self.conflict(
            name,
            &format!(
                "Precondition failed: UID in precondition: {given}, UID in object meta: {uid}"
            ),
        ))
    }

    /// Puts back what a client leaves out or may not set. What it changed explicitly stays, to
    /// be refused by validation.
    fn keep_server_fields(&self, value: &mut Value, old: &Value) {
        let old_meta = |key: &str| old.at(&["metadata", key]).cloned();
        let metadata = value.make_object().object_mut("metadata");
        let given = ["namespace", "uid", "deletionTimestamp", "deletionGracePeriodSeconds"];
        for key in given {
            let given = metadata
                .get(key)
                .is_some_and(|given| !given.is_null() && given.as_str() != Some(""));
            if let Some(kept) = old_meta(key).filter(|_| !given) {
                metadata.insert(key, kept);
            }
        }
        for key in ["creationTimestamp", "generation", "resourceVersion"] {
            match old_meta(key) {
                Some(kept) => drop(metadata.insert(key, kept)),
                None => drop(metadata.remove(key)),
            }
        }
        metadata.remove("selfLink");
        metadata.remove("managedFields");
        if self.resource.crossing {
            let requester = old.at(&["metadata", "annotations", REQUESTER]).cloned();
            let annotations = metadata.object_mut("annotations");
            match requester {
                Some(requester) => drop(annotations.insert(REQUESTER, requester)),
                None => drop(annotations.remove(REQUESTER)),
            }
        }
    }
}
