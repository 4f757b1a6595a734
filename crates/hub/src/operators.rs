//! Operators of webhooks: people of the hub, with rights on paths below `/hooks` in the workspace
//! `root`.

use std::sync::Arc;

use futures_util::FutureExt;
use http::Uri;
use strait_auth::{Attributes, NonResource};
use strait_hooks::admin::{Asked, Caller, Decide, Refusal};
use strait_net::Connection;
use strait_types::ClusterName;

use crate::service::Service;

/// Where operators come to.
pub(crate) const PREFIX: &str = "/hooks";

/// Decides by client certificate and RBAC.
pub(crate) fn decide(service: &Arc<Service>) -> Decide {
    let service = Arc::downgrade(service);
    Arc::new(move |connection, asked| {
        let decided = match service.upgrade() {
            Some(service) => service.may_operate(&connection, &asked),
            None => Err(Refusal::Unavailable),
        };
        async move { decided }.boxed()
    })
}

impl Service {
    fn may_operate(&self, connection: &Connection, asked: &Asked) -> Result<Caller, Refusal> {
        let user = self.authenticator.user(connection).map_err(|_| Refusal::Unauthenticated)?;
        let path = format!("{PREFIX}{}", asked.path);
        let attributes = Attributes::NonResource(NonResource { verb: asked.verb, path: &path });
        let root = ClusterName::root();
        let allowed = user.is_master()
            || self.system.policies.of(&root).decide(&user, &attributes).is_allowed();
        let groups = user.groups.iter().map(ToString::to_string).collect();
        let caller = Caller { user: user.name.to_string(), groups };
        if allowed { Ok(caller) } else { Err(Refusal::Forbidden(caller.user)) }
    }
}

/// A request's target as the operators' side knows it, if it is for that.
pub(crate) fn inner(target: &Uri) -> Option<Uri> {
    let target = target.path_and_query()?.as_str();
    let inner = target.strip_prefix(PREFIX).filter(|rest| rest.starts_with('/'));
    inner?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_is_below_is_theirs() {
        for (target, inner) in [
            ("/hooks/events?limit=1", Some("/events?limit=1")),
            ("/hooks/", Some("/")),
            ("/hooks", None),
            ("/hooksevents", None),
            ("/api/hooks/events", None),
        ] {
            let found = super::inner(&target.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), inner, "{target}");
        }
    }
}
