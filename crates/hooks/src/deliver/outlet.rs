//! One backend, as something to send to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri};
use strait_net::traced::{FAILS_CLIENT, conclude, traceparent};
use strait_net::{Answer, CallError, EgressPolicy, Pool, PoolOptions};
use strait_runtime::{Clock, Span, SpanKind, Tracer};
use strait_types::TraceContext;

use super::attempt::{self, Tried, Unanswered, Unusable};
use super::carrier::Carrier;
use super::heartbeat::Pulse;
use super::metrics::{BackendMetrics, DeliveryMetrics, class_of};
use super::token::Token;
use super::{DeliverError, Options, tls};
use crate::config::{Address, Backend, Service};
use crate::event::Event;
use crate::schedule::Outcome;

/// Less than the 30 s after which common servers close a connection.
const REST: Duration = Duration::from_secs(20);

pub(super) struct Outlet {
    pub(super) backend: Backend,
    pub(super) metrics: BackendMetrics,
    /// What is known of the way to a service behind an agent.
    pub(super) pulse: Option<Pulse>,
    base: PathAndQuery,
    way: Way,
    clock: Arc<dyn Clock>,
    tracer: Tracer,
}

/// How requests get there.
enum Way {
    /// To a URL.
    Url(Pool),
    /// To an agent of another hub.
    Hub(Pool, Token),
    /// To an agent of the hub around.
    Carrier(Arc<dyn Carrier>, Service),
}

impl Outlet {
    pub(super) fn new(
        backend: Backend,
        options: &Options,
        metrics: &DeliveryMetrics,
    ) -> Result<Self, DeliverError> {
        let clock = options.context.clock.clone();
        let (host, pulse) = match &backend.address {
            Address::Url(url) => {
                (url.authority().map_or("", |host| host.as_str()).to_owned(), None)
            }
            Address::Service(to) => (to.object(), Some(Pulse::default())),
        };
        let metrics = metrics.of(&backend.name, host);
        let pool = |url: &Uri, private: bool| {
            let pool = pool(&backend, url, private, options, &metrics);
            pool.map_err(|source| DeliverError::Backend { name: backend.name.clone(), source })
        };
        let way = match &backend.address {
            Address::Url(url) => Way::Url(pool(url, backend.allow_private)?),
            // A hub that the operator names may be anywhere.
            Address::Service(Service { hub: Some(hub), .. }) => {
                let token = Token::new(hub.clone(), backend.name.clone(), metrics.token());
                Way::Hub(pool(&hub.url, true)?, token)
            }
            Address::Service(to) => {
                let carrier = options.carrier.clone();
                let missing = || DeliverError::NoHub { name: backend.name.clone() };
                Way::Carrier(carrier.ok_or_else(missing)?, to.clone())
            }
        };
        let (base, tracer) = (backend.address.base(), options.context.tracer.clone());
        let outlet = Self { base, way, pulse, backend, metrics, clock, tracer };
        outlet.is_offered_anew();
        Ok(outlet)
    }

    /// Makes one attempt.
    pub(super) async fn send(&self, event: &Event) -> Result<Tried, Unusable> {
        let (backend, time, begun) = (&self.backend, self.backend.timeout, self.clock.monotonic());
        let span = self.begin_span(event);
        let named = span.context().map(|context| HeaderValue::try_from(context.to_string()));
        let named = named.and_then(Result::ok);
        let result = match &self.way {
            Way::Url(pool) => {
                let request = attempt::outgoing(event, backend, &self.base, named.as_ref())?;
                pool.send(request, time).await.map_err(Unanswered::Called)
            }
            Way::Hub(..) | Way::Carrier(..) => {
                let request = attempt::request(event, backend, &self.base, named.as_ref())?;
                Box::pin(self.exchange(request, time)).await
            }
        };
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
        let tried = attempt::tried(result)?;
        self.metrics.ended(tried.outcome, took.as_secs_f64());
        end_span(span, tried.outcome);
        Ok(tried)
    }

    /// A span for an attempt, if the receiving of its event was traced. That may have ended long
    /// ago: it is the parent, for whoever reads the trace, and what the attempt follows from.
    fn begin_span(&self, event: &Event) -> Span {
        let received = || traceparent(&event.headers);
        let mut span = self.tracer.follow("hooks.deliver", SpanKind::Client, received);
        if span.is_kept() {
            TraceContext::parse(received()).into_iter().for_each(|context| span.links(context));
            span.say("http.request.method", "POST");
            span.say("strait.source", event.source.to_string());
            span.say("strait.backend", self.backend.name.to_string());
        }
        span
    }

    /// Makes a request of any kind.
    pub(super) async fn exchange(
        &self,
        mut request: Request<Bytes>,
        time: Duration,
    ) -> Result<Answer, Unanswered> {
        match &self.way {
            Way::Url(pool) => Ok(pool.send(request, time).await?),
            Way::Hub(pool, token) => {
                token.put(&mut request).await?;
                let answer = pool.send(request, time).await?;
                token.saw(&answer);
                Ok(answer)
            }
            Way::Carrier(carrier, to) => {
                let sent = tokio::time::timeout(time, carrier.send(to, request)).await;
                Ok(sent.map_err(|_| Unanswered::TooLate)??)
            }
        }
    }

    /// Whether an agent of the hub around came and offers the service, since this was asked.
    pub(super) fn is_offered_anew(&self) -> bool {
        let (Way::Carrier(carrier, to), Some(pulse)) = (&self.way, &self.pulse) else {
            return false;
        };
        let offered = carrier.offered(to);
        self.metrics.connected(offered.is_some());
        pulse.offered(offered)
    }

    /// A heartbeat came back or not: all that tells of the agents of another hub.
    pub(super) fn heard(&self, came_back: bool) {
        if matches!(self.way, Way::Hub(..)) {
            self.metrics.connected(came_back);
        }
    }

    /// Closes connections that nobody uses.
    pub(super) fn sweep(&self) {
        match &self.way {
            Way::Url(pool) | Way::Hub(pool, _) => drop(pool.sweep()),
            Way::Carrier(..) => {}
        }
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("backend", &self.backend).finish_non_exhaustive()
    }
}

fn end_span(mut span: Span, outcome: Outcome) {
    match outcome {
        Outcome::Status(status) => conclude(&mut span, FAILS_CLIENT, status, ""),
        outcome => conclude(&mut span, FAILS_CLIENT, 0, class_of(outcome)),
    }
}

fn pool(
    backend: &Backend,
    url: &Uri,
    private: bool,
    options: &Options,
    metrics: &BackendMetrics,
) -> Result<Pool, CallError> {
    let own = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let hosts = if private { vec![own] } else { Vec::new() };
    let clock = options.context.clock.clone();
    let pool = PoolOptions {
        tls: Some(tls::source(&backend.tls, clock.clone())),
        policy: EgressPolicy::guarded(backend.networks.clone(), &hosts),
        resolver: options.resolver.clone(),
        clock,
        rest: REST,
        kept: attempt::READ.to_vec(),
        opened: metrics.opened.clone(),
        reused: metrics.reused.clone(),
    };
    Pool::new(url, pool)
}
