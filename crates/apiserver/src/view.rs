//! Through what a request sees the store.

use std::sync::Arc;

use strait_auth::{Attributes, Decision, User};
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::ObjectName;
use strait_store::engine::Compare;
use strait_types::ClusterName;

use crate::catalog::{Catalog, Resource};

/// Which logical clusters a view shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One.
    Cluster(ClusterName),
    /// All that the view lets through; only lists and watches.
    All,
}

/// Whether a write adds an object or changes one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// It adds one, which must not be lost with what is being deleted around it.
    Create,
    /// It changes or removes one.
    Change,
}

/// What a request sees: which kinds there are, which objects, and who may do what.
///
/// A view is made for one request by whoever knows tenancy; nothing below decides that.
pub trait View: Send + Sync + 'static {
    /// Which logical clusters.
    fn reach(&self) -> &Reach;

    /// Tells this view's lists from those of others; see [`crate::continuation`].
    fn label(&self) -> String;

    /// Which kinds.
    fn catalog(&self) -> &Arc<Catalog>;

    /// Whether the user may.
    fn authorize(&self, user: &User, attributes: &Attributes<'_>) -> Decision;

    /// Whether an object exists for this view. Asked per object and per event, so that what a
    /// view may see is decided when it is read.
    fn sees(
        &self,
        resource: &Resource,
        cluster: &ClusterName,
        name: &ObjectName,
        object: &Object,
    ) -> bool;

    /// Whether the end of objects is told that [`Self::sees`] no longer shows, with nothing but
    /// their metadata: they may have been visible while they were there.
    fn saw(&self, _resource: &Resource) -> bool {
        false
    }

    /// The rules that apply to a user in a namespace, for reviews.
    fn rules(&self, user: &User, namespace: &str) -> Vec<strait_auth::rbac::Rule>;

    /// What must still hold when a write to the resource commits.
    ///
    /// # Errors
    /// The workspace or kind takes no writes now; said to the client.
    fn guards(&self, resource: &Resource, write: WriteKind) -> Result<Vec<Compare>, Status>;
}
