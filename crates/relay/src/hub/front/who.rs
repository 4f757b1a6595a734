//! Who asks, and whether they may.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use strait_auth::User;
use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_store::{Key, ObjectName};
use strait_types::{ClusterName, WorkspacePath};

use super::head::Head;
use super::{Certified, Front};
use crate::access::{Verb, attributes};
use crate::agents::{Affinity, AgentSpec};
use crate::credential::{Asked, Scope, Subjects, is_ours};
use crate::http::framing::BodyLength;
use crate::message::{Failure, ServiceName};

/// Who asks.
pub(super) struct Caller {
    pub(super) user: Arc<User>,
    pub(super) cluster: ClusterName,
    pub(super) subjects: Arc<Subjects>,
    /// What the agent is told of them, JSON.
    pub(super) identity: Vec<u8>,
    target: Target,
}

/// What is asked for, as its objects say.
struct Target {
    agent: Arc<AgentSpec>,
    limits: Limits,
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
    ip: String,
}

impl Caller {
    /// What the choice of an instance goes by.
    pub(super) fn affinity(&self, head: &Head) -> Option<String> {
        match &self.target.agent.affinity {
            Affinity::None => None,
            Affinity::Client => Some(self.subjects.credential.to_string()),
            Affinity::Header(name) => {
                let value = head.fields.get(name)?;
                Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
            }
        }
    }
}

impl Front {
    /// Who asks for a service, where they may.
    pub(super) fn who(
        &self,
        head: &Head,
        name: &ServiceName,
        certified: Certified<'_>,
    ) -> Result<Caller, Failure> {
        let verb = head.verb();
        let cluster = head.workspace.as_deref().map(|path| self.cluster(path)).transpose()?;
        let (user, cluster, subjects, service_type, via) = match &head.presented.token {
            Some(token) => {
                let asked = Asked {
                    cluster: cluster.as_ref().map(ClusterName::as_str),
                    agent: &name.agent,
                    service: &name.service,
                    service_type: None,
                    verb: verb.as_str(),
                    client: head.peer.ip(),
                };
                let token = token.expose();
                if !is_ours(token) {
                    return Err(Failure::CredentialInvalid);
                }
                let now = self.context.clock.now();
                let caller = self.credentials.check(Some(token), &asked, now)?;
                (caller.user, caller.cluster, caller.subjects, caller.service_type, "token")
            }
            None => {
                let user = certified().map_err(|_| Failure::CredentialInvalid)?;
                let (user, issued) = user.ok_or(Failure::CredentialMissing)?;
                let cluster = cluster.ok_or(Failure::WorkspaceMissing)?;
                let subjects = Arc::new(subjects(&user, issued, &cluster, name));
                (user, cluster, subjects, None, "cert")
            }
        };
        if let Some(failure) = self.credentials.revoked(&subjects, self.context.clock.now()) {
            return Err(failure);
        }
        self.may(&user, &cluster, name, verb)?;
        let target = self.target(&cluster, name, service_type.as_deref(), head.raw.is_some())?;
        if let BodyLength::Known(length) = head.length
            && let Some(limit) = target.limits.max_body.filter(|limit| length > *limit)
        {
            return Err(Failure::TooLarge { length: Some(length), limit });
        }
        let identity = Identity {
            user: &user.name,
            uid: &user.uid,
            groups: user.groups.iter().map(|group| &**group).collect(),
            ws: cluster.as_str(),
            via,
            cred: &subjects.credential,
            issued: subjects.issued.to_string(),
            ip: head.peer.ip().to_canonical().to_string(),
        };
        let identity = serde_json::to_vec(&identity).map_err(|_| Failure::Internal)?;
        Ok(Caller { user, cluster, subjects, identity, target })
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
        let sees = crate::access::sees(&object);
        if view.authorize(user, &sees).is_allowed() {
            let workspace = self.system.tenancy.path_of(cluster).to_string();
            let (user, verb) = (user.name.to_string(), verb.as_str());
            return Err(Failure::Forbidden { user, verb, workspace });
        }
        Err(Failure::NotFound)
    }

    /// The service, if it is there and can be reached this way. `is_for` is the type that the
    /// credential is bound to.
    fn target(
        &self,
        cluster: &ClusterName,
        name: &ServiceName,
        is_for: Option<&str>,
        raw: bool,
    ) -> Result<Target, Failure> {
        let object = ObjectName::cluster_scoped(&name.object());
        let key = Key::new(self.services.clone(), cluster.clone(), object);
        let found = self.system.tenancy.find(&key).ok_or(Failure::NotFound)?;
        let service = self.exposures.of(&key, &found);
        match raw {
            false if !service.path => return Err(Failure::NotFound),
            true if !service.raw => return Err(Failure::NotExposed),
            _ => {}
        }
        if let Some(is_for) = is_for.filter(|is_for| *is_for != service.kind) {
            let (is_for, this) = (is_for.to_owned(), service.kind.clone());
            return Err(Failure::CredentialScope(Scope::Type { is_for, this }));
        }
        let key = self.agents.key(cluster, &name.agent);
        let found = self.system.tenancy.find(&key).ok_or(Failure::NotFound)?;
        Ok(Target { agent: self.specs.of(&key, &found), limits: service.limits })
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

/// The hub's limits of a service.
#[derive(Clone, Copy, Debug)]
struct Limits {
    max_body: Option<u64>,
}

impl Exposure {
    pub(super) fn of(object: &Object) -> Self {
        let value = object.to_value();
        let exposed = |way| value.at(&["spec", "exposure", way]).and_then(Value::as_bool);
        let max_body = value.at(&["spec", "limits", "maxBody"]).and_then(Value::as_i64);
        let max_body = max_body.and_then(|bytes| u64::try_from(bytes).ok()).filter(|own| *own > 0);
        let kind = value.str_at(&["spec", "type"]).unwrap_or_default().to_owned();
        Self {
            path: exposed("path") != Some(false),
            raw: exposed("raw") == Some(true),
            kind,
            limits: Limits { max_body },
        }
    }
}
