//! One backend, as something to send to.

use std::sync::Arc;
use std::time::Duration;

use strait_net::{CallError, EgressPolicy, Pool, PoolOptions};
use strait_runtime::Clock;

use super::attempt::{self, Tried, Unusable};
use super::metrics::BackendMetrics;
use super::{Options, tls};
use crate::config::Backend;
use crate::event::Event;

/// Less than the 30 s after which common servers close a connection.
const REST: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) backend: Backend,
    pub(super) metrics: BackendMetrics,
    pool: Pool,
    clock: Arc<dyn Clock>,
}

impl Outlet {
    pub(super) fn new(
        backend: Backend,
        options: &Options,
        metrics: &super::metrics::DeliveryMetrics,
    ) -> Result<Self, CallError> {
        let url = &backend.url;
        let host = url.authority().map_or("", |authority| authority.as_str());
        let metrics = metrics.of(&backend.name, host.to_owned());
        let own = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let hosts = if backend.allow_private { vec![own] } else { Vec::new() };
        let clock = options.context.clock.clone();
        let pool = PoolOptions {
            tls: Some(tls::source(&backend.tls, clock.clone())),
            policy: EgressPolicy::guarded(backend.networks.clone(), &hosts),
            resolver: options.resolver.clone(),
            clock: clock.clone(),
            rest: REST,
            opened: metrics.opened.clone(),
            reused: metrics.reused.clone(),
        };
        Ok(Self { pool: Pool::new(url, pool)?, backend, metrics, clock })
    }

    /// Makes one attempt.
    pub(super) async fn send(&self, event: &Event) -> Result<Tried, Unusable> {
        let request = attempt::request(event, &self.backend)?;
        let begun = self.clock.monotonic();
        let result = self.pool.send(request, self.backend.timeout).await;
        let took = self.clock.monotonic().saturating_sub(begun);
        let (backend, delivery) = (&*self.backend.name, &*event.delivery);
        match &result {
            Ok(answer) => {
                let status = answer.status.as_u16();
                tracing::debug!(backend, delivery, status, ?took, "a backend answered");
            }
            Err(error) => {
                let err = strait_types::Report(error).to_string();
                tracing::debug!(backend, delivery, err, ?took, "a backend did not answer");
            }
        }
        let tried = attempt::tried(result);
        self.metrics.ended(tried.outcome, took.as_secs_f64());
        Ok(tried)
    }

    /// Closes connections that nobody uses.
    pub(super) fn sweep(&self) {
        self.pool.sweep();
    }
}
