//! What requests see: a workspace, an export's virtual workspace, or everything.

use std::sync::Arc;

use strait_api::well_known::LOGICAL_CLUSTER;
use strait_apiserver::catalog::{Catalog, Resource};
use strait_apiserver::{Reach, View, WriteKind};
use strait_auth::rbac::{Policy, Rule};
use strait_auth::{Attributes, Decision, NonResource, ResourceRequest, User};
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::ObjectName;
use strait_store::engine::{Compare, Expect};
use strait_types::ClusterName;

use crate::System;
use crate::agents;
use crate::binding::Binding;
use crate::catalogs::{ExportCatalog, WorkspaceCatalog};

/// A workspace as its users see it.
pub(crate) struct WorkspaceView {
    system: Arc<System>,
    cluster: ClusterName,
    reach: Reach,
    served: Arc<WorkspaceCatalog>,
    policy: Arc<Policy>,
}

impl WorkspaceView {
    pub(crate) fn new(system: Arc<System>, cluster: ClusterName) -> Self {
        let served = system.catalogs.of(&cluster);
        let policy = system.policies.of(&cluster);
        Self { reach: Reach::Cluster(cluster.clone()), system, cluster, served, policy }
    }

    /// Whether the user may enter at all.
    pub(crate) fn admits(&self, user: &User) -> bool {
        let access = Attributes::NonResource(NonResource { verb: "access", path: "/" });
        user.is_master()
            || agents::is_at_home(user, &self.cluster)
            || self.policy.decide(user, &access).is_allowed()
    }
}

impl View for WorkspaceView {
    fn reach(&self) -> &Reach {
        &self.reach
    }

    fn label(&self) -> String {
        format!("clusters/{}", self.cluster)
    }

    fn catalog(&self) -> &Arc<Catalog> {
        &self.served.catalog
    }

    fn authorize(&self, user: &User, attributes: &Attributes<'_>) -> Decision {
        if user.is_master() {
            return Decision::Allow(String::new());
        }
        if let Some(decision) = agents::decide(user, &self.cluster, attributes) {
            return decision;
        }
        match self.system.maximal_policy(&self.served, user, attributes) {
            Decision::Allow(_) => self.policy.decide(user, attributes),
            refused => refused,
        }
    }

    fn sees(&self, _: &Resource, _: &ClusterName, _: &ObjectName, _: &Object) -> bool {
        true
    }

    fn rules(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.policy.rules(user, namespace)
    }

    fn guards(&self, resource: &Resource, write: WriteKind) -> Result<Vec<Compare>, Status> {
        let mut guards = Vec::new();
        if write == WriteKind::Create {
            guards.extend(self.system.cluster_guard(&self.cluster)?);
        }
        if let Some(binding) = self.served.binding(&resource.id) {
            guards.push(self.system.binding_guard(&self.cluster, binding, resource, write)?);
        }
        Ok(guards)
    }
}

/// An export's objects in one or all workspaces that bind it, as its provider sees them.
pub(crate) struct ExportView {
    system: Arc<System>,
    cluster: ClusterName,
    export: String,
    reach: Reach,
    served: Arc<ExportCatalog>,
    policy: Arc<Policy>,
}

impl ExportView {
    /// The view of an export; none if there is no such.
    pub(crate) fn new(
        system: Arc<System>,
        cluster: ClusterName,
        export: &str,
        reach: Reach,
    ) -> Option<Self> {
        let served = system.catalogs.of_export(&cluster, export)?;
        let policy = system.policies.of(&cluster);
        Some(Self { system, cluster, export: export.to_owned(), reach, served, policy })
    }

    /// Whether objects of a resource are stored under the export's identity.
    fn is_own(&self, resource: &Resource) -> bool {
        resource.id.identity() == self.served.identity
    }

    /// Whether a workspace binds the export.
    fn is_bound(&self, cluster: &ClusterName) -> bool {
        self.system.catalogs.bindings(cluster).iter().any(|binding| self.is_bound_by(binding))
    }

    fn is_bound_by(&self, binding: &Binding) -> bool {
        binding.bound && binding.binds(&self.cluster, &self.export)
    }

    /// The binding that brings a resource of this export to a workspace.
    fn binding(&self, cluster: &ClusterName, resource: &Resource) -> Option<Arc<Binding>> {
        let served = self.system.catalogs.of(cluster);
        served.binding(&resource.id).filter(|binding| self.is_bound_by(binding)).cloned()
    }
}

impl View for ExportView {
    fn reach(&self) -> &Reach {
        &self.reach
    }

    fn label(&self) -> String {
        let target = match &self.reach {
            Reach::All => "*",
            Reach::Cluster(cluster) => cluster.as_str(),
        };
        format!("apiexport/{}/{}/{target}", self.cluster, self.export)
    }

    fn catalog(&self) -> &Arc<Catalog> {
        &self.served.catalog
    }

    /// First that the workspace binds the export, then that the user may see the export's
    /// content; the workspaces' own RBAC is not asked, their binding is their consent.
    fn authorize(&self, user: &User, attributes: &Attributes<'_>) -> Decision {
        if let (Reach::Cluster(cluster), Attributes::Resource(request)) = (&self.reach, attributes)
        {
            let resource = self.served.catalog.find_any_version(request.group, request.resource);
            let bound = match resource.filter(|resource| self.is_own(resource)) {
                Some(resource) => self.binding(cluster, resource).is_some(),
                None => self.is_bound(cluster),
            };
            if !bound {
                return refused();
            }
        }
        if user.is_master() {
            return Decision::Allow(String::new());
        }
        match self.policy.decide(user, &content(attributes, &self.export)) {
            Decision::NoOpinion(_) => refused(),
            decided => decided,
        }
    }

    fn sees(
        &self,
        resource: &Resource,
        cluster: &ClusterName,
        name: &ObjectName,
        object: &Object,
    ) -> bool {
        let ids = self.system.tenancy.ids();
        if resource.id == ids.bindings {
            let key = ids.binding(cluster, name.name());
            return self.system.catalogs.parsed(&key, object).binds(&self.cluster, &self.export);
        }
        self.is_own(resource) && self.binding(cluster, resource).is_some()
    }

    /// By the time that an object's end is told, its workspace may have unbound the export; the
    /// object was visible until then.
    fn saw(&self, resource: &Resource) -> bool {
        self.is_own(resource)
    }

    fn rules(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.policy.rules(user, namespace)
    }

    fn guards(&self, resource: &Resource, write: WriteKind) -> Result<Vec<Compare>, Status> {
        let Reach::Cluster(cluster) = &self.reach else {
            return Err(Status::method_not_allowed());
        };
        let mut guards = Vec::new();
        if write == WriteKind::Create {
            guards.extend(self.system.cluster_guard(cluster)?);
        }
        let Some(binding) = self.binding(cluster, resource) else {
            return Err(Status::forbidden(&resource.group_resource(), "", "access denied"));
        };
        guards.push(self.system.binding_guard(cluster, &binding, resource, write)?);
        Ok(guards)
    }
}

/// The virtual workspace of an export that does not exist, or of a place that cannot be. It
/// refuses as the one of an export does that the user has no right to.
pub(crate) struct NoExportView {
    reach: Reach,
    catalog: Arc<Catalog>,
    policy: Arc<Policy>,
}

impl NoExportView {
    pub(crate) fn new(system: &System) -> Self {
        let policy = system.policies.everywhere();
        Self { reach: Reach::All, catalog: Arc::new(Catalog::new(Vec::new())), policy }
    }
}

impl View for NoExportView {
    fn reach(&self) -> &Reach {
        &self.reach
    }

    fn label(&self) -> String {
        "apiexport".into()
    }

    fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    fn authorize(&self, user: &User, attributes: &Attributes<'_>) -> Decision {
        // The same question as for an export that is there.
        let _ = std::hint::black_box(self.policy.decide(user, &content(attributes, "")));
        refused()
    }

    fn sees(&self, _: &Resource, _: &ClusterName, _: &ObjectName, _: &Object) -> bool {
        false
    }

    fn rules(&self, _: &User, _: &str) -> Vec<Rule> {
        Vec::new()
    }

    fn guards(&self, _: &Resource, _: WriteKind) -> Result<Vec<Compare>, Status> {
        Err(Status::method_not_allowed())
    }
}

/// The one refusal of an export's virtual workspace.
fn refused() -> Decision {
    Decision::Deny("access denied".into())
}

/// The right on an export's content that a request needs.
fn content<'a>(attributes: &Attributes<'a>, export: &'a str) -> Attributes<'a> {
    Attributes::Resource(ResourceRequest {
        verb: attributes.verb(),
        group: "apis.kcp.io",
        resource: "apiexports",
        subresource: "content",
        name: export,
        ..ResourceRequest::default()
    })
}

/// The system's kinds in all workspaces, to read, for those who may do everything.
pub(crate) struct WildcardView {
    catalog: Arc<Catalog>,
}

impl WildcardView {
    pub(crate) fn new(system: &System) -> Self {
        Self { catalog: Arc::new(Catalog::new(system.catalogs.system().to_vec())) }
    }
}

impl View for WildcardView {
    fn reach(&self) -> &Reach {
        &Reach::All
    }

    fn label(&self) -> String {
        "clusters/*".into()
    }

    fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    fn authorize(&self, user: &User, _: &Attributes<'_>) -> Decision {
        if user.is_master() {
            Decision::Allow(String::new())
        } else {
            Decision::Deny("access denied".into())
        }
    }

    fn sees(&self, _: &Resource, _: &ClusterName, _: &ObjectName, _: &Object) -> bool {
        true
    }

    fn rules(&self, _: &User, _: &str) -> Vec<Rule> {
        Vec::new()
    }

    fn guards(&self, _: &Resource, _: WriteKind) -> Result<Vec<Compare>, Status> {
        Err(Status::method_not_allowed())
    }
}

impl System {
    /// What holds a logical cluster open for new content.
    pub(crate) fn cluster_guard(&self, cluster: &ClusterName) -> Result<Option<Compare>, Status> {
        if cluster.is_system() {
            return Ok(None);
        }
        let resource = strait_types::GroupResource::new("core.kcp.io", "logicalclusters");
        let Some(found) = self.tenancy.cluster(cluster) else {
            return Err(Status::not_found(&resource, LOGICAL_CLUSTER));
        };
        if found.deleting || !found.phase.is_enterable() {
            let why = "unable to create new content in a workspace that is being deleted";
            return Err(Status::forbidden(&resource, LOGICAL_CLUSTER, why));
        }
        let key = self.tenancy.ids().logical_cluster(cluster);
        Ok(Some(Compare { key, expect: Expect::Revision(found.revision) }))
    }

    /// What keeps a bound kind the one that a write was checked against: `seen` is the binding
    /// as it was then.
    fn binding_guard(
        &self,
        cluster: &ClusterName,
        seen: &Binding,
        resource: &Resource,
        write: WriteKind,
    ) -> Result<Compare, Status> {
        let key = self.tenancy.ids().binding(cluster, &seen.name);
        let Some(object) = self.tenancy.find(&key) else {
            return Err(Status::unknown_path());
        };
        if write == WriteKind::Create && object.header.deleting {
            let why = "unable to create new content while its APIBinding is being deleted";
            return Err(Status::forbidden(&resource.group_resource(), "", why));
        }
        let now = self.catalogs.parsed(&key, &object);
        if now.resource(&resource.id) != seen.resource(&resource.id) {
            let why = "the schema of this kind has just changed; please try again";
            return Err(Status::conflict(&resource.group_resource(), "", why));
        }
        Ok(Compare { key, expect: Expect::Revision(object.revision) })
    }

    /// The upper bound that an export sets for users of the workspaces that bind it.
    fn maximal_policy(
        &self,
        served: &WorkspaceCatalog,
        user: &User,
        attributes: &Attributes<'_>,
    ) -> Decision {
        let within = || Decision::Allow(String::new());
        let Attributes::Resource(request) = attributes else {
            return within();
        };
        let resource = served.catalog.find_any_version(request.group, request.resource);
        let binding = resource.and_then(|resource| served.binding(&resource.id));
        let Some(provider) = binding.and_then(|binding| {
            let cluster = binding.export_cluster.as_ref()?;
            self.has_maximal_policy(cluster, &binding.export_name).then_some(cluster)
        }) else {
            return within();
        };
        let prefixed = |name: &str| -> Arc<str> { format!("apis.kcp.io:binding:{name}").into() };
        let bound = User {
            name: prefixed(&user.name),
            groups: user.groups.iter().map(|group| prefixed(group)).collect(),
            ..User::default()
        };
        // Names and namespaces are the consumer's own; the policy is about kinds and verbs.
        let request = ResourceRequest { namespace: "", name: "", ..request.clone() };
        match self.policies.of(provider).decide(&bound, &Attributes::Resource(request)) {
            Decision::Allow(_) => within(),
            _ => Decision::NoOpinion("access denied".into()),
        }
    }

    fn has_maximal_policy(&self, cluster: &ClusterName, export: &str) -> bool {
        let key = self.tenancy.ids().export(cluster, export);
        self.tenancy.find(&key).is_some_and(|object| *self.export_policies.of(&key, &object))
    }
}
