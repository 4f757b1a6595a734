//! Spans on their way to a collector: OTLP over HTTP, in JSON.
//!
//! One task takes what ended out of the tracer's bounded queue, in batches, and posts one batch at
//! a time. Whoever made a span never waits: while a collector is slow or away the queue fills, and
//! what finds it full is dropped. A batch that is not taken is repeated a few times with longer
//! and longer pauses, then given up. Everything that is lost is counted.

mod otlp;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use rustls::ClientConfig;
use strait_runtime::trace::{EndedSpan, Spans};
use strait_runtime::{Backoff, Context, Label, random_16};
use strait_types::{Report, Uid};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::{CallError, CallLimits, Client};
use crate::egress::EgressPolicy;

/// Spans that are posted at once, at most: some 200 KiB, which are written in a fraction of a
/// millisecond.
const BATCH: usize = 256;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How often a batch is posted before it is given up.
const TRIES: usize = 5;
/// The first pause between two tries, and the longest; a collector may ask for another up to it.
const PAUSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Of one post.
const LIMITS: CallLimits = CallLimits {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(10),
    response_bytes: 64 << 10,
};

/// Where spans go, and in whose name.
#[derive(Clone, Debug)]
pub struct TraceTarget {
    /// The whole URL, `http` or `https`.
    pub url: Uri,
    /// What is sent along, credentials for example.
    pub headers: HeaderMap,
    /// The name of this process (`service.name`).
    pub service: String,
}

/// Sends a process's spans to a collector.
pub struct TraceExporter {
    client: Client,
    target: TraceTarget,
    /// What is said of this process.
    resource: Vec<(&'static str, String)>,
    backoff: Backoff,
    counts: Counts,
    state: Mutex<State>,
}

struct State {
    spans: Spans,
    /// What is being sent. It stays until it was taken or given up, even if whoever sends it is
    /// cut off.
    batch: Vec<EndedSpan>,
    /// Whether the last post failed, which was logged.
    fails: bool,
}

/// `strait_net_spans_total`, by what became of them.
#[derive(Clone)]
struct Counts {
    sent: Counter,
    refused: Counter,
    lost: Counter,
}

/// What a collector did with a batch.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It took it, but for so many spans.
    Taken(u64),
    /// It may take it later, and may have said when.
    Later(Option<Duration>, String),
    /// It will not take it.
    Refused(String),
}

impl TraceExporter {
    /// An exporter of what is in `spans`. Its metrics are the context's; `tls` is what `https` URLs
    /// are trusted by.
    #[must_use]
    pub fn new(
        target: TraceTarget,
        tls: Option<Arc<ClientConfig>>,
        spans: Spans,
        context: &Context,
    ) -> Arc<Self> {
        let family = Family::<Label, Counter>::default();
        context.metrics.register(
            "strait_net_spans",
            "Spans, by what became of them",
            family.clone(),
        );
        let count = |outcome| family.get_or_create_owned(&[("outcome", outcome)]);
        let instance = Uid::from_random(random_16(&*context.entropy));
        Arc::new(Self {
            // The operator says where spans go.
            client: Client::new(tls, EgressPolicy::unrestricted()),
            resource: vec![
                ("service.name", target.service.clone()),
                ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
                ("service.instance.id", instance.to_string()),
            ],
            target,
            backoff: Backoff::new(PAUSE[0], PAUSE[1], context.entropy.clone()),
            counts: Counts { sent: count("sent"), refused: count("refused"), lost: count("lost") },
            state: Mutex::new(State { spans, batch: Vec::new(), fails: false }),
        })
    }

    /// Sends what ends, for as long as it is polled.
    ///
    /// # Cancel safety
    /// Dropped, it may have sent its batch or not; [`flush`](Self::flush) sends it again.
    pub async fn run(self: Arc<Self>) {
        let mut state = self.state.lock().await;
        loop {
            state.gather().await;
            self.deliver(&mut state).await;
        }
    }

    /// Sends what has ended by now, one try for each batch, and gives up the rest when `limit` is
    /// over. For the end of the process, after [`run`](Self::run) was dropped.
    pub async fn flush(&self, limit: Duration) {
        let sent = timeout(limit, self.send_rest()).await;
        if sent.is_err()
            && let Ok(state) = self.state.try_lock()
        {
            let lost = state.batch.len() + state.spans.waiting();
            self.counts.lost.inc_by(lost as u64);
            tracing::warn!(lost, "no time was left to send spans");
        }
    }

    async fn send_rest(&self) {
        let mut state = self.state.lock().await;
        loop {
            state.top_up();
            if state.batch.is_empty() {
                return;
            }
            let outcome = self.post(&state.batch).await;
            self.conclude(&mut state, outcome, true);
        }
    }

    /// Posts a batch until it is taken or given up.
    async fn deliver(&self, state: &mut State) {
        let mut pauses = self.backoff.clone();
        for tried in 1..=TRIES {
            let outcome = self.post(&state.batch).await;
            let asked = if let Outcome::Later(asked, _) = &outcome { *asked } else { None };
            self.conclude(state, outcome, tried == TRIES);
            if state.batch.is_empty() {
                return;
            }
            let own = pauses.next().unwrap_or(PAUSE[1]);
            tokio::time::sleep(asked.unwrap_or(own).clamp(own, PAUSE[1])).await;
        }
    }

    async fn post(&self, batch: &[EndedSpan]) -> Outcome {
        let mut request = Request::new(Bytes::from(otlp::encode(&self.resource, batch)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.url.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.target.headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let agent = HeaderValue::from_static(concat!("strait/", env!("CARGO_PKG_VERSION")));
        headers.insert(USER_AGENT, agent);
        match self.client.call(request, &LIMITS).await {
            Ok(answer) => outcome_of(answer.status(), answer.headers(), answer.body()),
            Err(CallError::TooLarge { status, .. }) => outcome_of(status, &HeaderMap::new(), b""),
            Err(error @ (CallError::Url { .. } | CallError::Denied(_))) => {
                Outcome::Refused(Report(&error).to_string())
            }
            Err(error) => Outcome::Later(None, Report(&error).to_string()),
        }
    }

    /// Counts what became of a batch, which is gone unless it is to be tried again.
    fn conclude(&self, state: &mut State, outcome: Outcome, is_last: bool) {
        let count = state.batch.len() as u64;
        let failed = match outcome {
            Outcome::Taken(refused) => {
                self.counts.sent.inc_by(count.saturating_sub(refused));
                self.counts.refused.inc_by(refused.min(count));
                state.batch.clear();
                None
            }
            Outcome::Refused(why) => {
                self.counts.refused.inc_by(count);
                state.batch.clear();
                Some(why)
            }
            Outcome::Later(_, why) => {
                if is_last {
                    self.counts.lost.inc_by(count);
                    state.batch.clear();
                }
                Some(why)
            }
        };
        match &failed {
            Some(err) if !state.fails => tracing::warn!(err, "spans are not taken"),
            None if state.fails => tracing::info!("spans are taken again"),
            _ => {}
        }
        state.fails = failed.is_some();
    }
}

impl State {
    /// Waits for a batch: what is there once it is full, or its first span has waited.
    async fn gather(&mut self) {
        if self.batch.is_empty() {
            self.spans.wait(&mut self.batch, BATCH).await;
        }
        let until = Instant::now() + GATHER;
        while self.batch.len() < BATCH {
            let room = BATCH - self.batch.len();
            if timeout_at(until, self.spans.wait(&mut self.batch, room)).await.is_err() {
                return;
            }
        }
    }

    /// Fills the batch with what is there.
    fn top_up(&mut self) {
        let room = BATCH.saturating_sub(self.batch.len());
        self.spans.take(&mut self.batch, room);
    }
}

/// What an answer says (OTLP 1.9, "OTLP/HTTP Response"): only these four statuses are worth another
/// try.
fn outcome_of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let why = || format!("the collector answered {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Outcome::Taken(otlp::refused(body)),
        429 | 502 | 503 | 504 => {
            let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            Outcome::Later(after, why())
        }
        _ => Outcome::Refused(why()),
    }
}

impl std::fmt::Debug for TraceExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the headers, which hold credentials.
        f.debug_struct("TraceExporter")
            .field("service", &self.target.service)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
