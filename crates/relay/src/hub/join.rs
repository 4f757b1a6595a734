//! Tokens, joining and renewing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use strait_audit::AuditLog;
use strait_auth::{User, groups};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_pki::{AgentIdentity, Authority, Certificate, ClientSubject, Csr, renewal_time};
use strait_runtime::{Clock, Entropy};
use strait_store::{CommitError, ResourceId, Txn};
use strait_types::{ClusterName, HubId, InstanceId, Report};
use tokio::sync::Semaphore;

use super::audited;
use super::records::unwritten;
use crate::agents::{AgentSpec, Agents, LOST_AFTER, is_revoked, set_instance};
use crate::approval::{Claim, Step};
use crate::limiter::{Limiter, network_of};
use crate::message;
use crate::places::{self, Place};
use crate::token::{JoinToken, hex};

/// For how long after its end an agent's certificate may still be renewed.
pub const RENEW_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Attempts to join of one address in a minute, by whoever proves no token.
const STRANGERS_PER_MINUTE: u32 = 10;

/// The same with one token, wherever from: all installations of an agent may wait for approval.
const JOINS_PER_MINUTE: u32 = 200;

/// Renewals of one agent in a minute; each leaves something behind for a week. All instances may
/// renew at once.
const RENEWALS_PER_MINUTE: u32 = 128;

/// Attempts at a write that others changed meanwhile: groups of installations start together.
pub(super) const ATTEMPTS: usize = 32;

/// Most instances' worth of text that an agent may send about itself, characters each.
const TEXT_MAX: usize = 253;

/// A request to join.
#[derive(Debug)]
pub struct JoinRequest {
    /// The token.
    pub token: String,
    /// A certificate signing request, PEM. Only its public key counts.
    pub csr: String,
    /// The installation's identifier.
    pub instance: String,
    /// The agent's release.
    pub version: String,
    /// The host that it runs on.
    pub host: String,
    /// Whether it does not come back once it is gone.
    pub ephemeral: bool,
}

/// A request to renew.
#[derive(Debug)]
pub struct RenewRequest {
    /// A certificate signing request, PEM, of a new key.
    pub csr: String,
}

/// What joining or renewing answers.
#[derive(Debug)]
pub enum Answer {
    /// A certificate and what belongs to it.
    Granted(Value),
    /// A person has to approve it: the request's name, and when to ask again.
    Waiting(String, Duration),
    /// Refused, with a machine-readable reason.
    Refused(u16, &'static str, String),
}

/// A request to join whose token was proved.
pub(super) struct Joins<'a> {
    pub(super) token: &'a JoinToken,
    pub(super) agent: Arc<Object>,
    pub(super) spec: AgentSpec,
    /// What the token knows of the key.
    pub(super) claim: Claim,
    pub(super) instance: InstanceId,
    pub(super) csr: Csr,
    pub(super) request: &'a JoinRequest,
    pub(super) from: IpAddr,
}

impl Joins<'_> {
    pub(super) fn cluster(&self) -> &ClusterName {
        &self.token.cluster
    }

    /// The name of its request for approval.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.token.agent, self.instance)
    }

    /// Its public key's hash, in hexadecimal.
    pub(super) fn key(&self) -> String {
        hex(&self.csr.spki_sha256().0)
    }
}

/// Makes tokens and certificates for agents.
pub struct Joining {
    pub(super) agents: Agents,
    pub(super) authority: Arc<Authority>,
    hub: HubId,
    /// Addresses that tokens name.
    pub(super) addresses: Vec<String>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) tokens: ResourceId,
    /// Public keys that were seen, and of which agent.
    pub(super) keys: ResourceId,
    pub(super) audit: AuditLog,
    /// For those that prove a token, which its id names: many come by one address, that of an ingress
    /// or a proxy, and strangers there must not take their turns.
    joins: Limiter<String>,
    /// For those that prove none.
    strangers: Limiter,
    /// For installations that renew.
    renewals: Limiter<(ClusterName, String)>,
    /// Requests for approval are kept one after the other.
    pub(super) asking: Semaphore,
}

impl Joining {
    /// Puts the service together. `addresses` are the hub's, `host:port`, as agents reach it.
    #[must_use]
    pub fn new(
        agents: Agents,
        authority: Arc<Authority>,
        hub: HubId,
        addresses: Vec<String>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        audit: AuditLog,
    ) -> Self {
        let tokens = ResourceId::new("relay.strait.dev", "jointokens", "");
        let keys = ResourceId::new("relay.strait.dev", "agentkeys", "");
        let minute = Duration::from_secs(60);
        Self {
            agents,
            authority,
            hub,
            addresses,
            clock,
            entropy,
            tokens,
            keys,
            audit,
            joins: Limiter::new(JOINS_PER_MINUTE, minute),
            strangers: Limiter::new(STRANGERS_PER_MINUTE, minute),
            renewals: Limiter::new(RENEWALS_PER_MINUTE, minute),
            asking: Semaphore::new(1),
        }
    }

    /// Lets an agent join.
    ///
    /// # Errors
    /// The store takes no write, or the certificate cannot be made.
    pub async fn join(&self, request: &JoinRequest, from: IpAddr) -> Result<Answer, Status> {
        let token = request.token.parse::<JoinToken>();
        let now = self.clock.monotonic();
        let (allowed, whose) = match token.as_ref().ok().filter(|token| self.is_proved(token)) {
            Some(token) => (self.joins.allow(token.id.clone(), now), "with this token"),
            None => (self.strangers.allow(network_of(from), now), "from this address"),
        };
        if !allowed {
            let message = format!("too many attempts to join {whose}; try again in a minute");
            return Ok(Answer::Refused(429, "TooManyRequests", message));
        }
        let (instance, csr) = match self.check_request(&request.instance, &request.csr) {
            Ok(checked) => checked,
            Err(refused) => return Ok(refused),
        };
        let Ok(token) = token else {
            return Ok(invalid_token());
        };
        if token.ca != self.authority.spki_sha256().0 {
            let message = "this token was made by another hub";
            return Ok(Answer::Refused(403, "JoinTokenForeign", message.into()));
        }
        // Nothing is said of the agent before the token is proved.
        let (agent, claim) = match self.proved_agent(&token, instance.as_str(), &csr) {
            Ok(proved) => proved,
            Err(refused) => return Ok(refused),
        };
        let spec = AgentSpec::of(&agent);
        let token = &token;
        self.step_of(Joins { token, agent, spec, claim, instance, csr, request, from }).await
    }

    async fn step_of(&self, joins: Joins<'_>) -> Result<Answer, Status> {
        let Joins { token, spec, instance, .. } = &joins;
        if spec.suspended || spec.deleting {
            let message = format!("agent {} is suspended or being deleted", token.agent);
            return Ok(Answer::Refused(403, "AgentSuspended", message));
        }
        let (step, found) = self.next(&joins);
        let asked = found.map(|(_, asked)| asked);
        if !matches!(step, Step::Sign | Step::SignApproved | Step::Ask) {
            return Ok(self.told(step, &joins, asked.as_ref()));
        }
        // What was revoked does not come back by the same key asking again.
        let approved = asked.filter(|_| step == Step::SignApproved).and_then(|own| own.decided);
        if (joins.claim != Claim::None || step == Step::SignApproved)
            && is_revoked(&joins.agent, instance.as_str(), approved)
        {
            let message = "the certificate was revoked; to join again, a new token is needed";
            return Ok(Answer::Refused(403, "CertificateRevoked", message.into()));
        }
        let mut agent = joins.agent.to_value();
        let who = (joins.cluster(), token.agent.as_str());
        if let Some(refused) = self.take_place(who, spec, &mut agent, instance.as_str()) {
            return Ok(refused);
        }
        if step == Step::Ask {
            return self.ask(&joins).await;
        }
        let what = format!("relay.agent.join {instance} from {}", joins.from);
        self.record_agent(&joins, &what).await?;
        // The use is burnt, durably, before anything is signed.
        if step == Step::Sign
            && let Some(refused) = self.burn(&joins, None).await?
        {
            return Ok(refused);
        }
        self.sign(&joins).await
    }

    async fn sign(&self, joins: &Joins<'_>) -> Result<Answer, Status> {
        let identity = self.identity(joins)?;
        let certificate = self.certify(&identity, &joins.csr, &joins.spec)?;
        let agent = &joins.agent;
        let noted = self.note_instance(&identity, agent, &certificate, Some(joins.request)).await?;
        if let Some(refused) = noted {
            return Ok(refused);
        }
        tracing::info!(agent = joins.token.agent, cluster = %joins.cluster(), instance = %joins.instance, "agent joined");
        self.granted(&identity, &certificate)
    }

    /// Finds a place for an installation in an Agent, or says why there is none.
    fn take_place(
        &self,
        who: (&ClusterName, &str),
        spec: &AgentSpec,
        agent: &mut Value,
        id: &str,
    ) -> Option<Answer> {
        let seen = self.agents.last_seen(who, agent);
        match places::take(agent, id, spec.max_instances, self.clock.now(), &seen) {
            Place::Taken => None,
            Place::NotYet => Some(not_yet(who.1, spec)),
            Place::Full => Some(too_many(who.1, spec)),
        }
    }

    fn identity(&self, joins: &Joins<'_>) -> Result<AgentIdentity, Status> {
        let (cluster, instance) = (joins.cluster().clone(), joins.instance.clone());
        AgentIdentity::new(self.hub.clone(), cluster, &joins.token.agent, instance)
            .map_err(|error| Status::bad_request(error.to_string()))
    }

    /// Puts what is about to be done for an agent into the audit log.
    pub(super) async fn record_agent(&self, joins: &Joins<'_>, what: &str) -> Result<(), Status> {
        let identity = self.identity(joins)?;
        self.record(&identity, &joins.token.id, what).await
    }

    async fn record(&self, identity: &AgentIdentity, id: &str, what: &str) -> Result<(), Status> {
        let user = User::authenticated(&identity.user(), &[groups::AGENTS]);
        let object = (identity.cluster(), "agents", identity.name());
        audited::append(&self.audit, &user, object, id, what.to_owned()).await
    }

    fn check_request(&self, instance: &str, csr: &str) -> Result<(InstanceId, Csr), Answer> {
        let bad = |message: String| Answer::Refused(400, "BadRequest", message);
        let instance = instance.parse::<InstanceId>().map_err(|error| bad(error.to_string()))?;
        let csr = Csr::parse(csr).map_err(|error| bad(format!("csr: {}", Report(&error))))?;
        Ok((instance, csr))
    }

    /// Issues a new certificate to an agent that proved an older one.
    ///
    /// # Errors
    /// The store takes no write, or the certificate cannot be made.
    pub async fn renew(
        &self,
        identity: &AgentIdentity,
        request: &RenewRequest,
    ) -> Result<Answer, Status> {
        let who = (identity.cluster().clone(), identity.name().to_owned());
        if !self.renewals.allow(who, self.clock.monotonic()) {
            let message = "this agent renews too often; try again in a minute";
            return Ok(Answer::Refused(429, "TooManyRequests", message.into()));
        }
        let (_, csr) = match self.check_request(identity.instance().as_str(), &request.csr) {
            Ok(checked) => checked,
            Err(refused) => return Ok(refused),
        };
        let Some(agent) = self.agents.find(identity.cluster(), identity.name()) else {
            let message = format!("agent {} does not exist any more", identity.name());
            return Ok(Answer::Refused(403, "AgentUnknown", message));
        };
        let spec = AgentSpec::of(&agent);
        let owner = (identity.cluster(), identity.name());
        let what = format!("relay.agent.renew {}", identity.instance());
        self.record(identity, "", &what).await?;
        let lease = self.lease(spec.certificate_ttl + RENEW_GRACE).await?;
        let (compare, put) = match self.claim_key(&csr, owner, lease)? {
            Ok(claimed) => claimed,
            Err(refused) => return Ok(refused),
        };
        let txn = Txn { compares: vec![compare], puts: vec![put], deletes: Vec::new() };
        match self.agents.system.registry.store().commit(identity.cluster(), txn).await {
            Ok(_) => {}
            Err(CommitError::Refused(_)) => {
                let why = "the key is being claimed by another request";
                return Err(Status::unavailable(why).retry_after(1));
            }
            Err(error) => return Err(unwritten(&error)),
        }
        let certificate = self.certify(identity, &csr, &spec)?;
        if let Some(refused) = self.note_instance(identity, &agent, &certificate, None).await? {
            return Ok(refused);
        }
        self.granted(identity, &certificate)
    }

    fn certify(
        &self,
        identity: &AgentIdentity,
        csr: &Csr,
        spec: &AgentSpec,
    ) -> Result<Certificate, Status> {
        let subject = ClientSubject {
            user: identity.user(),
            group: Some(strait_pki::AGENTS_GROUP.to_owned()),
            uri: Some(identity.to_string()),
        };
        self.authority.certify(csr, &subject, spec.certificate_ttl).map_err(|error| {
            tracing::error!(err = %Report(&error), "a certificate cannot be issued");
            Status::internal("the certificate cannot be issued")
        })
    }

    /// Writes into the Agent's status which installation has which certificate. A certificate
    /// that is not noted there is not honoured.
    async fn note_instance(
        &self,
        identity: &AgentIdentity,
        agent: &Object,
        certificate: &Certificate,
        joined: Option<&JoinRequest>,
    ) -> Result<Option<Answer>, Status> {
        let now = self.agents.system.registry.timestamp();
        let mut changes = vec![(
            "certificate",
            object! {
                "serial": certificate.serial(),
                "notBefore": certificate.not_before().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "notAfter": certificate.not_after().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            },
        )];
        if let Some(request) = joined {
            changes.push(("host", clipped(&request.host).into()));
            changes.push(("version", clipped(&request.version).into()));
            changes.push(("since", now.as_str().into()));
            changes.push(("ephemeral", request.ephemeral.into()));
        }
        let (id, uid) = (identity.instance().as_str(), agent.header.uid);
        self.change_status(identity.cluster(), identity.name(), |now, value| {
            // Others may have joined, or the agent been made anew, since it was looked at.
            if now.header.uid != uid {
                return Some(invalid_token());
            }
            let spec = AgentSpec::of(now);
            let who = (identity.cluster(), identity.name());
            if let Some(refused) = self.take_place(who, &spec, value, id) {
                return Some(refused);
            }
            set_instance(value, id, &changes);
            None
        })
        .await
    }

    /// Changes an Agent's status, unless `change` refuses or changes nothing.
    pub(super) async fn change_status<R>(
        &self,
        cluster: &ClusterName,
        name: &str,
        change: impl Fn(&Object, &mut Value) -> Option<R>,
    ) -> Result<Option<R>, Status> {
        let key = self.agents.key(cluster, name);
        let registry = &self.agents.system.registry;
        for _ in 0..ATTEMPTS {
            let Some(agent) = self.agents.system.tenancy.find(&key) else {
                let resource = strait_types::GroupResource::new("relay.strait.dev", "agents");
                return Err(Status::not_found(&resource, name));
            };
            let before = agent.to_value();
            let mut value = before.clone();
            if let Some(refused) = change(&agent, &mut value) {
                return Ok(Some(refused));
            }
            if value == before {
                return Ok(None);
            }
            if registry.replace_stored(&key, &agent, &value, Vec::new()).await?.is_some() {
                return Ok(None);
            }
        }
        Err(Status::unavailable("the agent's status is being changed by too many at once")
            .retry_after(1))
    }

    fn granted(
        &self,
        identity: &AgentIdentity,
        certificate: &Certificate,
    ) -> Result<Answer, Status> {
        let hubs = self.addresses.iter().map(|address| {
            object! {"id": self.hub.as_str(), "addr": address.as_str()}
        });
        let path = self.agents.system.tenancy.path(identity.cluster());
        let renew_at = renewal_time(certificate.not_before(), certificate.not_after());
        Ok(Answer::Granted(object! {
            "certificate": certificate.to_pem(),
            "ca": self.authority.certificate_pem(),
            "hub": self.hub.as_str(),
            "hubs": hubs.collect::<Value>(),
            "renewAt": renew_at.to_string(),
            "notAfter": certificate.not_after().to_string(),
            "agent": identity.name(),
            "cluster": identity.cluster().as_str(),
            "workspace": path.map(|path| path.to_string()).unwrap_or_default(),
        }))
    }
}

/// What whoever has a token that was good is told of it.
pub(super) fn spent_token(why: &message::Joining) -> Answer {
    Answer::Refused(403, "JoinTokenInvalid", why.to_string())
}

/// One answer for a token that is none, or not known any more.
pub(super) fn invalid_token() -> Answer {
    Answer::Refused(403, "JoinTokenInvalid", "join token unknown, used or expired".into())
}

/// Agents repeat what is answered so.
fn not_yet(agent: &str, spec: &AgentSpec) -> Answer {
    let (count, soon_s) = (spec.instances.len(), LOST_AFTER.as_secs());
    let message = format!(
        "agent {agent} has {count} instances, maxInstances allows no more yet: one that may be gone keeps its place for some {soon_s} s; try again then"
    );
    Answer::Refused(503, "NoPlaceYet", message)
}

fn too_many(agent: &str, spec: &AgentSpec) -> Answer {
    let count = spec.instances.len();
    let plural = if count == 1 { "" } else { "s" };
    let message =
        format!("agent {agent} has {count} instance{plural}, maxInstances allows no more");
    Answer::Refused(409, "TooManyInstances", message)
}

pub(super) fn clipped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}
