//! Tokens, joining and renewing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::{Body, Header, Object};
use strait_machinery::status::Status;
use strait_pki::{AgentIdentity, Authority, Certificate, ClientSubject, Csr, renewal_time};
use strait_runtime::units::{format_duration, parse_duration};
use strait_runtime::{Clock, Entropy, random_16};
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Key, ObjectName, Put, ResourceId, Scope, Txn};
use strait_types::{ClusterName, HubId, InstanceId, Redacted, Report};
use subtle::ConstantTimeEq;

use crate::agents::{AgentSpec, Agents, set_condition, set_instance};
use crate::limiter::Limiter;
use crate::token::{JoinToken, SECRET_LENGTH, hex};

/// Life of a token where none is asked for, and the longest.
const TTL_DEFAULT: Duration = Duration::from_secs(3600);
const TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Most uses of a token.
const USES_MAX: i64 = 100;

/// Tokens of one agent that may be outstanding.
const TOKENS_MAX: usize = 16;

/// Attempts to join of one address in a minute.
const JOINS_PER_MINUTE: u32 = 10;

/// Attempts at a write that others changed meanwhile.
const ATTEMPTS: usize = 5;

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
    /// Refused, with a machine-readable reason.
    Refused(u16, &'static str, String),
}

/// Makes tokens and certificates for agents.
pub struct Joining {
    agents: Agents,
    authority: Arc<Authority>,
    hub: HubId,
    /// Addresses that tokens name.
    addresses: Vec<String>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    tokens: ResourceId,
    limiter: Limiter,
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
    ) -> Self {
        let tokens = ResourceId::new("relay.strait.dev", "jointokens", "");
        let limiter = Limiter::new(JOINS_PER_MINUTE, Duration::from_secs(60));
        Self { agents, authority, hub, addresses, clock, entropy, tokens, limiter }
    }

    /// Makes a token for an agent. `options`: `{ttl, uses}`.
    ///
    /// # Errors
    /// The agent does not exist, the options are out of bounds, or too many tokens are
    /// outstanding.
    pub async fn make_token(
        &self,
        cluster: &ClusterName,
        agent: &str,
        options: &Value,
    ) -> Result<Value, Status> {
        let resource = strait_types::GroupResource::new("relay.strait.dev", "agents");
        let object = self.agents.find(cluster, agent).filter(|agent| !agent.header.deleting);
        let object = object.ok_or_else(|| Status::not_found(&resource, agent))?;
        let (ttl, uses) = token_options(options)?;
        let store = self.agents.system.registry.store();
        let prefix = format!("{agent}.");
        let outstanding = store.snapshot(&self.tokens);
        let scope = Scope::Cluster(cluster.clone());
        let count =
            outstanding.iter(&scope).filter(|(_, name, _)| name.name().starts_with(&prefix));
        if count.count() >= TOKENS_MAX {
            return Err(Status::too_many_requests(
                format!(
                    "{TOKENS_MAX} tokens of this agent are outstanding; wait until one expires"
                ),
                60,
            ));
        }
        let mut secret = [0; SECRET_LENGTH];
        self.entropy.fill(&mut secret);
        let id = InstanceId::from_random(random_16(&*self.entropy)).to_string();
        let token = JoinToken {
            hubs: self.addresses.clone(),
            ca: self.authority.spki_sha256().0,
            cluster: cluster.clone(),
            agent: agent.to_owned(),
            id: id.clone(),
            secret: Redacted::new(secret),
        };
        let expires = self
            .clock
            .now()
            .saturating_add(ttl)
            .map_err(|_| Status::internal("the clock is out of range"))?;
        let record = object! {
            "kind": "JoinToken",
            "agentUID": object.header.uid.to_string(),
            "hash": token.secret_hash(),
            "uses": uses,
            "usedBy": Vec::<Value>::new(),
            "expires": expires.to_string(),
        };
        let lease = store.grant(ttl).await.map_err(|error| unwritten(&error))?;
        let put = self.record(cluster, &format!("{agent}.{id}"), record)?;
        let txn = Txn {
            compares: vec![Compare { key: put.key.clone(), expect: Expect::Absent }],
            puts: vec![Put { lease: Some(lease), ..put }],
            deletes: Vec::new(),
        };
        store.commit(cluster, txn).await.map_err(|error| unwritten(&error))?;
        tracing::info!(agent, cluster = %cluster, token = id, "join token created");
        Ok(object! {
            "apiVersion": "relay.strait.dev/v1alpha1",
            "kind": "AgentToken",
            "token": token.reveal(),
            "expires": expires.to_string(),
            "uses": uses,
        })
    }

    fn record(&self, cluster: &ClusterName, name: &str, mut value: Value) -> Result<Put, Status> {
        value.set(&["metadata", "name"], name);
        if value.str_at(&["metadata", "uid"]).is_none() {
            value.set(&["metadata", "uid"], self.agents.system.registry.new_uid().to_string());
        }
        let key = Key::new(self.tokens.clone(), cluster.clone(), ObjectName::cluster_scoped(name));
        encoded(key, &value)
    }

    /// Lets an agent join.
    ///
    /// # Errors
    /// The store takes no write, or the certificate cannot be made.
    pub async fn join(&self, request: &JoinRequest, from: IpAddr) -> Result<Answer, Status> {
        if !self.limiter.allow(from, self.clock.monotonic()) {
            let message = "too many attempts to join from this address; try again in a minute";
            return Ok(Answer::Refused(429, "TooManyRequests", message.into()));
        }
        let (instance, csr) = match self.check_request(&request.instance, &request.csr) {
            Ok(checked) => checked,
            Err(refused) => return Ok(refused),
        };
        let Ok(token) = request.token.parse::<JoinToken>() else {
            return Ok(invalid_token());
        };
        if token.ca != self.authority.spki_sha256().0 {
            let message = "this token was made by another hub";
            return Ok(Answer::Refused(403, "JoinTokenForeign", message.into()));
        }
        let Some(agent) = self.agents.find(&token.cluster, &token.agent) else {
            return Ok(invalid_token());
        };
        let spec = AgentSpec::of(&agent);
        if spec.suspended || spec.deleting {
            let message = format!("agent {} is suspended or being deleted", token.agent);
            return Ok(Answer::Refused(403, "AgentSuspended", message));
        }
        let known = spec.instances.contains(&request.instance);
        if !known && spec.instances.len() >= spec.max_instances {
            let message = format!(
                "agent {} has {} instances, maxInstances allows no more",
                token.agent,
                spec.instances.len()
            );
            return Ok(Answer::Refused(409, "TooManyInstances", message));
        }
        // The use is burnt, durably, before anything is signed.
        if !self.burn(&token, &agent, &request.instance, &csr).await? {
            return Ok(invalid_token());
        }
        let identity =
            AgentIdentity::new(self.hub.clone(), token.cluster.clone(), &token.agent, instance)
                .map_err(|error| Status::bad_request(error.to_string()))?;
        let certificate = self.certify(&identity, &csr, &spec)?;
        self.note_instance(&identity, &certificate, Some(request)).await?;
        tracing::info!(agent = token.agent, cluster = %token.cluster, instance = %identity.instance(), "agent joined");
        self.granted(&identity, &certificate)
    }

    fn check_request(&self, instance: &str, csr: &str) -> Result<(InstanceId, Csr), Answer> {
        let bad = |message: String| Answer::Refused(400, "BadRequest", message);
        let instance = instance.parse::<InstanceId>().map_err(|error| bad(error.to_string()))?;
        let csr = Csr::parse(csr).map_err(|error| bad(format!("csr: {}", Report(&error))))?;
        Ok((instance, csr))
    }

    /// Takes one use of a token for a key. The same key may come again: its first answer may
    /// have been lost on the way.
    async fn burn(
        &self,
        token: &JoinToken,
        agent: &Object,
        instance: &str,
        csr: &Csr,
    ) -> Result<bool, Status> {
        let store = self.agents.system.registry.store();
        let name = ObjectName::cluster_scoped(&format!("{}.{}", token.agent, token.id));
        let key = Key::new(self.tokens.clone(), token.cluster.clone(), name);
        let claim = format!("{instance}:{}", hex(&csr.spki_sha256().0));
        for _ in 0..ATTEMPTS {
            let stored = self.agents.system.tenancy.find(&key);
            let record = stored.as_ref().map(|stored| stored.to_value()).unwrap_or_default();
            let text = |field: &str| record.str_at(&[field]).unwrap_or_default();
            // Compared also where there is no record, so that both take as long.
            let hash = token.secret_hash();
            let proved = bool::from(hash.as_bytes().ct_eq(text("hash").as_bytes()));
            let Some(stored) = stored.filter(|_| proved) else {
                return Ok(false);
            };
            let alive =
                text("expires").parse::<jiff::Timestamp>().is_ok_and(|end| self.clock.now() < end);
            if !alive || text("agentUID") != agent.header.uid.to_string() {
                return Ok(false);
            }
            let mut used: Vec<Value> = record.array_at(&["usedBy"]).to_vec();
            if used.iter().any(|own| own.as_str() == Some(&claim)) {
                return Ok(true);
            }
            let uses = record.get("uses").and_then(Value::as_i64).unwrap_or(1);
            if i64::try_from(used.len()).unwrap_or(i64::MAX) >= uses {
                return Ok(false);
            }
            used.push(claim.as_str().into());
            let mut next = record.clone();
            next.set(&["usedBy"], used);
            // The lease must stay: a rewritten key hangs on none.
            let left = text("expires")
                .parse::<jiff::Timestamp>()
                .map(|end| end.duration_since(self.clock.now()));
            let left = left.ok().and_then(|left| Duration::try_from(left).ok()).unwrap_or_default();
            let lease = store.grant(left).await.map_err(|error| unwritten(&error))?;
            let put = encoded(key.clone(), &next)?;
            let txn = Txn {
                compares: vec![Compare {
                    key: key.clone(),
                    expect: Expect::Revision(stored.revision),
                }],
                puts: vec![Put { lease: Some(lease), ..put }],
                deletes: Vec::new(),
            };
            match store.commit(&token.cluster, txn).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Refused(_)) => {}
                Err(error) => return Err(unwritten(&error)),
            }
        }
        Err(Status::unavailable("the token is in use by too many at once").retry_after(1))
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
        let (_, csr) = match self.check_request(identity.instance().as_str(), &request.csr) {
            Ok(checked) => checked,
            Err(refused) => return Ok(refused),
        };
        let Some(agent) = self.agents.find(identity.cluster(), identity.name()) else {
            let message = format!("agent {} does not exist any more", identity.name());
            return Ok(Answer::Refused(403, "AgentUnknown", message));
        };
        let certificate = self.certify(identity, &csr, &AgentSpec::of(&agent))?;
        self.note_instance(identity, &certificate, None).await?;
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

    /// Writes into the Agent's status which installation has which certificate.
    async fn note_instance(
        &self,
        identity: &AgentIdentity,
        certificate: &Certificate,
        joined: Option<&JoinRequest>,
    ) -> Result<(), Status> {
        let now = self.agents.system.registry.timestamp();
        let mut changes = vec![(
            "certificate",
            object! {
                "serial": certificate.serial(),
                "notAfter": certificate.not_after().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            },
        )];
        if let Some(request) = joined {
            changes.push(("host", clipped(&request.host).into()));
            changes.push(("version", clipped(&request.version).into()));
            changes.push(("since", now.as_str().into()));
        }
        self.change_status(identity.cluster(), identity.name(), |agent| {
            set_instance(agent, identity.instance().as_str(), &changes);
        })
        .await
    }

    /// Takes an agent's report. `report`: `{instance, version, host, state}`.
    ///
    /// # Errors
    /// The report is of another installation, or the store takes no write.
    pub async fn report(
        &self,
        cluster: &ClusterName,
        name: &str,
        user: &strait_auth::User,
        report: &Value,
    ) -> Result<Value, Status> {
        let proved = user.extra.get(crate::INSTANCE_EXTRA).and_then(|values| values.first());
        let instance = report.str_at(&["instance"]).unwrap_or_default();
        if proved.is_none_or(|proved| proved != instance) {
            return Err(Status::bad_request("instance: must be that of the certificate"));
        }
        let state = match report.str_at(&["state"]).unwrap_or("Ready") {
            state @ ("Ready" | "Draining") => state,
            other => {
                return Err(Status::bad_request(format!(
                    "state: {other:?} is none of Ready, Draining"
                )));
            }
        };
        let now = self.agents.system.registry.timestamp();
        let text = |key: &str| clipped(report.str_at(&[key]).unwrap_or_default());
        let changes = [
            ("host", text("host").into()),
            ("version", text("version").into()),
            ("state", state.into()),
            ("lastSeen", now.as_str().into()),
        ];
        self.change_status(cluster, name, |agent| {
            set_instance(agent, instance, &changes);
            set_condition(
                agent,
                "Connected",
                ("True", "Reported", "an instance reported lately"),
                &now,
            );
        })
        .await?;
        Ok(object! {
            "apiVersion": "relay.strait.dev/v1alpha1",
            "kind": "AgentHeartbeat",
            "time": now,
            "path": self.agents.system.tenancy.path(cluster).map(|path| path.to_string()).unwrap_or_default(),
        })
    }

    /// Changes an Agent's status.
    async fn change_status(
        &self,
        cluster: &ClusterName,
        name: &str,
        change: impl Fn(&mut Value),
    ) -> Result<(), Status> {
        let key = self.agents.key(cluster, name);
        let registry = &self.agents.system.registry;
        for _ in 0..ATTEMPTS {
            let Some(agent) = self.agents.system.tenancy.find(&key) else {
                let resource = strait_types::GroupResource::new("relay.strait.dev", "agents");
                return Err(Status::not_found(&resource, name));
            };
            let mut value = agent.to_value();
            change(&mut value);
            if registry.replace_stored(&key, &agent, &value, Vec::new()).await?.is_some() {
                return Ok(());
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

/// One answer for a token that is unknown, used or expired.
fn invalid_token() -> Answer {
    Answer::Refused(403, "JoinTokenInvalid", "join token unknown, used or expired".into())
}

fn clipped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}

fn token_options(options: &Value) -> Result<(Duration, i64), Status> {
    let ttl = match options.str_at(&["ttl"]) {
        None => TTL_DEFAULT,
        Some(text) => parse_duration(text)
            .ok()
            .filter(|ttl| (Duration::from_secs(1)..=TTL_MAX).contains(ttl))
            .ok_or_else(|| {
                Status::bad_request(format!(
                    "ttl: {text:?} is not between 1s and {}",
                    format_duration(TTL_MAX)
                ))
            })?,
    };
    let uses = options.get("uses").and_then(Value::as_i64).unwrap_or(1);
    if !(1..=USES_MAX).contains(&uses) {
        return Err(Status::bad_request(format!("uses: {uses} is not between 1 and {USES_MAX}")));
    }
    Ok((ttl, uses))
}

fn encoded(key: Key, value: &Value) -> Result<Put, Status> {
    let broken = |_| Status::internal("a record cannot be stored");
    let body = Body::encode(value).map_err(broken)?;
    let header = Header::of(value).map_err(broken)?;
    Ok(Put { key, body, header, lease: None })
}

fn unwritten(error: &CommitError) -> Status {
    match error {
        CommitError::Full => Status::internal("the server has no space left, nothing was written"),
        _ => Status::unavailable("the store takes no writes now").retry_after(1),
    }
}
