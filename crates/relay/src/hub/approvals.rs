//! Requests to join that wait for a person, and what people say of them.

use std::sync::Arc;

use strait_api::well_known::CLUSTER;
use strait_apiserver::behaviour::Admission;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Key, Put, Scope, Txn};
use strait_types::{ClusterName, GroupResource};

use super::Joining;
use super::audited;
use super::join::{ATTEMPTS, Answer, Joins, clipped};
use super::records::{encoded, unwritten};
use crate::agents::set_condition;
use crate::approval::{Asked, Claim, Stand, Step, TOLD_FOR, WAITING_MAX, WAITS_FOR, step};

/// The end of the record of a use that asked for approval.
pub(super) const ASKED: &str = ":asked";

impl Joining {
    /// What is next for whoever asks, and the request that it has, if it has one.
    pub(super) fn next(&self, joins: &Joins<'_>) -> (Step, Option<(Arc<Object>, Asked)>) {
        let key = self.agents.request_key(joins.cluster(), &joins.name());
        let found = self.agents.system.tenancy.find(&key).map(|object| {
            let asked = Asked::of(&object);
            (object, asked)
        });
        let uid = joins.agent.header.uid.to_string();
        // An Agent of before of the same name left nothing behind.
        let own = found.as_ref().filter(|(_, asked)| asked.agent_uid == uid);
        let now = self.clock.now();
        let own = own.map(|(_, asked)| (asked.key == joins.key(), asked.stand(now)));
        (step(joins.spec.join_policy, joins.claim, own), found)
    }

    /// Burns a use of the token and keeps the request, both or neither.
    pub(super) async fn ask(&self, joins: &Joins<'_>) -> Result<Answer, Status> {
        // One after the other, so that no more wait than may.
        let Ok(_turn) = self.asking.acquire().await else {
            return Err(Status::unavailable("the hub is ending").retry_after(1));
        };
        let (next, found) = self.next(joins);
        if next != Step::Ask {
            let message = "another request of this installation came first";
            return Err(Status::unavailable(message).retry_after(1));
        }
        if self.waiting(joins) >= WAITING_MAX {
            let message = format!(
                "{WAITING_MAX} installations of agent {} wait for approval already",
                joins.token.agent
            );
            return Ok(Answer::Refused(429, "TooManyWaiting", message));
        }
        let what = format!("relay.agent.ask {} from {}", joins.instance, joins.from);
        self.record_agent(joins, &what).await?;
        let value = self.new_request(joins)?;
        let key = self.agents.request_key(joins.cluster(), &joins.name());
        let expect = found.map_or(Expect::Absent, |(old, _)| Expect::Revision(old.revision));
        let lease = self.lease(WAITS_FOR + TOLD_FOR).await?;
        let put = Put { lease: Some(lease), ..encoded(key.clone(), &value)? };
        if let Some(refused) = self.burn(joins, Some((Compare { key, expect }, put))).await? {
            return Ok(refused);
        }
        tracing::info!(
            agent = joins.token.agent,
            cluster = %joins.cluster(),
            instance = %joins.instance,
            "an installation waits for approval"
        );
        Ok(Answer::Waiting(joins.name(), crate::approval::AGAIN_MIN))
    }

    fn waiting(&self, joins: &Joins<'_>) -> usize {
        let now = self.clock.now();
        let snapshot = self.agents.system.registry.store().snapshot(&self.agents.requests);
        let scope = Scope::Cluster(joins.cluster().clone());
        let own = snapshot.iter(&scope).filter(|(_, _, object)| {
            let asked = Asked::of(object);
            asked.agent == joins.token.agent && asked.stand(now) == Stand::Waiting
        });
        own.count()
    }

    fn new_request(&self, joins: &Joins<'_>) -> Result<Value, Status> {
        let registry = &self.agents.system.registry;
        let expires = self.clock.now().saturating_add(WAITS_FOR);
        let expires = expires.map_err(|_| Status::internal("the clock is out of range"))?;
        let mut value = object! {
            "apiVersion": "relay.strait.dev/v1alpha1",
            "kind": "CertificateRequest",
            "metadata": object! {
                "name": joins.name(),
                "uid": registry.new_uid().to_string(),
                "generation": 1,
                "creationTimestamp": registry.timestamp(),
            },
            "spec": object! {
                "agent": joins.token.agent.as_str(),
                "agentUID": joins.agent.header.uid.to_string(),
                "instance": joins.instance.as_str(),
                "key": joins.key(),
                "host": clipped(&joins.request.host),
                "version": clipped(&joins.request.version),
                "address": joins.from.to_string(),
                "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            },
            "status": Value::object(),
        };
        value.set(&["metadata", "annotations", CLUSTER], joins.cluster().as_str());
        Ok(value)
    }

    /// Takes a person's word for a request: `{type: Approved | Denied, message, key}`. Where `key` is
    /// there it is the one that the person saw, and another one is not decided. It changes that
    /// request and nothing else; a certificate is made when whoever asked comes again.
    ///
    /// # Errors
    /// There is no such request, it was decided or has lapsed, an agent decides, or it cannot be
    /// written.
    pub(super) async fn decide(
        &self,
        admission: &Admission<'_>,
        name: &str,
        body: &Value,
    ) -> Result<Value, Status> {
        let resource = GroupResource::new("relay.strait.dev", "certificaterequests");
        if strait_workspaces::agents::identity(admission.user).is_some() {
            let why = "an agent does not decide who joins";
            return Err(Status::forbidden(&resource, name, why));
        }
        let Some(decision @ ("Approved" | "Denied")) = body.str_at(&["type"]) else {
            return Err(Status::bad_request("type: must be Approved or Denied"));
        };
        let message = clipped(body.str_at(&["message"]).unwrap_or_default());
        let key = self.agents.request_key(admission.cluster, name);
        let mut recorded = false;
        for _ in 0..ATTEMPTS {
            let stored = self.agents.system.tenancy.find(&key).filter(|old| !old.header.deleting);
            let stored = stored.ok_or_else(|| Status::not_found(&resource, name))?;
            if body.str_at(&["key"]).is_some_and(|key| key != Asked::of(&stored).key) {
                let why = "another key asks under this name now; compare it with the agent's log";
                return Err(Status::conflict(&resource, name, why));
            }
            if let Some(said) = self.decided(admission.cluster, (name, &stored), decision)? {
                return Ok(said);
            }
            if !recorded {
                let what = match decision {
                    "Approved" => "relay.agent.approve",
                    _ => "relay.agent.deny",
                };
                let object = (admission.cluster, "certificaterequests", name);
                audited::append(&self.audit, admission.user, object, "", what.into()).await?;
                recorded = true;
            }
            let mut value = stored.to_value();
            let now = self.agents.system.registry.timestamp();
            set_condition(&mut value, decision, ("True", "Decided", &message), &now);
            value.set(&["status", "decidedBy"], &*admission.user.name);
            if let Some(object) = self.replace(&key, &stored, &value).await? {
                tracing::info!(
                    request = name,
                    cluster = %admission.cluster,
                    user = &*admission.user.name,
                    decision,
                    "a request to join was decided"
                );
                return Ok(object.to_value());
            }
        }
        Err(Status::unavailable("the request is being changed by too many at once").retry_after(1))
    }

    /// The object if it says already what is to be said; nothing if that can still be said.
    fn decided(
        &self,
        cluster: &ClusterName,
        (name, stored): (&str, &Object),
        decision: &str,
    ) -> Result<Option<Value>, Status> {
        let asked = Asked::of(stored);
        let agent = self.agents.find(cluster, &asked.agent);
        let resource = GroupResource::new("relay.strait.dev", "certificaterequests");
        let refused = |why| Err(Status::conflict(&resource, name, why));
        match (asked.stand(self.clock.now()), decision) {
            (Stand::Approved, "Approved") | (Stand::Denied, "Denied") => {
                Ok(Some(stored.to_value()))
            }
            (Stand::Approved, _) => refused("it was approved already"),
            (Stand::Denied, _) => refused("it was denied already"),
            (Stand::Lapsed, _) => refused("it waited too long and can be decided no more"),
            (Stand::Waiting, _) => match agent {
                Some(agent)
                    if !agent.header.deleting
                        && agent.header.uid.to_string() == asked.agent_uid =>
                {
                    Ok(None)
                }
                _ => refused("its agent does not exist any more"),
            },
        }
    }

    /// Replaces a request that is as it was seen; what was decided is told for a while.
    async fn replace(
        &self,
        key: &Key,
        old: &Object,
        value: &Value,
    ) -> Result<Option<Arc<Object>>, Status> {
        let lease = self.lease(TOLD_FOR).await?;
        let put = Put { lease: Some(lease), ..encoded(key.clone(), value)? };
        let same = Compare { key: key.clone(), expect: Expect::Revision(old.revision) };
        let txn = Txn { compares: vec![same], puts: vec![put], deletes: Vec::new() };
        match self.agents.system.registry.store().commit(&key.cluster, txn).await {
            Ok(committed) => Ok(committed.objects.into_iter().next()),
            Err(CommitError::Refused(_)) => Ok(None),
            Err(error) => Err(unwritten(&error)),
        }
    }

    /// What whoever asks is told of a request that is not to be signed.
    pub(super) fn told(&self, step: Step, joins: &Joins<'_>, asked: Option<&Asked>) -> Answer {
        let refused = |reason, message: &str| Answer::Refused(403, reason, message.to_owned());
        match step {
            Step::Wait => {
                let wait = asked.map(|asked| asked.retry_after(self.clock.now()));
                Answer::Waiting(joins.name(), wait.unwrap_or(crate::approval::AGAIN_MIN))
            }
            Step::Denied => {
                refused("JoinDenied", "a person denied it; to ask again, a new token is needed")
            }
            Step::Lapsed => refused(
                "JoinRequestExpired",
                "nobody approved it in time; to ask again, a new token is needed",
            ),
            Step::OtherKey => Answer::Refused(
                409,
                "JoinRequestExists",
                "another key asked for approval under this installation's name".to_owned(),
            ),
            _ => refused(
                "JoinRequestGone",
                "the request for approval was taken away; to ask again, a new token is needed",
            ),
        }
    }
}

/// What a token knows of a key, by its records of use.
pub(super) fn claim_of(used: &[Value], plain: &str) -> Claim {
    let has = |text: &str| used.iter().any(|own| own.as_str() == Some(text));
    if has(&format!("{plain}{ASKED}")) {
        Claim::Asked
    } else if has(plain) {
        Claim::Joined
    } else {
        Claim::None
    }
}
