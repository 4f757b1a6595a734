//! Making objects.

use strait_machinery::json::Value;
use strait_machinery::names;
use strait_machinery::object::Header;
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Put, Txn};

use super::shape::{CLUSTER, set_defaults};
use super::{ATTEMPTS, Call, Incoming, Registry, Shown, Written, encode, unwritten};
use crate::catalog::Definition;
use crate::crossing::{Entry, REQUESTER, Stage, requester};
use crate::options::WriteOptions;
use crate::view::WriteKind;

/// Attempts at a free generated name (`registry/generic/registry/store.go`).
const NAME_ATTEMPTS: usize = 8;

impl Registry {
    /// Makes an object.
    ///
    /// # Errors
    /// What the client did wrong, or the server could not do; nothing was stored.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may still store the object.
    pub async fn create(
        &self,
        call: &Call<'_>,
        incoming: Incoming,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let shaped = call.shape(incoming, options.field_validation)?;
        let (mut value, mut warnings) = (shaped.value, shaped.warnings);
        warnings.extend(call.finalizer_warnings(&value, None));
        self.own_metadata(call, &mut value)?;
        let generated = value.str_at(&["metadata", "name"]).unwrap_or_default().is_empty();
        let prefix = value.str_at(&["metadata", "generateName"]).unwrap_or_default().to_owned();
        let mut taken = None;
        for _ in 0..NAME_ATTEMPTS {
            if generated && !prefix.is_empty() {
                value.set(&["metadata", "name"], self.generate_name(&prefix));
            }
            match self.create_named(call, value.clone(), options).await {
                Ok(object) => {
                    return Ok(Written { object, created: true, warnings });
                }
                Err(status) if generated && status.reason == "AlreadyExists" => {
                    taken = Some(status);
                }
                Err(status) => return Err(status),
            }
        }
        Err(taken.expect("a loop that ends met a taken name").retry_after(1))
    }

    /// Sets what only the server may.
    fn own_metadata(&self, call: &Call<'_>, value: &mut Value) -> Result<(), Status> {
        let metadata = value.make_object().object_mut("metadata");
        let given = metadata.remove("resourceVersion").unwrap_or_default();
        let revision = given.as_str().and_then(|version| version.parse::<u64>().ok());
        if revision.is_some_and(|revision| revision > 0) {
            let mut status = Status::internal("");
            status.message = "resourceVersion should not be set on objects to be created".into();
            (status.reason, status.details) = ("", None);
            return Err(status);
        }
        for key in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"]
        {
            metadata.remove(key);
        }
        metadata.insert("uid", self.new_uid().to_string());
        metadata.insert("creationTimestamp", self.timestamp());
        if matches!(call.resource.definition, Definition::Custom(_)) {
            metadata.insert("generation", 1);
        }
        call.own_place(value)
    }

    fn generate_name(&self, prefix: &str) -> String {
        let bytes = strait_runtime::random_16(self.entropy());
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0]);
        names::generated(prefix, [number(0), number(3), number(6), number(9), number(12)])
    }

    async fn create_named(
        &self,
        call: &Call<'_>,
        mut value: Value,
        options: &WriteOptions,
    ) -> Result<Shown, Status> {
        let admission = call.admission(self, options.dry_run);
        let behaviour = &call.resource.behaviour;
        match &call.resource.definition {
            Definition::Builtin(kind) => kind.prepare_for_create(&mut value),
            Definition::Custom(custom) if custom.has_status => {
                value.make_object().remove("status");
                set_defaults(custom, &mut value)?;
            }
            Definition::Custom(_) => {}
        }
        behaviour.prepare(&admission, &mut value, None)?;
        if call.resource.crossing {
            value
                .make_object()
                .object_mut("metadata")
                .object_mut("annotations")
                .insert(REQUESTER, requester(call.user));
        }
        let name = value.str_at(&["metadata", "name"]).unwrap_or_default().to_owned();
        // Before validation, which would speak of an object that could not be made anyway.
        self.namespace_guard(call, &name)?;
        call.validate(&value)?;
        behaviour.admit(&admission, &value, None)?;
        if options.dry_run {
            // The checks that a store would make.
            call.view.guards(call.resource, WriteKind::Create)?;
            return match self.find(&call.key(&name)?) {
                Some(_) => Err(already_exists(call, &name, false)),
                None => Ok(Shown::Dry(value)),
            };
        }
        self.store_new(call, &value, &name).await
    }

    async fn store_new(&self, call: &Call<'_>, value: &Value, name: &str) -> Result<Shown, Status> {
        let key = call.key(name)?;
        let lease = self.lease_for(call.resource).await?;
        let body = encode(value)?;
        let header = Header::of(value).map_err(|_| Status::internal("the object has no name"))?;
        let mut recorded = false;
        for _ in 0..ATTEMPTS {
            if let Some(existing) = self.find(&key) {
                return Err(already_exists(call, name, existing.header.deleting));
            }
            let admission = call.admission(self, false);
            let companions = call.resource.behaviour.companions(&admission, value, &key)?;
            let mut txn = Txn::default();
            txn.compares.push(Compare { key: key.clone(), expect: Expect::Absent });
            txn.compares.extend(call.view.guards(call.resource, WriteKind::Create)?);
            txn.compares.extend(self.namespace_guard(call, name)?);
            txn.compares.extend(companions.guards);
            let (body, header, key) = (body.clone(), header.clone(), key.clone());
            txn.puts.push(Put { key, body, header, lease });
            txn.puts.extend(companions.puts);
            if !recorded {
                self.record(call, value, &[Stage::Asked], "").await?;
                recorded = true;
            }
            match self.store().commit(call.cluster, txn).await {
                Ok(committed) => return Ok(Shown::Stored(committed.objects[0].clone())),
                Err(CommitError::Refused(_)) => {}
                Err(error) => return Err(self.not_created(call, value, unwritten(&error)).await),
            }
        }
        let status = call.changed(name);
        Err(self.not_created(call, value, status).await)
    }

    /// Tells the audit log that a crossing that was asked for did not come to be.
    async fn not_created(&self, call: &Call<'_>, value: &Value, status: Status) -> Status {
        let recorded = self.record(call, value, &[Stage::Ended], "NotCreated").await;
        recorded.err().unwrap_or(status)
    }

    /// Records stages of a crossing; nothing for other kinds.
    ///
    /// # Errors
    /// 500: the record cannot be written, so nothing may happen.
    pub(super) async fn record(
        &self,
        call: &Call<'_>,
        value: &Value,
        stages: &[Stage],
        outcome: &str,
    ) -> Result<(), Status> {
        if !call.resource.crossing || stages.is_empty() {
            return Ok(());
        }
        self.append(call, value, stages, outcome).await
    }

    /// Records what the kind says that is to be of a change or a deletion.
    ///
    /// # Errors
    /// 500: the record cannot be written, so nothing may happen.
    pub(super) async fn record_event(
        &self,
        call: &Call<'_>,
        old: &Value,
        new: Option<&Value>,
    ) -> Result<(), Status> {
        match call.resource.behaviour.event(old, new) {
            Some(event) => self.append(call, old, &[Stage::Started], &event).await,
            None => Ok(()),
        }
    }

    async fn append(
        &self,
        call: &Call<'_>,
        value: &Value,
        stages: &[Stage],
        outcome: &str,
    ) -> Result<(), Status> {
        let key = call.key(value.str_at(&["metadata", "name"]).unwrap_or_default())?;
        let crossing = value.str_at(&["metadata", "uid"]).unwrap_or_default();
        let entries = stages.iter().map(|stage| Entry {
            crossing: crossing.to_owned(),
            stage: *stage,
            user: call.user.clone(),
            key: key.clone(),
            outcome: outcome.to_owned(),
        });
        let recorded = self.0.crossings.record(entries.collect()).await;
        recorded.map_err(|_| {
            Status::internal("the audit log cannot be written, so this does not happen")
        })
    }
}

fn already_exists(call: &Call<'_>, name: &str, deleting: bool) -> Status {
    let mut status = Status::already_exists(&call.resource.group_resource(), name);
    if deleting {
        status.message = format!("object is being deleted: {}", status.message);
    }
    status
}

impl Call<'_> {
    /// Puts an object where the URL says: namespace, logical cluster, type.
    pub(super) fn own_place(&self, value: &mut Value) -> Result<(), Status> {
        self.own_namespace(value)?;
        let metadata = value.make_object().object_mut("metadata");
        metadata.object_mut("annotations").insert(CLUSTER, self.cluster.as_str());
        let (api_version, kind) = self.resource.stored_type();
        value.set(&["apiVersion"], api_version);
        value.set(&["kind"], kind);
        Ok(())
    }

    /// Puts an object into the namespace of the URL.
    pub(super) fn own_namespace(&self, value: &mut Value) -> Result<(), Status> {
        let metadata = value.make_object().object_mut("metadata");
        let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
        match self.namespace.filter(|_| self.resource.is_namespaced()) {
            // Some manifests name one although the kind has none; kube-apiserver drops it too.
            None => drop(metadata.remove("namespace")),
            Some(namespace) if given.is_empty() => drop(metadata.insert("namespace", namespace)),
            Some(namespace) if given != namespace => {
                return Err(Status::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            Some(_) => {}
        }
        Ok(())
    }
}
