//! From a request to its answer.
//!
//! What the head shows is refused before the body is read: path, method, address, content type,
//! length, and what is wrong with a signature by itself. The body is hashed as it comes and takes
//! memory as it comes ([`budget`](crate::budget)). Then it is verified, looked up among those
//! received before, and appended to the log; the sender is answered when it is on disk, and
//! backends are told. With [`Acknowledge::AtOnce`] there is no log: every backend is asked while
//! the sender waits.
//!
//! The address of a sender is the connection's: `X-Forwarded-For` is believed of nobody.
//!
//! | method | path | answer |
//! |---|---|---|
//! | GET | `/livez`, `/readyz` | whether the process lives, and whether its log can be written |
//! | GET | `/`, `/proxy`, `/healthz`, with sprayproxy's sources | `healthy` |
//! | POST | a source's | what became of the webhook |

mod body;
mod keep;
mod metrics;
mod outcome;
mod recent;
mod sources;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, COOKIE, EXPECT, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use strait_net::traced::{FAILS_SERVER, conclude, method_name, name_parent, traceparent};
use strait_net::{Body, Checks, Connection, Handler, Incoming, handler};
use strait_runtime::{Context, Span, SpanKind, random_16};
use strait_types::Uid;

pub use self::keep::Append;
pub use self::sources::Receiving;

use self::body::{Arrived, NotRead};
use self::keep::{Health, Keeper};
use self::metrics::IngestMetrics;
use self::outcome::{Outcome, Rejection, not_found, text};
use self::recent::Recent;
use self::sources::{Served, Sources};
use crate::budget::Budget;
use crate::config::{Answers, Limits};
use crate::dedupe::Identity;
use crate::log::{Log, ReadError};
use crate::sender::{Facts, content_type};
use crate::{Event, Position};

/// How long a sender waits for the log; GitHub gives up after 10 s.
pub const ACK_WAIT: Duration = Duration::from_secs(8);

/// Bytes that are read of a connection before they are hashed.
const READ_BYTES: u32 = 64 << 10;

/// Those to whom webhooks are delivered.
pub trait Deliveries: Send + Sync + 'static {
    /// Whether any backend gets webhooks of a source.
    fn has_backend(&self, source: &str) -> bool;

    /// An event is in the log. Does not block.
    fn offer(&self, position: Position, event: &Arc<Event>);

    /// Tries an event again wherever it is a dead letter; at how many backends.
    fn redrive(&self, position: Position) -> BoxFuture<'static, usize>;

    /// Delivers an event to every backend at once; whether all took it.
    fn at_once(&self, event: &Arc<Event>) -> BoxFuture<'static, bool>;
}

/// When a sender is answered.
#[derive(Clone)]
pub enum Acknowledge {
    /// When its webhook is durable, or after so long.
    Durable(Arc<dyn Append>, Duration),
    /// When every backend has answered.
    AtOnce,
}

/// What receives webhooks. Clones are the same.
#[derive(Clone)]
pub struct Ingest(Arc<Inner>);

struct Inner {
    sources: ArcSwap<Table>,
    keeper: Option<Keeper>,
    recent: Arc<Recent>,
    deliveries: Arc<dyn Deliveries>,
    budget: Budget,
    limits: Limits,
    metrics: IngestMetrics,
    checks: Checks,
    context: Context,
}

struct Table {
    sources: Sources,
    store_only: bool,
}

impl Ingest {
    /// Receives nothing yet: [`serve`](Self::serve) says from whom. One for each process, as its
    /// metrics are.
    #[must_use]
    pub fn new(
        limits: Limits,
        acknowledge: Acknowledge,
        deliveries: Arc<dyn Deliveries>,
        context: Context,
    ) -> Self {
        let metrics = IngestMetrics::new(&context.metrics);
        let recent = Arc::new(Recent::default());
        let mut checks = Checks::new();
        let keeper = match acknowledge {
            Acknowledge::AtOnce => None,
            Acknowledge::Durable(log, wait) => {
                let health = Arc::new(Health::new(context.clock.clone()));
                let checked = health.clone();
                checks = checks.with("log", Arc::new(move || checked.check()));
                let (tasks, recent) = (context.tasks.clone(), recent.clone());
                let deliveries = deliveries.clone();
                Some(Keeper { log, recent, deliveries, tasks, health, wait })
            }
        };
        let budget = Budget::new(limits.memory, limits.body, metrics.budget.clone());
        let table = Table { sources: Sources::new(Vec::new()), store_only: false };
        let sources = ArcSwap::from_pointee(table);
        Self(Arc::new(Inner {
            sources,
            keeper,
            recent,
            deliveries,
            budget,
            limits,
            metrics,
            checks,
            context,
        }))
    }

    /// Receives from these sources from now on, and takes what has no backend if `store_only`.
    /// Requests that are under way end with the sources that they began with; what was received
    /// from a source that stays is still known.
    pub fn serve(&self, sources: Vec<Receiving>, store_only: bool) {
        let inner = &*self.0;
        let windows = sources.iter().map(|one| (&one.source.name, one.source.dedupe));
        inner.recent.follow(windows);
        let served = sources.into_iter().map(|Receiving { source, secrets }| {
            let metrics = inner.metrics.of(&source.name, source.answers);
            Arc::new(Served { source, secrets, metrics })
        });
        let sources = Sources::new(served.collect());
        inner.sources.store(Arc::new(Table { sources, store_only }));
    }

    /// Remembers what a log holds of the sources that are served. Blocks on the disk.
    ///
    /// # Errors
    /// The disk.
    pub fn recall(&self, log: &Log) -> Result<(), ReadError> {
        log.for_each(log.floor(), |position, summary| {
            let event = Identity::new(&summary.source, &summary.delivery, &summary.sha256);
            self.0.recent.recall(&summary.source, event, position, summary.received);
            ControlFlow::Continue(())
        })
    }

    /// Reads secrets again as their files change: to be called every second or so. Blocks on the
    /// disk.
    pub fn refresh_secrets(&self) {
        let now = self.0.context.clock.now();
        for served in self.0.sources.load().sources.iter() {
            let refreshed = served.secrets.refresh(now);
            let source = &*served.source.name;
            for error in refreshed.failures {
                tracing::warn!(source, err = %error, "a secret stays as it was");
            }
            let current = served.secrets.current();
            if refreshed.changed {
                tracing::info!(source, secrets = ?current.fingerprints(), "secrets changed");
            }
            let age = i64::try_from(current.age(now).as_secs()).unwrap_or(i64::MAX);
            served.metrics.secret_age.set(age);
        }
    }

    /// Answers requests.
    #[must_use]
    pub fn handler(&self) -> Handler {
        let inner = self.0.clone();
        handler(move |connection, request| inner.clone().answer(connection, request))
    }

    /// Whether the process is ready.
    #[must_use]
    pub fn checks(&self) -> Checks {
        self.0.checks.clone()
    }
}

/// What a listener for webhooks takes on.
#[must_use]
pub fn server_limits(limits: &Limits) -> strait_net::Limits {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    strait_net::Limits {
        connections: count(limits.connections),
        handshake_time: limits.head_deadline,
        head_time: limits.head_deadline,
        per_client: Some(count(limits.per_address)),
        buffer: READ_BYTES,
        answer_time: Some(limits.head_deadline),
        ..strait_net::Limits::default()
    }
}

/// Copies values out of what the connection read, which is many times as long and is wanted for
/// the next request.
fn detach(headers: &mut HeaderMap) {
    let mut bytes = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    headers.values().for_each(|value| bytes.extend_from_slice(value.as_bytes()));
    for value in headers.values_mut() {
        let own = bytes.split_to(value.len()).freeze();
        *value = HeaderValue::from_maybe_shared(own).expect("it was a value before");
    }
}

impl Inner {
    async fn answer(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let begun = self.context.clock.monotonic();
        let table = self.sources.load_full();
        let path = request.uri().path();
        if matches!(*request.method(), Method::GET | Method::HEAD)
            && let Some(health) = self.health(&table, path)
        {
            return health;
        }
        let Some((served, rest)) = table.sources.find(path) else {
            self.metrics.unknown();
            return not_found();
        };
        let rest = Box::<str>::from(rest);
        let mut span = Span::default();
        let told = (&*connection, &mut span);
        let (outcome, bytes) = self.receive(served, table.store_only, rest, told, request).await;
        let took = self.context.clock.monotonic().saturating_sub(begun);
        served.metrics.count(&outcome, bytes, took.as_secs_f64());
        tracing::debug!(
            source = &*served.source.name,
            peer = %connection.peer(),
            outcome = ?outcome,
            bytes,
            "webhook"
        );
        let response = outcome.response(served.source.answers);
        conclude(&mut span, FAILS_SERVER, response.status().as_u16(), outcome.reason());
        response
    }

    /// A span for a webhook that was verified.
    fn begin_span(&self, served: &Served, head: &Parts) -> Span {
        let said = || traceparent(&head.headers);
        let mut span = self.context.tracer.enter("hooks.receive", SpanKind::Server, said);
        if span.is_kept() {
            span.say("http.request.method", method_name(&head.method));
            span.say("strait.source", served.source.name.to_string());
        }
        span
    }

    /// The answer to a probe, if that is what the path is.
    fn health(&self, table: &Table, path: &str) -> Option<Response<Body>> {
        match path {
            "/livez" => Some(text(StatusCode::OK, "ok")),
            "/readyz" => {
                let (status, report) = self.checks.report("readyz", &[], false);
                Some(text(status, report))
            }
            "/" | "/proxy" | "/healthz" => {
                let mut sources = table.sources.iter();
                let compatible = sources.any(|served| served.source.answers == Answers::Sprayproxy);
                compatible.then(|| text(StatusCode::OK, "healthy"))
            }
            _ => None,
        }
    }

    /// What becomes of a request to a source, and how many bytes of body were taken. Its span
    /// begins once it was verified: strangers decide nothing of what is exported.
    async fn receive(
        &self,
        served: &Served,
        store_only: bool,
        rest: Box<str>,
        (connection, span): (&Connection, &mut Span),
        request: Request<Incoming>,
    ) -> (Outcome, usize) {
        let (mut head, body) = request.into_parts();
        let peer = connection.peer().ip();
        let arrived = match self.arrived(served, store_only, peer, &head, body).await {
            Ok(arrived) => arrived,
            Err(why) => {
                if why == Rejection::Slow {
                    connection.cut();
                }
                return (Outcome::Rejected(why), 0);
            }
        };
        let bytes = arrived.bytes.len();
        let Arrived { bytes: body, sha256, share, .. } = arrived;
        *span = self.begin_span(served, &head);
        // Kept with the webhook, so that each attempt knows what it follows from.
        name_parent(&mut head.headers, span);
        let event = self.event(served, rest, head, body, sha256);
        let outcome = match &self.keeper {
            Some(keeper) => keeper.keep(served, event, share).await,
            None => {
                let outcome = self.pass_on(event).await;
                drop(share);
                outcome
            }
        };
        (outcome, bytes)
    }

    /// A body that was verified.
    async fn arrived(
        &self,
        served: &Served,
        store_only: bool,
        peer: IpAddr,
        head: &Parts,
        body: Incoming,
    ) -> Result<Arrived, Rejection> {
        let source = &served.source;
        if head.method != Method::POST {
            return Err(Rejection::Method);
        }
        let expected = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        if !head.headers.get_all(EXPECT).iter().all(expected) {
            return Err(Rejection::Expectation);
        }
        let networks = &source.addresses;
        if !networks.is_empty() && !networks.iter().any(|network| network.contains(peer)) {
            return Err(Rejection::Address);
        }
        if !store_only && !self.deliveries.has_backend(&source.name) {
            return Err(Rejection::NoBackend);
        }
        content_type(&source.scheme, &head.headers).map_err(|_| Rejection::ContentType)?;
        if body.size_hint().lower() > self.limits.body as u64 {
            return Err(Rejection::Body(NotRead::TooLarge));
        }
        let secrets = served.secrets.current();
        let now = self.context.clock.now();
        let verifier = source.scheme.begin(&head.headers, secrets.secrets(), now);
        let verifier = verifier.map_err(Rejection::Signature)?;
        let share = self.budget.share(peer);
        let reading = body::read(body, self.limits.body, verifier, share);
        let read = tokio::time::timeout(self.limits.body_deadline, reading).await;
        let arrived = read.map_err(|_| Rejection::Slow)?.map_err(Rejection::Body)?;
        arrived.verdict.map_err(Rejection::Signature)?;
        Ok(arrived)
    }

    fn event(
        &self,
        served: &Served,
        path: Box<str>,
        head: Parts,
        body: bytes::Bytes,
        sha256: [u8; 32],
    ) -> Event {
        let delivery = Facts::delivery(&served.source.scheme, &head.headers);
        let own = || Uid::from_random(random_16(&*self.context.entropy)).to_string().into();
        let mut headers = head.headers;
        // Meant for us, passed on to nobody: not kept either.
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
            headers.remove(name);
        }
        detach(&mut headers);
        Event {
            source: served.source.name.clone(),
            delivery: delivery.unwrap_or_else(own),
            received: self.context.clock.now(),
            path,
            query: head.uri.query().unwrap_or_default().into(),
            headers,
            body,
            sha256,
        }
    }

    /// Asks every backend while the sender waits; goes on if it does not.
    async fn pass_on(&self, event: Event) -> Outcome {
        let event = Arc::new(event);
        let asked = self.context.tasks.spawn("webhook", self.deliveries.at_once(&event));
        match asked.await {
            Ok(true) => Outcome::Accepted(event.delivery.clone()),
            _ => Outcome::Failed,
        }
    }
}
