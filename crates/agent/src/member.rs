//! Becoming a member of a hub, and staying one.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use strait_pki::PkiError;
use strait_relay::agent::{Facts, FrontDoor, JoinError, Membership};
use strait_relay::dial::{Way, Ways};
use strait_relay::services::HubConfig;
use strait_relay::token::JoinToken;
use strait_runtime::{Backoff, Context};
use strait_types::Report;
use tokio::sync::Notify;

use crate::AgentError;
use crate::kept::{Kept, KeptError};

/// Waits between attempts to join.
const JOIN_FIRST: Duration = Duration::from_millis(250);
const JOIN_LIMIT: Duration = Duration::from_secs(30);

/// Waits between attempts to renew: two thirds of its life are over, there is time.
const RENEW_FIRST: Duration = Duration::from_secs(60);
const RENEW_LIMIT: Duration = Duration::from_secs(3600);

/// How often the certificate's age is looked at: a machine that slept must not wait out the rest.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The membership as it is now; it is replaced as a whole when the certificate is renewed.
#[derive(Clone)]
pub(crate) struct Member {
    current: Arc<ArcSwap<Membership>>,
    front_door: FrontDoor,
    ways: Ways,
    /// What the configuration says of the way to the hub.
    hub: Arc<ArcSwap<HubConfig>>,
    kept: Arc<Kept>,
    context: Context,
    /// The hub asks for a renewal.
    asked: Arc<Notify>,
}

impl Member {
    /// The membership that is kept, or a new one by the token. Tries until the hub
    /// answers; `None` if the agent is to end first.
    pub(crate) async fn join(
        kept: Kept,
        token: Option<&Result<JoinToken, String>>,
        front_door: FrontDoor,
        (ways, hub): (Ways, HubConfig),
        facts: &Facts,
        context: &Context,
    ) -> Result<Option<Self>, AgentError> {
        let known = match kept.membership()? {
            Some(known) if known.not_after < context.clock.now() => {
                // It may still be renewed for some days.
                let attempt = || front_door.renew(&known, (&ways, &hub));
                match until_final(context, "renew", attempt, |_| {}).await {
                    Ok(Some(renewed)) => {
                        if kept.insist_on(&renewed, context).await?.is_none() {
                            return Ok(None);
                        }
                        Some(renewed)
                    }
                    Ok(None) => return Ok(None),
                    Err(error) if token.is_some_and(Result::is_ok) => {
                        tracing::warn!(err = %Report(&error), "the membership has ended, joining again");
                        None
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            known => known,
        };
        let membership = match (known, token) {
            (Some(known), _) => known,
            (None, Some(Err(mistake))) => return Err(AgentError::Config(mistake.clone())),
            (None, Some(Ok(token))) => {
                let Some(key) = kept.join_key(context).await? else { return Ok(None) };
                let attempt = || front_door.join(token, &key, facts, (&ways, &hub));
                let waits = |request: &str| {
                    let command = format!("strait agent approve {}", request.replacen('.', "/", 1));
                    let key = key.spki_sha256();
                    tracing::info!(request, %key, command, "waits for a person's approval");
                };
                let Some(joined) = until_final(context, "join", attempt, waits).await? else {
                    return Ok(None);
                };
                if kept.insist_on(&joined, context).await?.is_none() {
                    return Ok(None);
                }
                tracing::info!(agent = joined.agent, hub = %joined.hub, workspace = joined.workspace, "joined");
                joined
            }
            (None, None) => {
                let message = "--token-file: needed to join a hub; make a token with `strait agent token create NAME`";
                return Err(AgentError::Config(message.into()));
            }
        };
        let current = Arc::new(ArcSwap::from_pointee(membership));
        let (asked, hub) = (Arc::default(), Arc::new(ArcSwap::from_pointee(hub)));
        let (kept, context) = (Arc::new(kept), context.clone());
        Ok(Some(Self { current, front_door, ways, hub, kept, context, asked }))
    }

    /// The membership.
    pub(crate) fn now(&self) -> Arc<Membership> {
        self.current.load_full()
    }

    /// How the hub is reached, which has these addresses if nothing says otherwise.
    pub(crate) fn way(&self, known: &[String]) -> Way {
        self.front_door.way(&self.hub.load(), known)
    }

    /// Goes by what a configuration says of the way from now on.
    pub(crate) fn go_by(&self, hub: HubConfig) {
        self.hub.store(Arc::new(hub));
    }

    /// What connections to the hub are made with.
    pub(crate) const fn ways(&self) -> &Ways {
        &self.ways
    }

    /// Connections by a membership, for one protocol.
    pub(crate) fn tls(
        &self,
        membership: &Membership,
        protocol: &[u8],
    ) -> Result<Arc<ClientConfig>, PkiError> {
        self.front_door.tls(membership, protocol, &self.ways)
    }

    /// Renews the certificate as soon as may be.
    pub(crate) fn ask_to_renew(&self) {
        self.asked.notify_one();
    }

    /// The address that this agent was told to reach the hub at, `host:port`.
    pub(crate) fn told_address(&self) -> Option<&str> {
        self.front_door.address.as_deref()
    }

    /// Renews the certificate at two thirds of its life and when the hub asks for it, until the
    /// shutdown; at most once a minute.
    pub(crate) async fn stay(self) {
        let clock = &self.context.clock;
        let new_backoff = || Backoff::new(RENEW_FIRST, RENEW_LIMIT, self.context.entropy.clone());
        let mut backoff = new_backoff();
        let mut retry_at = Duration::ZERO;
        let mut asked = false;
        loop {
            let due = Duration::try_from(self.now().renew_at.duration_since(clock.now()));
            let due = due.ok().filter(|_| !asked).unwrap_or_default();
            let due = due.max(retry_at.saturating_sub(clock.monotonic()));
            if !due.is_zero() {
                tokio::select! {
                    () = self.context.shutdown.asked() => return,
                    () = tokio::time::sleep(due.min(LOOK_EVERY)) => {}
                    () = self.asked.notified() => asked = true,
                }
            } else if let Err(error) = self.renew().await {
                if let AgentError::Kept(lost @ KeptError::Lost(_)) = &error {
                    tracing::error!(err = %Report(lost), "this agent ends: another is in its place");
                    return self.context.shutdown.ask();
                }
                let left = self.now().not_after.duration_since(clock.now());
                tracing::warn!(err = %Report(&error), ends_in_s = left.as_secs(), "the certificate cannot be renewed yet");
                retry_at = clock.monotonic() + backoff.next().unwrap_or(RENEW_LIMIT);
            } else {
                asked = false;
                retry_at = clock.monotonic() + RENEW_FIRST;
                backoff = new_backoff();
            }
        }
    }

    async fn renew(&self) -> Result<(), AgentError> {
        let by = (&self.ways, &**self.hub.load());
        let renewed = self.front_door.renew(&self.now(), by).await?;
        // Kept first: the old certificate stays good meanwhile.
        self.kept.save(&renewed).await?;
        tracing::info!(not_after = %renewed.not_after, "certificate renewed");
        self.current.store(Arc::new(renewed));
        Ok(())
    }
}

/// Tries until it succeeds or cannot; `None` if the agent is to end first. `waits` is called once,
/// if a person has to approve it, with the request's name.
async fn until_final<F>(
    context: &Context,
    what: &'static str,
    attempt: impl Fn() -> F,
    waits: impl Fn(&str),
) -> Result<Option<Membership>, JoinError>
where
    F: Future<Output = Result<Membership, JoinError>>,
{
    let mut backoff = Backoff::new(JOIN_FIRST, JOIN_LIMIT, context.entropy.clone());
    let mut is_told = false;
    loop {
        let error = tokio::select! {
            () = context.shutdown.asked() => return Ok(None),
            result = attempt() => match result {
                Ok(membership) => return Ok(Some(membership)),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => error,
            },
        };
        let wait = if let JoinError::Waiting { request, retry_after } = &error {
            // Once: what follows says the same.
            if !std::mem::replace(&mut is_told, true) {
                waits(request);
            }
            backoff.reset();
            Backoff::new(*retry_after, *retry_after, context.entropy.clone()).next()
        } else {
            let wait = backoff.next();
            let wait_s = wait.unwrap_or(JOIN_LIMIT).as_secs_f32();
            tracing::warn!(err = %Report(&error), wait_s, "cannot {what} yet");
            wait
        };
        let wait = wait.unwrap_or(JOIN_LIMIT);
        tokio::select! {
            () = context.shutdown.asked() => return Ok(None),
            () = tokio::time::sleep(wait) => {}
        }
    }
}
