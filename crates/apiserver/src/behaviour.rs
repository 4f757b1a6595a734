//! What data cannot say of a kind.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use strait_auth::User;
use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::engine::Compare;
use strait_store::{Key, Put};
use strait_types::ClusterName;

use crate::catalog::Resource;
use crate::registry::Registry;

/// Who writes what where; what a behaviour may look at.
pub struct Admission<'a> {
    /// Reads of anything else.
    pub registry: &'a Registry,
    /// The kind.
    pub resource: &'a Arc<Resource>,
    /// The logical cluster.
    pub cluster: &'a ClusterName,
    /// The namespace, if the kind has them.
    pub namespace: Option<&'a str>,
    /// Who asks.
    pub user: &'a User,
    /// The subresource written through; empty: the object itself.
    pub subresource: &'a str,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

/// What a write brings with it, in the same transaction.
#[derive(Default)]
pub struct Companions {
    /// Further objects, each of another resource than the written one and the others.
    pub puts: Vec<Put>,
    /// What must hold at the commit beyond the usual.
    pub guards: Vec<Compare>,
}

/// Hooks of one kind. Every hook has a default that does nothing.
pub trait Behaviour: Send + Sync + 'static {
    /// Completes a new object (`old` is `None`) or one that replaces `old`, before validation.
    ///
    /// # Errors
    /// The write is refused.
    fn prepare(
        &self,
        _admission: &Admission<'_>,
        _object: &mut Value,
        _old: Option<&Value>,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// Refuses what the schema cannot, after validation.
    ///
    /// # Errors
    /// The write is refused.
    fn admit(
        &self,
        _admission: &Admission<'_>,
        _object: &Value,
        _old: Option<&Value>,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// What a change, or a deletion (`new` is `None`), is put on record as before it is stored; none
    /// for what needs no record.
    fn event(&self, _old: &Value, _new: Option<&Value>) -> Option<String> {
        None
    }

    /// Refuses a deletion.
    ///
    /// # Errors
    /// The deletion is refused.
    fn admit_delete(&self, _admission: &Admission<'_>, _old: &Object) -> Result<(), Status> {
        Ok(())
    }

    /// Changes an object whose deletion begins. Returns whether the object must stay although
    /// it has no finalizers in its metadata.
    fn begin_deletion(&self, _object: &mut Value) -> bool {
        false
    }

    /// Whether an object that is being deleted must stay although it has no finalizers in its
    /// metadata.
    fn must_stay(&self, _object: &Value) -> bool {
        false
    }

    /// Answers a POST to a subresource that only the kind itself knows.
    fn connect<'a>(
        &'a self,
        _admission: &'a Admission<'a>,
        _name: &'a str,
        _body: Value,
    ) -> BoxFuture<'a, Result<Value, Status>> {
        Box::pin(std::future::ready(Err(Status::method_not_allowed())))
    }

    /// What a creation brings with it.
    ///
    /// # Errors
    /// The creation is refused.
    fn companions(
        &self,
        _admission: &Admission<'_>,
        _object: &Value,
        _key: &Key,
    ) -> Result<Companions, Status> {
        Ok(Companions::default())
    }
}

/// A kind without peculiarities.
pub struct Ordinary;

impl Behaviour for Ordinary {}
