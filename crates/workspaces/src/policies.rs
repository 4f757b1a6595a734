//! RBAC of logical clusters, compiled when it changed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use strait_auth::rbac::{Policy, PolicyBuilder};
use strait_auth::{Attributes, User};
use strait_store::Part;
use strait_types::ClusterName;

use crate::tenancy::Tenancy;

/// Compiled policies kept; at the limit the cache starts over.
const POLICIES_MAX: usize = 10_000;

/// The four kinds of RBAC.
const KINDS: usize = 4;

/// A question to a policy.
pub type Check<'a> = strait_auth::ResourceRequest<'a>;

/// Compiles and keeps the policies of logical clusters. Each is that cluster's roles and
/// bindings on top of those of `system:admin`, which hold everywhere.
pub struct Policies {
    tenancy: Tenancy,
    compiled: RwLock<HashMap<ClusterName, Compiled>>,
}

struct Compiled {
    /// What it was compiled from.
    state: State,
    policy: Arc<Policy>,
}

/// The RBAC of a cluster and of the system at some moment.
#[derive(PartialEq)]
struct State {
    own: [Part; KINDS],
    system: [Part; KINDS],
}

impl Policies {
    /// Reads RBAC from the store.
    #[must_use]
    pub fn new(tenancy: Tenancy) -> Self {
        Self { tenancy, compiled: RwLock::default() }
    }

    fn state(&self, cluster: &ClusterName) -> State {
        let ids = self.tenancy.ids();
        let kinds =
            [&ids.cluster_roles, &ids.roles, &ids.cluster_role_bindings, &ids.role_bindings];
        let now = kinds.map(|kind| self.tenancy.store().snapshot(kind));
        let system = ClusterName::system_admin();
        State {
            own: [0, 1, 2, 3].map(|kind: usize| now[kind].part(cluster)),
            system: [0, 1, 2, 3].map(|kind: usize| now[kind].part(&system)),
        }
    }

    /// The policy that holds in a logical cluster now.
    #[must_use]
    pub fn of(&self, cluster: &ClusterName) -> Arc<Policy> {
        let state = self.state(cluster);
        if let Some(compiled) = self.compiled.read().get(cluster)
            && compiled.state == state
        {
            return compiled.policy.clone();
        }
        let policy = Arc::new(compile(&state, *cluster == ClusterName::system_admin()));
        let mut compiled = self.compiled.write();
        if compiled.len() >= POLICIES_MAX {
            compiled.clear();
        }
        compiled.insert(cluster.clone(), Compiled { state, policy: policy.clone() });
        policy
    }

    /// What the policies are about.
    #[must_use]
    pub const fn tenancy(&self) -> &Tenancy {
        &self.tenancy
    }

    /// Whether a user may do something in a logical cluster, whoever asks and whether or not
    /// they may enter it.
    #[must_use]
    pub fn allows(&self, cluster: &ClusterName, user: &User, check: &Check<'_>) -> bool {
        user.is_master()
            || self.of(cluster).decide(user, &Attributes::Resource(check.clone())).is_allowed()
    }

    /// The policy that holds everywhere; also what a cluster that is not there has.
    #[must_use]
    pub fn everywhere(&self) -> Arc<Policy> {
        self.of(&ClusterName::system_admin())
    }
}

fn compile(state: &State, system_only: bool) -> Policy {
    let mut builder = PolicyBuilder::new();
    let mut add = |[cluster_roles, roles, cluster_bindings, bindings]: &[Part; KINDS]| {
        for (name, object) in cluster_roles.iter().chain(roles.iter()) {
            builder.role_object(name.namespace(), &object.to_value());
        }
        for (name, object) in cluster_bindings.iter().chain(bindings.iter()) {
            builder.binding_object(name.namespace(), &object.to_value());
        }
    };
    // A cluster's own roles come second: its bindings see them first, the system's do not.
    add(&state.system);
    if !system_only {
        add(&state.own);
    }
    builder.build()
}
