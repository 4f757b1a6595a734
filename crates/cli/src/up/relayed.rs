//! One request of a client outside to the private service, measured.

use std::fmt;
use std::time::Duration;

use strait_machinery::json::Value;
use strait_reconcile::ApiError;
use strait_runtime::Backoff;

use super::{Up, agent, demo, failed, proof};
use crate::client::Workspace;
use crate::example_signer::KEYS_PATH;
use crate::exit::Failure;
use crate::objects::condition;

const SERVICES: &str = "/apis/relay.strait.dev/v1alpha1/services";

/// Longest wait for the agent to offer it.
const LIMIT: Duration = Duration::from_secs(20);

/// Waits between two attempts, while the agent's connections are not there again.
const AGAIN_FIRST: Duration = Duration::from_millis(5);
const AGAIN_LIMIT: Duration = Duration::from_millis(100);

/// An answer of the service's.
#[derive(Debug)]
pub(super) struct Relayed {
    took: Duration,
    /// The public key that it says.
    pub(super) key: String,
}

impl Relayed {
    /// From the request's sending to the answer's arrival, in milliseconds.
    pub(super) const fn total_ms(&self) -> u128 {
        self.took.as_millis()
    }
}

impl fmt::Display for Relayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took_ms = self.took.as_secs_f64() * 1e3;
        write!(f, "relayed: GET {} answered in {took_ms:.1} ms; the same key", path())
    }
}

/// The service's path at the hub, to the key of the proof.
pub(super) fn path() -> String {
    format!("/services/relay/{}/{}{KEYS_PATH}{}", agent::NAME, demo::SERVICE, proof::KEY)
}

/// Asks the service for its key through the hub, once the agent offers it.
pub(super) async fn relay(up: &Up, provider: &Workspace) -> Result<Relayed, Failure> {
    let clock = &up.context.clock;
    let begun = clock.monotonic();
    let name = format!("{}.{}", demo::SERVICE, agent::NAME);
    let offered = |service: &Value| condition(service, "Available").0 == "True";
    let waited = provider.wait(SERVICES, &name, LIMIT, offered).await;
    waited.map_err(|error| failed("the agent's service", &error))?;
    let mut again = Backoff::new(AGAIN_FIRST, AGAIN_LIMIT, up.context.entropy.clone());
    loop {
        let sent = clock.monotonic();
        match provider.get(&path()).await {
            Ok(answer) => {
                let took = clock.monotonic().saturating_sub(sent);
                let key = answer.str_at(&["publicKey"]).unwrap_or_default().to_owned();
                return Ok(Relayed { took, key });
            }
            // The object is there from the last time, and the agent comes.
            Err(error) if is_away(&error) && sent.saturating_sub(begun) < LIMIT => {
                tokio::time::sleep(again.next().unwrap_or(AGAIN_LIMIT)).await;
            }
            Err(error) => return Err(failed("the service behind the agent", &error)),
        }
    }
}

fn is_away(error: &ApiError) -> bool {
    error.code() == Some(503)
}
