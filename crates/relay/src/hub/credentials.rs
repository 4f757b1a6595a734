//! Credentials for services: made for people, checked at every request, revoked.

mod make;
mod revoke;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_apiserver::registry::Registry;
use strait_audit::AuditLog;
use strait_auth::User;
use strait_machinery::status::Status;
use strait_runtime::Shutdown;
use strait_store::{Scope, Watch};
use strait_types::{ClusterName, HubId, Uid};

use super::audited;
use super::keys::TokenKeys;
use super::revocations::{OnRevocation, Revocations};
use super::verified::Verified;
use crate::credential::{Asked, Claims, Rejected, Subjects};
use crate::message::Failure;

/// Makes, checks and revokes what clients show to reach services.
pub struct Credentials {
    registry: Registry,
    audit: AuditLog,
    /// The longest life of a token.
    life_max: Duration,
    keys: TokenKeys,
    revocations: Revocations,
    verified: Verified<Token>,
}

/// What a token says, prepared for use.
struct Token {
    claims: Claims,
    agent: Uid,
    cluster: ClusterName,
    user: Arc<User>,
    subjects: Arc<Subjects>,
}

/// Who makes a request, as a token says.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The person, with the groups that they had when the token was made.
    pub user: Arc<User>,
    /// The logical cluster that the token leads to.
    pub cluster: ClusterName,
    /// What a revocation could be about. Uses of one token share it.
    pub subjects: Arc<Subjects>,
    /// The type of service that the token is for, if it is for no other.
    pub service_type: Option<String>,
    /// The agent that it is for, however others are called.
    pub agent: Uid,
    /// The token's identifier.
    pub id: Arc<str>,
    /// From when on it is nothing.
    pub expires: Timestamp,
}

impl Credentials {
    /// Reads what is stored. No token made by it lives longer than `life_max`.
    #[must_use]
    pub fn new(registry: Registry, audit: AuditLog, hub: &HubId, life_max: Duration) -> Self {
        let keys = TokenKeys::open(registry.clone(), hub.as_str());
        let revocations = Revocations::open(registry.clone());
        Self { registry, audit, life_max, keys, revocations, verified: Verified::new() }
    }

    /// Has `on_revocation` called with each revocation from now on, at least once, soon after it
    /// was made. It must not block.
    pub fn on_revocation(&self, on_revocation: OnRevocation) {
        self.revocations.tell(on_revocation);
    }

    /// Follows what is stored until `stop`.
    pub async fn follow(self: Arc<Self>, stop: Shutdown) {
        tokio::select! {
            () = stop.asked() => {}
            () = self.follow_keys() => {}
            () = self.follow_revocations() => {}
        }
    }

    /// Who makes a request by this token, if it is good for what is asked.
    ///
    /// # Errors
    /// One of the failures about credentials.
    pub fn check(
        &self,
        token: Option<&str>,
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<Caller, Failure> {
        let text = token.ok_or(Failure::CredentialMissing)?;
        let token = self.verified.of(text, || self.verify(text, now))?;
        let claims = &token.claims;
        let expires = claims.expires();
        if expires <= now {
            let ago = Duration::try_from(now.duration_since(expires)).unwrap_or_default();
            let (id, life) = (claims.jti.clone(), claims.life());
            return Err(Failure::CredentialExpired { id, ago, life });
        }
        if let Some(failure) = self.revoked(&token.subjects, || now) {
            return Err(failure);
        }
        claims.check(asked).map_err(Failure::CredentialScope)?;
        Ok(Caller {
            user: token.user.clone(),
            cluster: token.cluster.clone(),
            subjects: token.subjects.clone(),
            service_type: claims.service_type.clone(),
            agent: token.agent,
            id: token.subjects.credential.clone(),
            expires,
        })
    }

    /// Whose a token is that was once good, whatever it is worth now.
    pub(super) fn whose(&self, token: &str) -> Option<(Arc<User>, ClusterName, Arc<Subjects>)> {
        let token = self.verified.of(token, || Err(Failure::CredentialInvalid)).ok()?;
        Some((token.user.clone(), token.cluster.clone(), token.subjects.clone()))
    }

    /// Why a use of any credential, a certificate too, is over, if it is.
    #[must_use]
    pub fn revoked(&self, subjects: &Subjects, now: impl FnOnce() -> Timestamp) -> Option<Failure> {
        let revocation = self.revocations.find(subjects)?;
        let ago = Duration::try_from(now().duration_since(revocation.at)).unwrap_or_default();
        Some(Failure::CredentialRevoked { ago, by: Some(revocation.by.to_string()) })
    }

    fn verify(&self, text: &str, now: Timestamp) -> Result<Token, Failure> {
        let known = self.keys.known().ok_or(Failure::CredentialInvalid)?;
        let (claims, key) = known.ring.verify(text, now).map_err(|rejected| match rejected {
            Rejected::Expired { id, ago, life } => Failure::CredentialExpired { id, ago, life },
            Rejected::Invalid | Rejected::Early { .. } => Failure::CredentialInvalid,
        })?;
        let cluster = ClusterName::new(&claims.cluster).map_err(|_| Failure::CredentialInvalid)?;
        let agent = claims.agent_uid.parse().map_err(|_| Failure::CredentialInvalid)?;
        let groups: Vec<&str> = claims.groups.iter().map(String::as_str).collect();
        let mut user = User::authenticated(&claims.sub, &groups);
        let id = vec![format!("JTI={}", claims.jti)];
        user.extra =
            BTreeMap::from([("authentication.kubernetes.io/credential-id".to_owned(), id)]);
        let subjects = Arc::new(subjects(&claims, key));
        Ok(Token { claims, agent, cluster, user: Arc::new(user), subjects })
    }

    async fn record(
        &self,
        user: &User,
        (cluster, resource, name): (&ClusterName, &str, Option<&str>),
        id: &str,
        what: String,
    ) -> Result<(), Status> {
        let object = (cluster, resource, name.unwrap_or_default());
        audited::append(&self.audit, user, object, id, what).await
    }

    async fn follow_keys(&self) {
        let store = self.registry.store();
        loop {
            let snapshot = store.snapshot(self.keys.resource());
            self.keys.refresh();
            self.verified.clear();
            let watch = store.watch(self.keys.resource(), Scope::All, snapshot.revision());
            let Ok(mut watch) = watch else { continue };
            while watch.next().await.is_ok() {
                self.keys.refresh();
                self.verified.clear();
            }
            tracing::warn!("the keys of tokens are read again");
        }
    }

    async fn follow_revocations(&self) {
        let store = self.registry.store();
        loop {
            let snapshot = store.snapshot(self.revocations.resource());
            self.revocations.refresh();
            let watch = store.watch(self.revocations.resource(), Scope::All, snapshot.revision());
            let Ok(watch) = watch else { continue };
            self.note_all(watch).await;
            tracing::warn!("the revocations are read again");
        }
    }

    /// Notes what is added; ends when the watch does.
    async fn note_all(&self, mut watch: Watch) {
        while let Ok(events) = watch.next().await {
            for event in events {
                if let Some(record) = &event.object {
                    self.revocations.note(&event.cluster, record);
                }
            }
        }
    }
}

/// The signing key in a token's identifier.
pub(super) fn key_of(id: &str) -> Option<&str> {
    id.split_once('.').map(|(key, _)| key)
}

fn subjects(claims: &Claims, key: &str) -> Subjects {
    Subjects {
        credential: claims.jti.as_str().into(),
        key: Some(key.into()),
        user: claims.sub.as_str().into(),
        cluster: claims.cluster.as_str().into(),
        agent: claims.agent.as_str().into(),
        service: claims.service.as_str().into(),
        issued: claims.issued(),
    }
}
