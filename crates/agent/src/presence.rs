//! Saying that the agent is there.

use std::sync::Arc;
use std::time::Duration;

use strait_machinery::object;
use strait_reconcile::{Api, ApiError};
use strait_relay::agent::Facts;
use strait_runtime::{Clock, Context};
use strait_types::Report;
use tokio::sync::watch;

use crate::member::Member;

/// How often. A hub takes an agent for lost after 30 s of silence.
const EVERY: Duration = Duration::from_secs(10);

/// Waits after a report that did not arrive.
const AGAIN: Duration = Duration::from_secs(1);

/// A connection that has brought no report through for this long is not one.
const FRESH: Duration = Duration::from_secs(30);

/// Largest answer, bytes.
const ANSWER_MAX: usize = 64 << 10;

/// When the hub last took a report.
#[derive(Clone)]
pub(crate) struct Presence {
    seen: Arc<Seen>,
    clock: Arc<dyn Clock>,
}

/// The clock's reading at the last report; none before the first.
type Seen = watch::Sender<Option<Duration>>;

/// Whether the agent takes new work.
#[derive(Clone, Copy, Debug)]
enum State {
    Ready,
    Draining,
}

impl Presence {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { seen: Arc::new(watch::channel(None).0), clock }
    }

    /// Ends when the hub has taken the first report.
    pub(crate) fn first(&self) -> impl Future<Output = ()> + use<> {
        let mut seen = self.seen.subscribe();
        async move {
            // The sender lives as long as this agent reports.
            drop(seen.wait_for(Option::is_some).await);
        }
    }

    /// Whether the hub took a report lately.
    pub(crate) fn is_connected(&self) -> bool {
        let now = self.clock.monotonic();
        self.seen.borrow().is_some_and(|at| now.saturating_sub(at) < FRESH)
    }

    /// Reports until the shutdown; the last report says that the agent drains.
    pub(crate) async fn keep_up(self, api: Api, member: Member, facts: Facts, context: Context) {
        let mut failing = false;
        loop {
            let reported = self.report(&api, &member, &facts, State::Ready).await;
            let wait = match reported {
                Ok(()) if failing => {
                    tracing::info!("connected to the hub again");
                    failing = false;
                    EVERY
                }
                Ok(()) => EVERY,
                Err(error) => {
                    // Once: what follows says the same.
                    if !failing {
                        tracing::warn!(err = %Report(&error), "the hub does not take reports");
                    }
                    failing = true;
                    AGAIN
                }
            };
            tokio::select! {
                () = context.shutdown.asked() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        // Best effort: a hub that is not told finds out by silence.
        drop(self.report(&api, &member, &facts, State::Draining).await);
    }

    async fn report(
        &self,
        api: &Api,
        member: &Member,
        facts: &Facts,
        state: State,
    ) -> Result<(), ApiError> {
        let membership = member.now();
        let path = format!(
            "/clusters/{}/apis/relay.strait.dev/v1alpha1/agents/{}/heartbeat",
            membership.cluster, membership.agent
        );
        let report = object! {
            "instance": facts.instance.as_str(),
            "version": facts.version.as_str(),
            "host": facts.host.as_str(),
            "state": match state { State::Ready => "Ready", State::Draining => "Draining" },
        };
        api.create(&path, &report, ANSWER_MAX).await?;
        self.seen.send_replace(Some(self.clock.monotonic()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use strait_runtime::ManualClock;

    use super::*;

    #[test]
    fn silence_ends_a_connection() {
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let presence = Presence::new(clock.clone());
        assert!(!presence.is_connected());
        presence.seen.send_replace(Some(clock.monotonic()));
        assert!(presence.is_connected());
        clock.advance(FRESH);
        assert!(!presence.is_connected());
    }
}
