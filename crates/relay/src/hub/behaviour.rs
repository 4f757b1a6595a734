//! What Agent objects do beyond data: they make tokens and take reports.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use strait_api::kinds::RELAY_LIVE;
use strait_apiserver::behaviour::{Admission, Behaviour};
use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value};
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::{Key, ObjectName};
use strait_types::{GroupResource, is_dns1123_label};
use strait_workspaces::{Beside, Extras, agents};

use super::events;
use super::presence::LAST_SEEN;
use super::services::is_restricted;
use super::{Credentials, Joining};
use crate::seen::may_stay;
use crate::services::HUB;

/// Agents of a workspace. They are counted before one is written: those that are made at once may be
/// a few more.
const AGENTS_MAX: usize = 1_000;

/// Subresources of agents.
const OF_AGENTS: [(&str, &[&str]); 3] =
    [("heartbeat", &["create"]), ("revocations", &["create"]), ("token", &["create"])];

/// Subresources of services.
const OF_SERVICES: [(&str, &[&str]); 2] =
    [("credentials", &["create"]), ("revocations", &["create"])];

/// Subresources of requests to join.
const OF_REQUESTS: [(&str, &[&str]); 1] = [("approval", &["create"])];

/// What is stored nowhere; [`Front::live_objects`](super::Front::live_objects) answers.
const BESIDE: [Beside; 2] = [
    Beside { kind: RELAY_LIVE[0], verbs: &["delete", "get", "list"] },
    Beside { kind: RELAY_LIVE[1], verbs: &["get", "list"] },
];

/// Who answers what is asked of agents and services beyond data.
pub struct Handlers {
    /// Makes tokens for agents and takes their reports.
    pub joining: Arc<Joining>,
    /// Makes and revokes credentials for services.
    pub credentials: Arc<Credentials>,
}

/// Hooks of the kinds of the exports `relay.strait.dev` and `requests.strait.dev`. The handlers
/// are given once the hub has started; until then what they answer is refused.
#[must_use]
pub fn extras(handlers: &Arc<OnceLock<Handlers>>) -> HashMap<GroupResource, Extras> {
    let agents: Arc<dyn Behaviour> = Arc::new(AgentKind { handlers: handlers.clone() });
    let services: Arc<dyn Behaviour> = Arc::new(ServiceKind { handlers: handlers.clone() });
    let requests: Arc<dyn Behaviour> = Arc::new(RequestKind { handlers: handlers.clone() });
    HashMap::from([
        (
            GroupResource::new("relay.strait.dev", "certificaterequests"),
            Extras { behaviour: requests, subresources: &OF_REQUESTS, beside: &[] },
        ),
        (
            GroupResource::new("relay.strait.dev", "agents"),
            Extras { behaviour: agents, subresources: &OF_AGENTS, beside: &BESIDE },
        ),
        (
            GroupResource::new("relay.strait.dev", "services"),
            Extras { behaviour: services, subresources: &OF_SERVICES, beside: &[] },
        ),
        (
            GroupResource::new("requests.strait.dev", "requestclassviews"),
            Extras { behaviour: Arc::new(ClassViewKind), ..Extras::none() },
        ),
    ])
}

fn started(handlers: &OnceLock<Handlers>) -> Result<&Handlers, Status> {
    let starting = || Status::unavailable("the server is still starting").retry_after(1);
    handlers.get().ok_or_else(starting)
}

struct AgentKind {
    handlers: Arc<OnceLock<Handlers>>,
}

impl Behaviour for AgentKind {
    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let name = object.str_at(&["metadata", "name"]).unwrap_or_default();
        if admission.subresource == "status" && !admission.user.is_master() {
            let why = "only the server changes the status";
            return Err(Status::forbidden(&admission.resource.group_resource(), name, why));
        }
        if old.is_none() && (!is_dns1123_label(name) || name == HUB) {
            let detail = match name {
                HUB => "is the name by which the hub itself offers services",
                _ => "must be a DNS label: it becomes part of the agent's identity",
            };
            let error = FieldError::invalid(Path::of(&["metadata", "name"]), name, detail);
            return Err(Status::invalid("relay.strait.dev", "Agent", name, &[error]));
        }
        let has = |handlers: &Handlers| handlers.joining.count(admission.cluster);
        if old.is_none() && self.handlers.get().map_or(0, has) >= AGENTS_MAX {
            let why =
                format!("{AGENTS_MAX} agents are in this workspace, which are all it may have");
            return Err(Status::forbidden(&admission.resource.group_resource(), name, &why));
        }
        Ok(())
    }

    fn event(&self, old: &Value, new: Option<&Value>) -> Option<String> {
        events::of_agent(old, new)
    }

    fn connect<'a>(
        &'a self,
        admission: &'a Admission<'a>,
        name: &'a str,
        body: Value,
    ) -> BoxFuture<'a, Result<Value, Status>> {
        Box::pin(async move {
            let Handlers { joining, credentials } = started(&self.handlers)?;
            match admission.subresource {
                "revocations" => {
                    joining.existing(admission.cluster, name)?;
                    credentials.revoke_at(admission, name, (name, None), &body).await
                }
                "token" => joining.make_token(admission, name, &body).await,
                "heartbeat" => joining.report(admission.cluster, name, admission.user, &body).await,
                _ => Err(Status::method_not_allowed()),
            }
        })
    }
}

/// Requests to join are the hub's; people decide on them, by a subresource of its own so that
/// nothing else comes with that right.
struct RequestKind {
    handlers: Arc<OnceLock<Handlers>>,
}

impl Behaviour for RequestKind {
    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        let name = object.str_at(&["metadata", "name"]).unwrap_or_default();
        let why = "the hub makes them, and they are decided by a POST to their approval";
        Err(Status::forbidden(&admission.resource.group_resource(), name, why))
    }

    fn connect<'a>(
        &'a self,
        admission: &'a Admission<'a>,
        name: &'a str,
        body: Value,
    ) -> BoxFuture<'a, Result<Value, Status>> {
        Box::pin(async move {
            match admission.subresource {
                "approval" => started(&self.handlers)?.joining.decide(admission, name, &body).await,
                _ => Err(Status::method_not_allowed()),
            }
        })
    }
}

/// What is a service, agents say, through the hub; people say how it is exposed.
struct ServiceKind {
    handlers: Arc<OnceLock<Handlers>>,
}

impl Behaviour for ServiceKind {
    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let text = |path| object.str_at(path).unwrap_or_default();
        let name = text(&["metadata", "name"]);
        let own = format!("{}.{}", text(&["spec", "name"]), text(&["spec", "agent"]));
        if name != own {
            let detail = "must be spec.name, a dot, and spec.agent";
            let error = FieldError::invalid(Path::of(&["metadata", "name"]), name, detail);
            return Err(Status::invalid("relay.strait.dev", "Service", name, &[error]));
        }
        let kind = |of: &Value| of.str_at(&["spec", "type"]).unwrap_or_default().to_owned();
        let same = old.is_some_and(|old| kind(old) == kind(object));
        if admission.user.is_master() || (same && admission.subresource != "status") {
            return Ok(());
        }
        let why = "services are what agents announce; only exposure and limits can be changed";
        Err(Status::forbidden(&admission.resource.group_resource(), name, why))
    }

    /// The hub makes it again where an agent offers it, and that has nothing of what people said.
    fn admit_delete(&self, admission: &Admission<'_>, old: &Object) -> Result<(), Status> {
        let old = old.to_value();
        if !is_restricted(&old) {
            return Ok(());
        }
        let name = old.str_at(&["metadata", "name"]).unwrap_or_default();
        let why = "people closed or limited it, which would be forgotten with it: set \
                   spec.exposure.path to true and spec.limits to 0 first";
        Err(Status::forbidden(&admission.resource.group_resource(), name, why))
    }

    fn event(&self, old: &Value, new: Option<&Value>) -> Option<String> {
        events::of_service(old, new)
    }

    fn connect<'a>(
        &'a self,
        admission: &'a Admission<'a>,
        name: &'a str,
        body: Value,
    ) -> BoxFuture<'a, Result<Value, Status>> {
        Box::pin(async move {
            let Handlers { credentials, joining } = started(&self.handlers)?;
            let key = ObjectName::cluster_scoped(name);
            let key = Key::new(admission.resource.id.clone(), admission.cluster.clone(), key);
            let service = admission.registry.find(&key).filter(|found| !found.header.deleting);
            let missing = || Status::not_found(&admission.resource.group_resource(), name);
            let service = service.ok_or_else(missing)?.to_value();
            let (own, agent) = name.rsplit_once('.').ok_or_else(missing)?;
            match admission.subresource {
                "credentials" => {
                    let agent = joining.existing(admission.cluster, agent)?;
                    credentials.make(admission, (&agent, &service), &body).await
                }
                "revocations" => {
                    credentials.revoke_at(admission, name, (agent, Some(own)), &body).await
                }
                _ => Err(Status::method_not_allowed()),
            }
        })
    }
}

/// An agent writes the views of its own classes and no other's. The time is the hub's, and moves on
/// every now and then: an agent that repeats itself changes nothing.
struct ClassViewKind;

impl Behaviour for ClassViewKind {
    fn prepare(
        &self,
        admission: &Admission<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if agents::identity(admission.user).is_none() {
            return Ok(());
        }
        let available = |view: &Value| view.at(&["availability", "available"]).cloned();
        let same = old.filter(|old| available(old) == available(object));
        let stored = same.and_then(|old| old.str_at(&LAST_SEEN));
        let stays = stored.filter(|at| may_stay(Some(at), admission.registry.clock().now()));
        let seen = stays.map_or_else(|| admission.registry.timestamp(), str::to_owned);
        object.set(&LAST_SEEN, seen);
        Ok(())
    }

    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        let Some((_, agent)) = agents::identity(admission.user) else {
            return Ok(());
        };
        let name = object.str_at(&["metadata", "name"]).unwrap_or_default();
        let own = agents::is_own_view(name, agent) && object.str_at(&["agent"]) == Some(agent);
        if own {
            return Ok(());
        }
        let why = format!("agent {agent:?} writes only views named {agent}.<class>");
        Err(Status::forbidden(&admission.resource.group_resource(), name, &why))
    }
}
