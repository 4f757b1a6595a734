//! What the hub remembers of tokens, and of the keys that came with them.
//!
//! Both are records beside the objects that people see: no request reaches them, and they go
//! when they can no longer matter.

use std::sync::Arc;
use std::time::Duration;

use strait_apiserver::behaviour::Admission;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_pki::Csr;
use strait_runtime::random_16;
use strait_runtime::units::{format_duration, parse_duration};
use strait_store::engine::{Compare, Expect, LeaseId};
use strait_store::{CommitError, Key, ObjectName, Put, Scope, Txn};
use strait_types::{ClusterName, InstanceId, Redacted};
use subtle::ConstantTimeEq;

use super::Joining;
use super::approvals::{ASKED, claim_of};
use super::audited;
use super::join::{ATTEMPTS, Answer, Joins, RENEW_GRACE, clipped, invalid_token, spent_token};
use super::records::{self, unwritten};
use crate::agents::AgentSpec;
use crate::approval::{Claim, TOLD_FOR, WAITS_FOR};
use crate::message;
use crate::token::{JoinToken, SECRET_LENGTH, hex};

/// Life of a token where none is asked for, and the longest.
const TTL_DEFAULT: Duration = Duration::from_secs(3600);
const TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// For how long whoever has a token that ended is told so.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Most uses of a token.
const USES_MAX: i64 = 100;

/// Tokens of one agent that may be outstanding.
const TOKENS_MAX: usize = 16;

impl Joining {
    /// Makes a token for an agent. `options`: `{ttl, uses}`.
    ///
    /// # Errors
    /// The agent does not exist, the options are out of bounds, or too many tokens are
    /// outstanding.
    pub(super) async fn make_token(
        &self,
        admission: &Admission<'_>,
        agent: &str,
        options: &Value,
    ) -> Result<Value, Status> {
        let cluster = admission.cluster;
        let object = self.existing(cluster, agent)?;
        let (ttl, uses) = token_options(options)?;
        let store = self.agents.system.registry.store();
        let prefix = format!("{agent}.");
        let outstanding = store.snapshot(&self.tokens);
        let scope = Scope::Cluster(cluster.clone());
        let usable = outstanding.iter(&scope).filter(|(_, name, record)| {
            let record = record.to_value();
            let uses = record.get("uses").and_then(Value::as_i64).unwrap_or_default();
            let used = i64::try_from(record.array_at(&["usedBy"]).len()).unwrap_or(i64::MAX);
            // One that ended is kept for those that asked with it for approval.
            name.name().starts_with(&prefix) && used < uses && self.is_alive(&record)
        });
        if usable.count() >= TOKENS_MAX {
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
        let what = format!("relay.token.create uses {uses}, until {expires}");
        let of = (cluster, "agents", agent);
        audited::append(&self.audit, admission.user, of, &id, what).await?;
        let lease = self.lease(ttl + REMEMBERED_FOR).await?;
        let put =
            records::record(&self.agents.system.registry, self.token_key(&token), record, lease)?;
        let txn = Txn {
            compares: vec![Compare { key: put.key.clone(), expect: Expect::Absent }],
            puts: vec![put],
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

    /// How many agents a workspace has.
    pub(super) fn count(&self, cluster: &ClusterName) -> usize {
        self.agents.system.registry.store().snapshot(&self.agents.resource).count(cluster)
    }

    /// An agent that is there to stay.
    pub(super) fn existing(
        &self,
        cluster: &ClusterName,
        agent: &str,
    ) -> Result<Arc<Object>, Status> {
        let resource = strait_types::GroupResource::new("relay.strait.dev", "agents");
        let object = self.agents.find(cluster, agent).filter(|agent| !agent.header.deleting);
        object.ok_or_else(|| Status::not_found(&resource, agent))
    }

    fn token_key(&self, token: &JoinToken) -> Key {
        let name = ObjectName::cluster_scoped(&format!("{}.{}", token.agent, token.id));
        Key::new(self.tokens.clone(), token.cluster.clone(), name)
    }

    fn is_alive(&self, record: &Value) -> bool {
        let end = record.str_at(&["expires"]).unwrap_or_default();
        end.parse::<jiff::Timestamp>().is_ok_and(|end| self.clock.now() < end)
    }

    /// What is stored under a token's id, if that is the token; nothing else is told of it.
    fn proved_record(&self, token: &JoinToken) -> Option<Value> {
        let record = self.agents.system.tenancy.find(&self.token_key(token));
        let record = record.map(|record| record.to_value()).unwrap_or_default();
        let hash = record.str_at(&["hash"]).unwrap_or_default();
        let proved = bool::from(token.secret_hash().as_bytes().ct_eq(hash.as_bytes()));
        proved.then_some(record)
    }

    /// Whether a token is one of its own, still good or not.
    pub(super) fn is_proved(&self, token: &JoinToken) -> bool {
        self.proved_record(token).is_some()
    }

    /// The agent that a token is for, if the token is one of its own and still good for this key,
    /// and what it knows of the key. Whatever is missing, the work is the same; why a token is
    /// good no more is told to whoever has it.
    pub(super) fn proved_agent(
        &self,
        token: &JoinToken,
        instance: &str,
        csr: &Csr,
    ) -> Result<(Arc<Object>, Claim), Answer> {
        let agent = self.agents.find(&token.cluster, &token.agent);
        let record = self.proved_record(token).unwrap_or_default();
        let claim = claim_of(record.array_at(&["usedBy"]), &plain_claim(instance, csr));
        let uid = record.str_at(&["agentUID"]).unwrap_or_default();
        let agent = agent.filter(|agent| agent.header.uid.to_string() == uid);
        let agent = agent.ok_or_else(invalid_token)?;
        // Who waits for a person has time beyond the token's.
        if !self.is_alive(&record) && claim != Claim::Asked {
            let end = record.str_at(&["expires"]).and_then(|text| text.parse().ok());
            let ago = end.map(|end| self.clock.now().duration_since(end));
            let ago = ago.and_then(|ago| Duration::try_from(ago).ok()).unwrap_or_default();
            return Err(spent_token(&message::Joining::TokenExpired { ago }));
        }
        Ok((agent, claim))
    }

    /// Takes one use of a token, which was proved, for a key. The same key may come again: its
    /// first answer may have been lost on the way. With `request` it asks for approval: the
    /// request is kept in the same transaction.
    pub(super) async fn burn(
        &self,
        joins: &Joins<'_>,
        request: Option<(Compare, Put)>,
    ) -> Result<Option<Answer>, Status> {
        let Joins { token, agent, csr, .. } = joins;
        let store = self.agents.system.registry.store();
        let key = self.token_key(token);
        let plain = plain_claim(joins.instance.as_str(), csr);
        let claim = if request.is_some() { format!("{plain}{ASKED}") } else { plain.clone() };
        // Granted once: leases that no key hangs on end by themselves.
        let mut leases = None;
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.agents.system.tenancy.find(&key) else {
                return Ok(Some(invalid_token()));
            };
            let mut record = stored.to_value();
            let mut used: Vec<Value> = record.array_at(&["usedBy"]).to_vec();
            let known = used.iter().position(|own| own.as_str() == Some(&plain));
            let uses = record.get("uses").and_then(Value::as_i64).unwrap_or(1);
            match known {
                Some(_) if request.is_none() => return Ok(None),
                Some(at) => used[at] = claim.as_str().into(),
                None if i64::try_from(used.len()).unwrap_or(i64::MAX) >= uses => {
                    let last = |field| record.str_at(&["lastUse", field]).unwrap_or_default();
                    let at = last("at").parse().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
                    let by = last("by").to_owned();
                    return Ok(Some(spent_token(&message::Joining::TokenUsed { at, by })));
                }
                None => used.push(claim.as_str().into()),
            }
            record.set(&["usedBy"], used);
            let at = self.clock.now().to_string();
            record.set(&["lastUse"], object! {"at": at, "by": clipped(&joins.request.host)});
            let (token_lease, key_lease) = match leases {
                Some(granted) => granted,
                None => *leases.insert(self.leases(&record, agent).await?),
            };
            let owner = (&token.cluster, &*token.agent);
            let (key_compare, key_put) = match self.claim_key(csr, owner, key_lease)? {
                Ok(claimed) => claimed,
                Err(refused) => return Ok(Some(refused)),
            };
            let put = Put { lease: Some(token_lease), ..records::encoded(key.clone(), &record)? };
            let unused = Compare { key: key.clone(), expect: Expect::Revision(stored.revision) };
            let (mut compares, mut puts) = (vec![unused, key_compare], vec![put, key_put]);
            if let Some((compare, put)) = &request {
                compares.push(compare.clone());
                puts.push(put.clone());
            }
            let txn = Txn { compares, puts, deletes: Vec::new() };
            match store.commit(&token.cluster, txn).await {
                Ok(_) => return Ok(None),
                Err(CommitError::Refused(_)) => {}
                Err(error) => return Err(unwritten(&error)),
            }
        }
        Err(Status::unavailable("the token is in use by too many at once").retry_after(1))
    }

    /// Leases for a token's record and for the claim of a key. A key that is written anew hangs on
    /// no lease of before.
    async fn leases(&self, record: &Value, agent: &Object) -> Result<(LeaseId, LeaseId), Status> {
        let end = record.str_at(&["expires"]).unwrap_or_default();
        let end = end.parse::<jiff::Timestamp>().ok();
        let left = end.map(|end| end.duration_since(self.clock.now()));
        let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default()
            + REMEMBERED_FOR;
        // Who waits for a person comes with this token as long as that takes.
        let waits = if was_asked_with(record) { WAITS_FOR + 2 * TOLD_FOR } else { Duration::ZERO };
        let ttl = AgentSpec::of(agent).certificate_ttl;
        Ok((self.lease(left.max(waits)).await?, self.lease(waits + ttl + RENEW_GRACE).await?))
    }

    pub(super) async fn lease(&self, ttl: Duration) -> Result<LeaseId, Status> {
        records::lease(&self.agents.system.registry, ttl).await
    }

    /// The write that says whose a public key is; refused where it is another agent's. `lease`
    /// lasts for as long as a certificate for the key may live or be renewed.
    pub(super) fn claim_key(
        &self,
        csr: &Csr,
        (cluster, agent): (&ClusterName, &str),
        lease: LeaseId,
    ) -> Result<Result<(Compare, Put), Answer>, Status> {
        let name = hex(&csr.spki_sha256().0);
        let key = Key::new(
            self.keys.clone(),
            ClusterName::system_admin(),
            ObjectName::cluster_scoped(&name),
        );
        let owner = format!("{cluster}:{agent}");
        let known = self.agents.system.tenancy.find(&key);
        if let Some(known) = &known
            && known.to_value().str_at(&["owner"]) != Some(&owner)
        {
            let message = "this key was used by another agent; make a new one";
            return Ok(Err(Answer::Refused(403, "KeyInUse", message.into())));
        }
        let expect = known.map_or(Expect::Absent, |known| Expect::Revision(known.revision));
        let record = object! {"kind": "AgentKey", "owner": owner};
        let put = records::record(&self.agents.system.registry, key.clone(), record, lease)?;
        Ok(Ok((Compare { key, expect }, put)))
    }
}

/// How a use by an installation's key is remembered.
fn plain_claim(instance: &str, csr: &Csr) -> String {
    format!("{instance}:{}", hex(&csr.spki_sha256().0))
}

/// Whether somebody asked for approval with a token.
fn was_asked_with(record: &Value) -> bool {
    let mut used = record.array_at(&["usedBy"]).iter().filter_map(Value::as_str);
    used.any(|claim| claim.ends_with(ASKED))
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
