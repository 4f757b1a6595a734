//! A service's credential as its files hold it now.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strait_runtime::Clock;

use crate::services::{Credential, Credentials, Disk};

/// How old what was read may be. Reading beats looking at times: a swapped symlink, a file of
/// the same size and second, everything is noticed.
const FRESH: Duration = Duration::from_secs(1);

/// A credential that follows its files.
pub(super) struct Current {
    service: String,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    state: Mutex<Option<Known>>,
    /// One reads, the others go on with what is there.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Known {
    credential: Arc<Credential>,
    at: Duration,
}

impl Current {
    pub(super) fn new(service: &str, credentials: &Credentials, clock: Arc<dyn Clock>) -> Self {
        // A certificate belongs to connections, not to requests.
        let credentials = match credentials {
            Credentials::ClientCertificate { .. } => Credentials::None,
            other => other.clone(),
        };
        let service = service.to_owned();
        Self { service, credentials, clock, state: Mutex::default(), reading: Default::default() }
    }

    /// The credential; none where it was never readable.
    pub(super) async fn read(&self) -> Option<Arc<Credential>> {
        if self.credentials == Credentials::None {
            return Some(Arc::new(Credential::None));
        }
        let known = self.known();
        if let Some((credential, true)) = known {
            return Some(credential);
        }
        let _reading = match (known, self.reading.try_lock()) {
            (_, Ok(reading)) => reading,
            (Some((stale, _)), Err(_)) => return Some(stale),
            (None, Err(_)) => self.reading.lock().await,
        };
        if let Some((credential, true)) = self.known() {
            return Some(credential);
        }
        let credentials = self.credentials.clone();
        let load = move || Credential::load(&credentials, &Disk);
        let loaded = tokio::task::spawn_blocking(load).await.ok()?;
        let at = self.clock.monotonic();
        let mut state = self.state.lock();
        match (loaded, &mut *state) {
            (Ok(fresh), Some(known)) if fresh.is_same(&known.credential) => known.at = at,
            (Ok(fresh), before) => {
                if before.is_some() {
                    tracing::info!(service = self.service, "a credential was changed");
                }
                *before = Some(Known { credential: Arc::new(fresh), at });
            }
            (Err(error), before) => {
                let err = &error as &dyn std::error::Error;
                tracing::warn!(service = self.service, err, "a credential cannot be read");
                if let Some(known) = before {
                    known.at = at;
                }
            }
        }
        state.as_ref().map(|known| known.credential.clone())
    }

    /// What is known, and whether it need not be looked at again.
    fn known(&self) -> Option<(Arc<Credential>, bool)> {
        let known = self.state.lock().clone()?;
        let fresh = self.clock.monotonic().saturating_sub(known.at) < FRESH;
        Some((known.credential, fresh))
    }
}
