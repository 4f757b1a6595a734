//! What agents may do in their own workspace without any RBAC: report, and say what they run.

use strait_auth::{Attributes, Decision, User, groups};
use strait_types::ClusterName;

/// Logical cluster and name out of the user `system:strait:agent:<cluster>:<name>`.
#[must_use]
pub fn identity(user: &User) -> Option<(ClusterName, &str)> {
    if !user.is_in(groups::AGENTS) {
        return None;
    }
    let rest = user.name.strip_prefix("system:strait:agent:")?;
    let (cluster, name) = rest.rsplit_once(':')?;
    Some((ClusterName::new(cluster).ok()?, name))
}

/// Whether the user is an agent of this logical cluster.
pub(crate) fn is_at_home(user: &User, cluster: &ClusterName) -> bool {
    identity(user).is_some_and(|(own, _)| own == *cluster)
}

/// The built-in minimum of an agent in its own workspace; none where RBAC decides.
pub(crate) fn decide(
    user: &User,
    cluster: &ClusterName,
    attributes: &Attributes<'_>,
) -> Option<Decision> {
    let (own, name) = identity(user)?;
    if own != *cluster {
        return None;
    }
    let allow = || Some(Decision::Allow(format!("agent \"{name}\" of this workspace")));
    match attributes {
        Attributes::NonResource(request) => (request.verb == "access").then(allow)?,
        Attributes::Resource(request) => {
            match (request.group, request.resource, request.subresource, request.verb) {
                ("relay.strait.dev", "agents", "heartbeat", "create") if request.name == name => {
                    allow()
                }
                ("relay.strait.dev", "agents", "", "get") if request.name == name => allow(),
                (
                    "requests.strait.dev",
                    "requestclassviews",
                    "",
                    "get" | "create" | "update" | "patch" | "delete",
                ) if is_own_view(request.name, name) || request.verb == "create" => allow(),
                _ => None,
            }
        }
    }
}

/// Class views are named `<agent>.<class>`. A creation's name is in its body; the kind's hook
/// checks it there.
#[must_use]
pub fn is_own_view(view: &str, agent: &str) -> bool {
    view.strip_prefix(agent).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_auth::ResourceRequest;

    fn agent() -> User {
        User::authenticated("system:strait:agent:prov:local", &[groups::AGENTS])
    }

    fn decided(
        user: &User,
        cluster: &str,
        resource: &str,
        subresource: &str,
        verb: &str,
        name: &str,
    ) -> bool {
        let group = if resource == "agents" { "relay.strait.dev" } else { "requests.strait.dev" };
        let request = ResourceRequest {
            verb,
            group,
            resource,
            subresource,
            name,
            ..ResourceRequest::default()
        };
        let cluster = ClusterName::new(cluster).unwrap();
        decide(user, &cluster, &Attributes::Resource(request))
            .is_some_and(|decision| decision.is_allowed())
    }

    #[test]
    fn an_agent_reports_for_itself_only_and_at_home_only() {
        let agent = agent();
        for (cluster, resource, subresource, verb, name, allowed) in [
            ("prov", "agents", "heartbeat", "create", "local", true),
            ("prov", "agents", "heartbeat", "create", "other", false),
            ("demo", "agents", "heartbeat", "create", "local", false),
            ("prov", "agents", "", "get", "local", true),
            ("prov", "agents", "", "update", "local", false),
            ("prov", "agents", "token", "create", "local", false),
            ("prov", "requestclassviews", "", "update", "local.sign", true),
            ("prov", "requestclassviews", "", "update", "local", false),
            ("prov", "requestclassviews", "", "update", "localx.sign", false),
            ("prov", "requestclassviews", "", "list", "", false),
        ] {
            assert_eq!(
                decided(&agent, cluster, resource, subresource, verb, name),
                allowed,
                "{cluster} {resource}/{subresource} {verb} {name}"
            );
        }
        let pretender = User::authenticated("system:strait:agent:prov:local", &[]);
        assert!(!decided(&pretender, "prov", "agents", "", "get", "local"));
    }
}
