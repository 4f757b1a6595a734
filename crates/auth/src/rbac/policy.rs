//! Roles and bindings of one logical cluster, indexed by subject.

use std::collections::HashMap;
use std::sync::Arc;

use strait_machinery::json::Value;

use super::Rule;
use crate::{Attributes, Decision, User};

/// Whom a binding is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user by name.
    User(Box<str>),
    /// A group by name.
    Group(Box<str>),
}

/// Which role a binding gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RoleRef {
    /// A ClusterRole.
    Cluster(Box<str>),
    /// A Role in a namespace.
    Namespaced(Box<str>, Box<str>),
}

/// A binding, resolved.
#[derive(Debug)]
struct Grant {
    /// `""`: everywhere.
    namespace: Box<str>,
    rules: Arc<[Rule]>,
    /// `ClusterRoleBinding "x" of ClusterRole "y"`, for the reason of an allowance.
    origin: Box<str>,
}

/// All that RBAC says in one logical cluster.
#[derive(Debug, Default)]
pub struct Policy {
    by_subject: HashMap<Subject, Vec<Arc<Grant>>>,
}

/// Collects roles, then bindings.
#[derive(Debug, Default)]
pub struct PolicyBuilder {
    roles: HashMap<RoleRef, Arc<[Rule]>>,
    policy: Policy,
}

impl PolicyBuilder {
    /// An empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a role under a name. A later one of the same name counts.
    pub fn role(&mut self, name: RoleRef, rules: Vec<Rule>) {
        self.roles.insert(name, rules.into());
    }

    /// Adds a ClusterRole or Role object.
    pub fn role_object(&mut self, namespace: Option<&str>, role: &Value) {
        let name = role.str_at(&["metadata", "name"]).unwrap_or_default();
        let reference = match namespace {
            None => RoleRef::Cluster(name.into()),
            Some(namespace) => RoleRef::Namespaced(namespace.into(), name.into()),
        };
        self.role(reference, role.array_at(&["rules"]).iter().map(Rule::of).collect());
    }

    /// Adds a ClusterRoleBinding (no namespace) or RoleBinding object. Roles must be there
    /// before; a binding to a role that is not gives nothing.
    pub fn binding_object(&mut self, namespace: Option<&str>, binding: &Value) {
        let name = binding.str_at(&["metadata", "name"]).unwrap_or_default();
        let role_name = binding.str_at(&["roleRef", "name"]).unwrap_or_default();
        let (role, kind) = match (binding.str_at(&["roleRef", "kind"]), namespace) {
            (Some("ClusterRole"), _) => (RoleRef::Cluster(role_name.into()), "ClusterRole"),
            (Some("Role"), Some(namespace)) => {
                (RoleRef::Namespaced(namespace.into(), role_name.into()), "Role")
            }
            _ => return,
        };
        let Some(rules) = self.roles.get(&role) else {
            return;
        };
        let binding_kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
        let shown = namespace.map_or_else(|| name.to_owned(), |ns| format!("{name}/{ns}"));
        let grant = Arc::new(Grant {
            namespace: namespace.unwrap_or_default().into(),
            rules: rules.clone(),
            origin: format!("{binding_kind} \"{shown}\" of {kind} \"{role_name}\"").into(),
        });
        for subject in binding.array_at(&["subjects"]) {
            if let Some(subject) = Subject::of(subject, namespace) {
                self.policy.by_subject.entry(subject).or_default().push(grant.clone());
            }
        }
    }

    /// The finished policy.
    #[must_use]
    pub fn build(self) -> Policy {
        self.policy
    }
}

impl Subject {
    /// Reads a binding's subject; service accounts become the user that they are.
    fn of(subject: &Value, namespace: Option<&str>) -> Option<Self> {
        let name = subject.str_at(&["name"])?;
        match subject.str_at(&["kind"])? {
            "User" => Some(Self::User(name.into())),
            "Group" => Some(Self::Group(name.into())),
            "ServiceAccount" => {
                let own = subject.str_at(&["namespace"]).filter(|own| !own.is_empty());
                let namespace = own.or(namespace)?;
                Some(Self::User(format!("system:serviceaccount:{namespace}:{name}").into()))
            }
            _ => None,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::User(name) => format!("User \"{name}\""),
            Self::Group(name) => format!("Group \"{name}\""),
        }
    }
}

impl Policy {
    /// Grants that concern a user, each with the subject that it reached the user by.
    fn grants<'a>(&'a self, user: &User) -> impl Iterator<Item = (Subject, &'a Arc<Grant>)> {
        let own = Subject::User((*user.name).into());
        let groups: Vec<_> =
            user.groups.iter().map(|group| Subject::Group((**group).into())).collect();
        std::iter::once(own).chain(groups).flat_map(|subject| {
            let grants = self.by_subject.get(&subject).into_iter().flatten();
            grants.map(move |grant| (subject.clone(), grant))
        })
    }

    /// Whether a rule allows the request; never a denial.
    pub fn decide(&self, user: &User, attributes: &Attributes<'_>) -> Decision {
        let namespace = match attributes {
            Attributes::Resource(request) => request.namespace,
            Attributes::NonResource(_) => "",
        };
        for (subject, grant) in self.grants(user) {
            let here = grant.namespace.is_empty() || *grant.namespace == *namespace;
            if here && grant.rules.iter().any(|rule| rule.allows(attributes)) {
                let subject = subject.describe();
                return Decision::Allow(format!("RBAC: allowed by {} to {subject}", grant.origin));
            }
        }
        Decision::NoOpinion(String::new())
    }

    /// The rules that apply to a user in a namespace; an empty namespace means those that
    /// apply everywhere.
    #[must_use]
    pub fn rules(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let grants = self
            .grants(user)
            .filter(|(_, grant)| grant.namespace.is_empty() || *grant.namespace == *namespace);
        grants.flat_map(|(_, grant)| grant.rules.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ResourceRequest;
    use strait_machinery::object;

    fn policy() -> Policy {
        let mut builder = PolicyBuilder::new();
        let read = object! {"verbs": vec!["get".into()], "apiGroups": vec!["".into()], "resources": vec!["pods".into()]};
        let role = object! {"metadata": object!{"name": "reader"}, "rules": vec![read]};
        builder.role_object(None, &role);
        builder.role_object(Some("ns"), &role);
        let binding = |kind: &str, role: &str, subject: Value| {
            object! {
                "metadata": object!{"name": "b"},
                "roleRef": object!{"kind": kind, "name": role},
                "subjects": vec![subject],
            }
        };
        builder.binding_object(
            None,
            &binding("ClusterRole", "reader", object! {"kind": "Group", "name": "everywhere"}),
        );
        builder.binding_object(
            Some("ns"),
            &binding("Role", "reader", object! {"kind": "User", "name": "alice"}),
        );
        builder.binding_object(
            Some("ns"),
            &binding("ClusterRole", "reader", object! {"kind": "ServiceAccount", "name": "sa"}),
        );
        builder.binding_object(
            None,
            &binding("ClusterRole", "absent", object! {"kind": "User", "name": "bob"}),
        );
        builder.build()
    }

    fn decide(user: &User, namespace: &str) -> Decision {
        let request = ResourceRequest {
            verb: "get",
            resource: "pods",
            namespace,
            name: "x",
            ..ResourceRequest::default()
        };
        policy().decide(user, &Attributes::Resource(request))
    }

    #[test]
    fn bindings_reach_as_far_as_they_say() {
        let user = |name: &str, groups: &[&str]| User::authenticated(name, groups);
        for (user, namespace, allowed) in [
            (user("any", &["everywhere"]), "other", true),
            (user("any", &["everywhere"]), "", true),
            (user("alice", &[]), "ns", true),
            (user("alice", &[]), "other", false),
            (user("alice", &[]), "", false),
            (user("system:serviceaccount:ns:sa", &[]), "ns", true),
            (user("system:serviceaccount:other:sa", &[]), "ns", false),
            (user("bob", &[]), "ns", false),
            (User::anonymous(), "ns", false),
        ] {
            assert_eq!(
                decide(&user, namespace).is_allowed(),
                allowed,
                "{} in {namespace}",
                user.name
            );
        }
    }

    #[test]
    fn an_allowance_names_binding_role_and_subject() {
        let reason = decide(&User::authenticated("any", &["everywhere"]), "ns");
        assert_eq!(
            reason.reason(),
            r#"RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "reader" to Group "everywhere""#
        );
        let reason = decide(&User::authenticated("alice", &[]), "ns");
        assert_eq!(
            reason.reason(),
            r#"RBAC: allowed by RoleBinding "b/ns" of Role "reader" to User "alice""#
        );
    }
}
