//! Who asks, and whether they may.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use strait_auth::User;
use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_net::traced::{trace_id, traceparent};
use strait_runtime::{Span, SpanKind};
use strait_store::{Key, ObjectName};
use strait_types::{ClusterName, Uid, WorkspacePath, push_ip};

use super::decided::Question;
use super::head::Head;
use super::{Certificate, Certified, Front};
use crate::access::{Verb, administers, attributes};
use crate::agents::{Affinity, AgentSpec};
use crate::credential::{Asked, Scope, Subjects, is_ours};
use crate::http::framing::BodyLength;
use crate::message::{Failure, ServiceName};
use crate::record::{Kind, Recorded};
use crate::services::ServiceType;

/// Who asks.
pub(super) struct Caller {
    pub(super) user: Arc<User>,
    pub(super) cluster: ClusterName,
    pub(super) subjects: Arc<Subjects>,
    /// When the credential ends, by the monotonic clock.
    pub(super) ends: Option<Duration>,
    verb: Verb,
    /// Whether it asks for bytes both ways.
    raw: bool,
    /// Says whether the certificate is still honoured; none for tokens.
    certified: Option<Certified>,
    bound: Option<Bound>,
    granted: Granted,
}

/// What a token is for beside names, which other things can have later.
struct Bound {
    agent: Uid,
    /// The type of the service, if it is for no other.
    kind: Option<String>,
}

/// What is asked for, as its objects say.
#[derive(Clone, Debug)]
struct Target {
    agent: Arc<AgentSpec>,
    service: Arc<Exposure>,
}

/// What is asked for and may be, and what its agent is told of who asks.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    target: Target,
    /// An [`Identity`], as JSON without its end: the address that is asked from.
    told: Arc<str>,
}

/// What a credential proved.
struct Proved {
    user: Arc<User>,
    cluster: ClusterName,
    subjects: Arc<Subjects>,
    bound: Option<Bound>,
    until: Timestamp,
    certified: Option<Certified>,
}

/// What an agent is told of who asks.
#[derive(Serialize)]
struct Identity<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    groups: Vec<&'a str>,
    ws: &'a str,
    via: &'static str,
    cred: &'a str,
    /// When the credential was made, RFC 3339.
    issued: String,
}

impl Identity<'_> {
    fn begun(&self) -> Result<Arc<str>, Failure> {
        let mut json = serde_json::to_string(self).map_err(|_| Failure::Internal)?;
        json.truncate(json.len() - 1);
        Ok(json.into())
    }
}

impl Caller {
    /// The Agent, as it was when this was decided.
    pub(super) fn agent(&self) -> &AgentSpec {
        &self.granted.target.agent
    }

    /// The hub's limits of the service.
    pub(super) fn limits(&self) -> Limits {
        self.granted.target.service.limits
    }

    /// Whether the credential is for one service alone, whoever it is of.
    pub(super) const fn is_bound(&self) -> bool {
        self.bound.is_some()
    }

    pub(super) fn recorded(&self, head: &Head, id: &str) -> Recorded {
        recorded((&self.user, &self.subjects), head, id)
    }

    /// What the agent is told of them, who ask from this address: JSON.
    pub(super) fn identity(&self, client: IpAddr) -> String {
        let told = &*self.granted.told;
        // Room for the longest address.
        let mut json = String::with_capacity(told.len() + 64);
        json.push_str(told);
        json.push_str(",\"ip\":\"");
        push_ip(&mut json, client);
        json.push_str("\"}");
        json
    }

    /// What the choice of an instance goes by.
    pub(super) fn affinity(&self, head: &Head) -> Option<String> {
        match &self.granted.target.agent.affinity {
            Affinity::None => None,
            Affinity::Client => Some(self.subjects.credential.to_string()),
            Affinity::Header(name) => {
                let value = head.message.fields.get(name)?;
                Some(String::from_utf8_lossy(value).into_owned())
            }
        }
    }
}

impl Front {
    /// Who asks for a service, where they may. `began`: when they did, by the monotonic clock.
    pub(super) fn who(
        &self,
        head: &Head,
        name: &ServiceName,
        certified: &Certified,
        (began, span): (Duration, &mut Span),
    ) -> Result<Caller, Failure> {
        let verb = head.verb();
        let now = self.context.clock.now();
        let proved = self.proved(head, name, certified, now)?;
        if let Some(failure) = self.credentials.revoked(&proved.subjects, || now) {
            return Err(failure);
        }
        let tracer = &self.context.tracer;
        *span = tracer.enter("hub.relay", SpanKind::Server, || traceparent(&head.message.fields));
        let raw = head.raw.is_some();
        let question = Question { subjects: proved.subjects.clone(), verb, raw };
        let stored = self.system.tenancy.store().revision();
        let grant = || self.grant(&proved, name, (verb, raw));
        let granted = self.decided.of(question, &proved.user, stored, grant)?;
        let Proved { user, cluster, subjects, bound, until, certified } = proved;
        if let BodyLength::Known(length) = head.message.length
            && let Some(limit) =
                granted.target.service.limits.max_body.filter(|limit| length > *limit)
        {
            return Err(Failure::TooLarge { length: Some(length), limit });
        }
        let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        let ends = Some(began.saturating_add(left));
        Ok(Caller { user, cluster, subjects, ends, verb, raw, certified, bound, granted })
    }

    /// Decides as of what is stored.
    fn grant(
        &self,
        proved: &Proved,
        name: &ServiceName,
        (verb, raw): (Verb, bool),
    ) -> Result<Granted, Failure> {
        let Proved { user, cluster, subjects, bound, certified, .. } = proved;
        self.may(user, cluster, name, verb)?;
        let target = self.target(cluster, name, bound.as_ref(), raw)?;
        let identity = Identity {
            user: &user.name,
            uid: &user.uid,
            groups: user.groups.iter().map(|group| &**group).collect(),
            ws: cluster.as_str(),
            via: if certified.is_some() { "cert" } else { "token" },
            cred: &subjects.credential,
            issued: subjects.issued.to_string(),
        };
        Ok(Granted { target, told: identity.begun()? })
    }

    /// What the credential of a request proves.
    fn proved(
        &self,
        head: &Head,
        name: &ServiceName,
        certified: &Certified,
        now: Timestamp,
    ) -> Result<Proved, Failure> {
        // Looked for first and told of last: who proves nothing learns of no workspace.
        let cluster = head.workspace.as_deref().map(|path| self.cluster(path));
        let Some(token) = &head.presented.token else {
            let found = certified().map_err(|_| Failure::CredentialInvalid)?;
            let Certificate { user, issued, until } = found.ok_or(Failure::CredentialMissing)?;
            if head.is_foreign {
                return Err(Failure::CrossSite);
            }
            let cluster = cluster.ok_or(Failure::WorkspaceMissing)??;
            let subjects = Arc::new(subjects(&user, issued, &cluster, name));
            let certified = Some(certified.clone());
            return Ok(Proved { user, cluster, subjects, bound: None, until, certified });
        };
        if head.is_foreign && head.is_basic {
            return Err(Failure::CrossSite);
        }
        let asked = Asked {
            // None that there is not: as another workspace than the token's.
            cluster: cluster.as_ref().map(|found| found.as_ref().map_or("", ClusterName::as_str)),
            agent: &name.agent,
            service: &name.service,
            service_type: None,
            verb: head.verb().as_str(),
            client: head.origin.client,
        };
        let token = token.expose();
        if !is_ours(token) {
            return Err(Failure::CredentialInvalid);
        }
        let caller = self.credentials.check(Some(token), &asked, now)?;
        Ok(Proved {
            user: caller.user,
            cluster: caller.cluster,
            subjects: caller.subjects,
            bound: Some(Bound { agent: caller.agent, kind: caller.service_type }),
            until: caller.expires,
            certified: None,
        })
    }

    /// Who was refused what, if that is to be known: what is told of a denial. Nobody is known by
    /// what proves nothing, and where there is nothing nothing was denied.
    pub(super) fn denied(
        &self,
        head: &Head,
        name: &ServiceName,
        certified: &Certified,
        (failure, id): (&Failure, &str),
    ) -> Option<Recorded> {
        let by = |user: &Arc<User>, subjects: &Subjects, cluster: &ClusterName| {
            // What was asked for, which may not be what the credential is for.
            let subjects = Subjects {
                cluster: cluster.as_str().into(),
                agent: name.agent.as_str().into(),
                service: name.service.as_str().into(),
                ..subjects.clone()
            };
            recorded((user, &Arc::new(subjects)), head, id)
        };
        match failure {
            Failure::CredentialRevoked { .. } | Failure::CredentialScope(_) => {
                if let Some(token) = &head.presented.token {
                    let (user, cluster, subjects) = self.credentials.whose(token.expose())?;
                    return Some(by(&user, &subjects, &cluster));
                }
            }
            Failure::Forbidden { .. } | Failure::NotFound => {}
            _ => return None,
        }
        let proved = self.proved(head, name, certified, self.context.clock.now()).ok()?;
        let Proved { user, cluster, subjects, .. } = proved;
        let is_denied = !matches!(failure, Failure::NotFound)
            || self.may(&user, &cluster, name, head.verb()).is_err();
        is_denied.then(|| by(&user, &subjects, &cluster))
    }

    /// Why a stream that is open may not go on, if it may not.
    pub(super) fn decide_again(&self, caller: &Caller, name: &ServiceName) -> Option<Failure> {
        let (clock, Caller { user, cluster, .. }) = (&self.context.clock, caller);
        let decided = || {
            if let Some(certified) = &caller.certified
                && !matches!(certified(), Ok(Some(_)))
            {
                return Err(Failure::CredentialInvalid);
            }
            if let Some(failure) = self.credentials.revoked(&caller.subjects, || clock.now()) {
                return Err(failure);
            }
            self.may(user, cluster, name, caller.verb)?;
            let Target { agent, service } =
                self.target(cluster, name, caller.bound.as_ref(), caller.raw)?;
            if agent.suspended || agent.deleting {
                return Err(Failure::AgentOffline { seen: None });
            }
            if !agent.may_offer(&service.kind, &name.service) {
                return Err(Failure::ServiceWithdrawn { since: None });
            }
            Ok(())
        };
        decided().err()
    }

    /// Whether somebody may change what the hub lets an agent do.
    pub(super) fn administers(&self, user: &User, cluster: &ClusterName, agent: &str) -> bool {
        let routed = self.system.route(user, &format!("/clusters/{cluster}"));
        routed.is_ok_and(|routed| routed.view.authorize(user, &administers(agent)).is_allowed())
    }

    /// Whether the connection of a request that was refused is an administrator's of the agent: by
    /// its certificate, since the token that was shown with it proves nothing any more.
    pub(super) fn administrator_asks(
        &self,
        head: &Head,
        name: &ServiceName,
        certified: &Certified,
    ) -> bool {
        let Ok(Some(Certificate { user, issued, .. })) = certified() else { return false };
        let cluster = match (&head.workspace, &head.presented.token) {
            (Some(path), _) => self.cluster(path).ok(),
            (None, Some(token)) => self.credentials.whose(token.expose()).map(|whose| whose.1),
            (None, None) => None,
        };
        cluster.is_some_and(|cluster| {
            let subjects = subjects(&user, issued, &cluster, name);
            self.credentials.revoked(&subjects, || self.context.clock.now()).is_none()
                && self.administers(&user, &cluster, &name.agent)
        })
    }

    /// The logical cluster behind a workspace's path.
    fn cluster(&self, path: &str) -> Result<ClusterName, Failure> {
        let path = WorkspacePath::new(path).map_err(|_| Failure::NotFound)?;
        self.system.tenancy.resolve(&path).ok_or(Failure::NotFound)
    }

    /// RBAC of the workspace. Who may not see services learns nothing of them.
    fn may(
        &self,
        user: &User,
        cluster: &ClusterName,
        name: &ServiceName,
        verb: Verb,
    ) -> Result<(), Failure> {
        let object = name.object();
        let routed = self.system.route(user, &format!("/clusters/{cluster}"));
        let view = routed.map_err(|_| Failure::NotFound)?.view;
        let connect = attributes(verb, &object);
        if view.authorize(user, &connect).is_allowed() {
            return Ok(());
        }
        // Who may read it at either end knows that it is there.
        let knows = [crate::access::sees(&object), attributes(Verb::Get, &object)];
        if knows.iter().any(|knows| view.authorize(user, knows).is_allowed()) {
            let workspace = self.system.tenancy.path_of(cluster).to_string();
            let (user, verb) = (user.name.to_string(), verb.as_str());
            return Err(Failure::Forbidden { user, verb, workspace });
        }
        Err(Failure::NotFound)
    }

    /// The service, if it is there and can be reached this way. `bound` is what the credential is
    /// for, if it is for one service alone.
    fn target(
        &self,
        cluster: &ClusterName,
        name: &ServiceName,
        bound: Option<&Bound>,
        raw: bool,
    ) -> Result<Target, Failure> {
        let object = ObjectName::cluster_scoped(&name.object());
        let key = Key::new(self.services.clone(), cluster.clone(), object);
        let found = self.system.tenancy.find(&key).ok_or(Failure::NotFound)?;
        let service = self.exposures.of(&key, &found);
        match raw {
            false if !service.path => return Err(Failure::NotFound),
            // To expose it would not help.
            true if !service.raw && service.kind != ServiceType::Tcp.as_str() => {
                return Err(Failure::NotRaw);
            }
            true if !service.raw => return Err(Failure::NotExposed),
            _ => {}
        }
        let agent = self.tunnels.spec(cluster, &name.agent).ok_or(Failure::NotFound)?;
        if let Some(bound) = bound {
            bound.check(&agent, &service).map_err(Failure::CredentialScope)?;
        }
        Ok(Target { agent, service })
    }
}

impl Bound {
    fn check(&self, agent: &AgentSpec, service: &Exposure) -> Result<(), Scope> {
        if self.agent != agent.uid {
            return Err(Scope::EarlierAgent);
        }
        match &self.kind {
            Some(kind) if *kind != service.kind => {
                Err(Scope::Type { is_for: kind.clone(), this: service.kind.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// What could end a certificate's use.
fn subjects(user: &User, issued: Timestamp, cluster: &ClusterName, name: &ServiceName) -> Subjects {
    let id = user.extra.get("authentication.kubernetes.io/credential-id");
    let id = id.and_then(|values| values.first()).map_or("", String::as_str);
    Subjects {
        credential: id.into(),
        key: None,
        user: user.name.clone(),
        cluster: cluster.as_str().into(),
        agent: name.agent.as_str().into(),
        service: name.service.as_str().into(),
        issued,
    }
}

/// What a Service object says of how it is reached.
#[derive(Debug)]
pub(super) struct Exposure {
    path: bool,
    raw: bool,
    kind: String,
    limits: Limits,
}

/// The hub's limits of a service; none: no other than all services have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_body: Option<u64>,
    pub(super) concurrent: Option<usize>,
    pub(super) per_second: Option<u32>,
}

impl Exposure {
    pub(super) fn of(object: &Object) -> Self {
        let value = object.to_value();
        let exposed = |way| value.at(&["spec", "exposure", way]).and_then(Value::as_bool);
        let limit = |key| {
            let limit = value.at(&["spec", "limits", key]).and_then(Value::as_i64);
            limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0)
        };
        let limits = Limits {
            max_body: limit("maxBody"),
            concurrent: limit("concurrent").and_then(|limit| usize::try_from(limit).ok()),
            per_second: limit("requestsPerSecond").and_then(|limit| u32::try_from(limit).ok()),
        };
        Self {
            path: exposed("path") != Some(false),
            raw: exposed("raw") == Some(true),
            kind: value.str_at(&["spec", "type"]).unwrap_or_default().to_owned(),
            limits,
        }
    }
}

fn recorded((user, subjects): (&Arc<User>, &Arc<Subjects>), head: &Head, id: &str) -> Recorded {
    Recorded {
        user: user.name.clone(),
        groups: user.groups.clone(),
        subjects: subjects.clone(),
        client: Some(head.origin.client),
        method: head.message.method.clone(),
        path: head.message.path().to_owned(),
        kind: Kind::of(head.raw.is_some(), head.message.upgrade.is_some()),
        id: id.to_owned(),
        trace: trace_id(traceparent(&head.message.fields)).to_owned(),
    }
}
