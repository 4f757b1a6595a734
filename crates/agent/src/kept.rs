//! What an agent is, kept for its next life: in its data directory, or in a Secret beside its pod.
//!
//! What has to outlive a crash is written before it is used: the key before it joins, the membership
//! before it connects. A Secret that cannot be read or written is tried again, and said; nothing goes on
//! without it. The journal and the audit log stay in the data directory, under its own id.

mod cluster;
mod entry;
mod secret;

use std::path::{Path, PathBuf};
use std::time::Duration;

use strait_pki::PrivateKey;
use strait_relay::agent::Membership;
use strait_runtime::{Backoff, Context, fs};
use strait_types::{InstanceId, Report};

use crate::AgentError;
use crate::directory::Directory;
use secret::Secret;

pub use cluster::KeptError;

/// Waits between attempts at a Secret.
const FIRST: Duration = Duration::from_millis(250);
const LIMIT: Duration = Duration::from_secs(30);

/// A key file is small.
const KEY_MAX: usize = 64 << 10;

/// A Secret that an agent keeps its state in, and how it is reached from a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The Secret's name, in the pod's own namespace. It has to be there.
    pub secret: String,
    /// URL of the API server.
    pub server: String,
    /// Directory with `token` and `ca.crt` of the pod's service account; read for each call.
    pub account: PathBuf,
}

/// Where an agent keeps what it is.
#[derive(Debug)]
pub(crate) enum Kept {
    /// In files.
    Files {
        /// The installation's id.
        instance: InstanceId,
        /// Hub, certificate and key.
        membership: PathBuf,
        /// Key of a join that was not answered yet.
        key: PathBuf,
    },
    /// In a Secret.
    Secret(Box<Secret>),
}

impl Kept {
    /// What there is, this agent's own from now on; `None` if the agent is to end first.
    pub(crate) async fn open(
        directory: &Directory,
        state: Option<State>,
        context: &Context,
    ) -> Result<Option<Self>, AgentError> {
        let Some(state) = state else {
            let instance = directory.id().clone();
            let [membership, key] =
                ["membership.json", "join.key"].map(|name| directory.join(name));
            return Ok(Some(Self::Files { instance, membership, key }));
        };
        let fresh = directory.id();
        let open = || async { Ok(Secret::open(state.clone(), fresh, context).await?) };
        let opened = insist(context, open).await?;
        Ok(opened.map(|secret| Self::Secret(secret.into())))
    }

    /// The installation's id.
    pub(crate) fn instance(&self) -> InstanceId {
        match self {
            Self::Files { instance, .. } => instance.clone(),
            Self::Secret(secret) => secret.entry().instance,
        }
    }

    /// The membership, if it joined before.
    pub(crate) fn membership(&self) -> Result<Option<Membership>, AgentError> {
        match self {
            Self::Files { membership, .. } => Ok(Membership::load(membership)?),
            Self::Secret(secret) => Ok(secret.entry().membership),
        }
    }

    /// The key to join with. It is kept before it is sent: after a crash the hub knows it again, and
    /// the token's one use is not lost. `None` if the agent is to end first.
    pub(crate) async fn join_key(
        &self,
        context: &Context,
    ) -> Result<Option<PrivateKey>, AgentError> {
        match self {
            Self::Files { key, .. } => join_key(key).map(Some),
            Self::Secret(secret) => {
                insist(context, || async { Ok(secret.join_key().await?) }).await
            }
        }
    }

    /// Keeps a membership, in the place of the key to join with.
    pub(crate) async fn save(&self, now: &Membership) -> Result<(), AgentError> {
        match self {
            Self::Files { membership, key, .. } => {
                now.save(membership)?;
                // The membership has it now; left behind it is a key that nothing uses.
                drop(std::fs::remove_file(key));
                Ok(())
            }
            Self::Secret(secret) => Ok(secret.save(now).await?),
        }
    }

    /// The same, until it succeeds or cannot; `None` if the agent is to end first.
    pub(crate) async fn insist_on(
        &self,
        now: &Membership,
        context: &Context,
    ) -> Result<Option<()>, AgentError> {
        insist(context, || self.save(now)).await
    }
}

/// Tries until it succeeds or cannot; `None` if the agent is to end first.
async fn insist<T, F>(context: &Context, attempt: impl Fn() -> F) -> Result<Option<T>, AgentError>
where
    F: Future<Output = Result<T, AgentError>>,
{
    let mut backoff = Backoff::new(FIRST, LIMIT, context.entropy.clone());
    loop {
        let error = tokio::select! {
            () = context.shutdown.asked() => return Ok(None),
            result = attempt() => match result {
                Ok(done) => return Ok(Some(done)),
                Err(AgentError::Kept(error)) if error.may_pass() => error,
                Err(error) => return Err(error),
            },
        };
        let wait = backoff.next().unwrap_or(LIMIT);
        let wait_s = wait.as_secs_f32();
        tracing::warn!(err = %Report(&error), wait_s, "the state cannot be kept in its Secret yet");
        tokio::select! {
            () = context.shutdown.asked() => return Ok(None),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The key of a file, which is made if it is not there.
fn join_key(path: &Path) -> Result<PrivateKey, AgentError> {
    match fs::read_capped(path, KEY_MAX) {
        Ok(text) => return Ok(PrivateKey::from_pem(&String::from_utf8_lossy(&text))?),
        Err(error) if error.io().kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let key = PrivateKey::generate()?;
    fs::write_atomic(path, key.to_pem()?.expose().as_bytes(), 0o600)?;
    Ok(key)
}
