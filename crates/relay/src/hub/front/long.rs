//! Streams that live long are decided again: whoever may not any more, has them no more.
//!
//! One task looks once a second. A stream that is over before it looks costs it nothing. What is
//! asked is what is asked of a request: the credential, RBAC, the service, the agent. No stream
//! outlives its credential.

use std::sync::Arc;
use std::time::Duration;

use strait_runtime::Shutdown;

use super::Front;
use crate::message::{Failure, ServiceName};
use crate::record::Denial;

/// How often it is looked which streams are due.
const LOOK: Duration = Duration::from_secs(1);

/// Streams that are decided between two looks at other work.
const AT_ONCE: usize = 64;

impl Front {
    /// Decides streams again until `stop`.
    pub async fn watch_streams(self: Arc<Self>, stop: Shutdown) {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.asked() => return,
                _ = ticks.tick() => self.decide_due(self.context.clock.monotonic()).await,
            }
        }
    }

    /// Decides the streams that are due at `now` of the monotonic clock.
    pub async fn decide_due(&self, now: Duration) {
        loop {
            let due = self.live.due(now, AT_ONCE);
            let is_last = due.len() < AT_ONCE;
            for (id, open) in due {
                let name = ServiceName {
                    agent: open.recorded.subjects.agent.to_string(),
                    service: open.recorded.subjects.service.to_string(),
                };
                let is_over = open.caller.ends.is_some_and(|ends| ends <= now);
                let failure = match is_over {
                    true => Some(Failure::CredentialExpired {
                        id: open.recorded.subjects.credential.to_string(),
                        ago: Duration::ZERO,
                        life: Duration::ZERO,
                    }),
                    false => self.decide_again(&open.caller, &name),
                };
                self.live.decided(id, now);
                if let Some(failure) = failure {
                    self.recorder.denies(&open.recorded, Denial::of(failure.reason()));
                    open.cut(now, failure, "not allowed any more");
                }
            }
            if is_last {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}
