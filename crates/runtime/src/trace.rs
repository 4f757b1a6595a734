//! Spans: what a process says of its part in a trace.
//!
//! [`Tracer`] begins them and [`Spans`] is where they go when they end, a queue that whoever
//! exports them empties. Nothing waits for that: a span that finds the queue full is dropped and
//! counted. A tracer that is off, and a span that nobody keeps, are a null pointer: no clock is
//! read, nothing is drawn and nothing is allocated.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use strait_types::{Sampler, SpanId, TraceContext, TraceId};
use tokio::sync::mpsc;

use crate::{Clock, Entropy, Metrics, QueueMetrics, random_16};

/// Ended spans that wait to be exported, at most: some seconds' worth, and less than 4 MiB.
pub const SPANS_MAX: usize = 4_096;

/// Which side of a request a span stands on (OTLP's numbers; no span of ours is of another kind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers a request.
    Server = 2,
    /// Makes one.
    Client = 3,
}

/// What is said of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanValue {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Integer(i64),
}

impl From<&'static str> for SpanValue {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u16> for SpanValue {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u32> for SpanValue {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

/// A span that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSpan {
    /// What was done.
    pub name: &'static str,
    /// Its place.
    pub kind: SpanKind,
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The span that it is part of.
    pub parent: Option<TraceContext>,
    /// Whether that is another process's.
    pub is_remote: bool,
    /// What it follows from without being part of it alone.
    pub link: Option<TraceContext>,
    /// When it began and ended, nanoseconds since 1970.
    pub nanos: [u64; 2],
    /// What is said of it; each key once, in the order of telling.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// Whether it failed.
    pub is_error: bool,
}

/// Begins spans. Clones are the same.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

struct Inner {
    sampler: Sampler,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    queue: mpsc::Sender<Box<EndedSpan>>,
    metrics: QueueMetrics,
}

/// The spans that ended, in that order.
#[derive(Debug)]
pub struct Spans {
    queue: mpsc::Receiver<Box<EndedSpan>>,
    metrics: QueueMetrics,
}

/// A span under way; dropped, it has ended. One that nobody keeps does nothing.
#[derive(Default)]
#[must_use]
pub struct Span(Option<Open>);

struct Open {
    span: Box<EndedSpan>,
    /// By the monotonic clock.
    began: Duration,
    tracer: Arc<Inner>,
}

impl Tracer {
    /// A tracer that keeps what `sampler` says, and where its spans go; the queue's metrics are
    /// named `spans`.
    #[must_use]
    pub fn new(
        sampler: Sampler,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: &Metrics,
    ) -> (Self, Spans) {
        let (queue, ended) = mpsc::channel(SPANS_MAX);
        let metrics = metrics.queue("spans", SPANS_MAX);
        let spans = Spans { queue: ended, metrics: metrics.clone() };
        (Self(Some(Arc::new(Inner { sampler, clock, entropy, queue, metrics }))), spans)
    }

    /// A tracer that begins nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Whether spans may come of it.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A span for what came from outside: part of the trace that `traceparent` names, or the first
    /// of its own where that names none. It is asked only where it counts.
    pub fn enter<'t>(
        &self,
        name: &'static str,
        kind: SpanKind,
        traceparent: impl FnOnce() -> &'t [u8],
    ) -> Span {
        let Some(tracer) = &self.0 else { return Span::default() };
        let parent = TraceContext::parse(traceparent());
        let trace = parent
            .map_or_else(|| TraceId::from_random(random_16(&*tracer.entropy)), |own| own.trace);
        Inner::begin(tracer, (name, kind), trace, parent, true)
    }

    /// A span for what came from another process of ours, which has decided whether there is a
    /// trace: none where `traceparent` names none.
    pub fn follow<'t>(
        &self,
        name: &'static str,
        kind: SpanKind,
        traceparent: impl FnOnce() -> &'t [u8],
    ) -> Span {
        let Some(tracer) = &self.0 else { return Span::default() };
        let Some(parent) = TraceContext::parse(traceparent()) else { return Span::default() };
        Inner::begin(tracer, (name, kind), parent.trace, Some(parent), true)
    }
}

impl Inner {
    fn begin(
        tracer: &Arc<Self>,
        (name, kind): (&'static str, SpanKind),
        trace: TraceId,
        parent: Option<TraceContext>,
        is_remote: bool,
    ) -> Span {
        if !tracer.sampler.keeps(trace, parent.as_ref()) {
            return Span::default();
        }
        let mut id = [0; 8];
        tracer.entropy.fill(&mut id);
        let context = TraceContext { trace, span: SpanId::from_random(id), sampled: true };
        let now = u64::try_from(tracer.clock.now().as_nanosecond()).unwrap_or(0);
        Span(Some(Open {
            span: Box::new(EndedSpan {
                name,
                kind,
                context,
                parent,
                is_remote,
                link: None,
                nanos: [now; 2],
                attributes: Vec::new(),
                is_error: false,
            }),
            began: tracer.clock.monotonic(),
            tracer: tracer.clone(),
        }))
    }
}

impl Span {
    /// What those that it asks are told of it; none where nobody keeps it.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        Some(self.0.as_ref()?.span.context)
    }

    /// Whether anybody keeps it: what costs something to say need not be said otherwise.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// A part of it.
    pub fn child(&self, name: &'static str, kind: SpanKind) -> Self {
        let Some(Open { span, tracer, .. }) = &self.0 else { return Self::default() };
        let (trace, parent) = (span.context.trace, Some(span.context));
        Inner::begin(tracer, (name, kind), trace, parent, false)
    }

    /// Says something of it. Each key is to be said once.
    pub fn say(&mut self, key: &'static str, value: impl Into<SpanValue>) {
        if let Some(open) = &mut self.0 {
            open.span.attributes.push((key, value.into()));
        }
    }

    /// It failed; `why` is a word of a closed set.
    pub fn fail(&mut self, why: impl Into<SpanValue>) {
        self.say("error.type", why);
        if let Some(open) = &mut self.0 {
            open.span.is_error = true;
        }
    }

    /// What it follows from.
    pub fn links(&mut self, to: TraceContext) {
        if let Some(open) = &mut self.0 {
            open.span.link = Some(to);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(Open { mut span, began, tracer }) = self.0.take() else { return };
        let took = tracer.clock.monotonic().saturating_sub(began).as_nanos();
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        span.nanos[1] = span.nanos[0].saturating_add(took);
        // Counted before it can be taken out, so that the length is never below zero.
        tracer.metrics.length.inc();
        if tracer.queue.try_send(span).is_err() {
            tracer.metrics.length.dec();
            tracer.metrics.refused.inc();
        }
    }
}

impl Spans {
    /// Waits for a span, and puts it and those that are there, up to `limit`, behind `batch`.
    /// Without a tracer none come any more, and it does not end.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn wait(&mut self, batch: &mut Vec<EndedSpan>, limit: usize) {
        match self.queue.recv().await {
            Some(span) => self.keep(batch, *span),
            None => std::future::pending().await,
        }
        self.take(batch, limit.saturating_sub(1));
    }

    /// Puts the spans that are there, up to `limit`, behind `batch`.
    pub fn take(&mut self, batch: &mut Vec<EndedSpan>, limit: usize) {
        for _ in 0..limit {
            let Ok(span) = self.queue.try_recv() else { return };
            self.keep(batch, *span);
        }
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn keep(&self, batch: &mut Vec<EndedSpan>, span: EndedSpan) {
        self.metrics.length.dec();
        batch.push(span);
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracer").field(&self.0.as_ref().map(|inner| inner.sampler)).finish()
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.context()).finish()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{ManualClock, SeededEntropy};

    const ASKED: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const UNSAMPLED: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    struct Rig {
        clock: Arc<ManualClock>,
        metrics: Metrics,
        tracer: Tracer,
        spans: Spans,
    }

    fn rig(sampler: &str) -> Rig {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_000).unwrap()));
        let (metrics, entropy) = (Metrics::new(), Arc::new(SeededEntropy::new(7)));
        let sampler = Sampler::parse(sampler, "").unwrap();
        let (tracer, spans) = Tracer::new(sampler, clock.clone(), entropy, &metrics);
        Rig { clock, metrics, tracer, spans }
    }

    impl Rig {
        fn ended(&mut self) -> Vec<EndedSpan> {
            let mut batch = Vec::new();
            self.spans.take(&mut batch, usize::MAX);
            batch
        }
    }

    #[test]
    fn a_span_has_its_parent_its_times_and_what_was_said_of_it() {
        let mut rig = rig("parentbased_always_on");
        let mut span = rig.tracer.enter("hub.relay", SpanKind::Server, || ASKED);
        span.say("http.response.status_code", 502_u16);
        rig.clock.advance(Duration::from_millis(3));
        let mut child = span.child("agent.dial", SpanKind::Client);
        child.fail("ConnectFailed");
        // Of the wall clock only the beginning is read: it may jump.
        rig.clock.set_wall(Timestamp::from_second(5).unwrap());
        rig.clock.advance(Duration::from_millis(4));
        let [context, of_child] = [&span, &child].map(|own| own.context().unwrap());
        drop(child);
        drop(span);

        let [child, span] = <[_; 2]>::try_from(rig.ended()).unwrap();
        assert_eq!(span.parent, TraceContext::parse(ASKED));
        assert_eq!((child.parent, child.context), (Some(context), of_child));
        assert_eq!([span.is_remote, child.is_remote], [true, false]);
        assert_eq!(span.context.trace, child.context.trace);
        assert_ne!(span.context.span, child.context.span);
        assert_eq!(span.nanos, [1_000_000_000_000, 1_000_007_000_000]);
        assert_eq!(child.nanos, [1_000_003_000_000, 1_000_007_000_000]);
        assert_eq!(span.attributes, [("http.response.status_code", SpanValue::Integer(502))]);
        assert_eq!(child.attributes, [("error.type", "ConnectFailed".into())]);
        assert_eq!([span.is_error, child.is_error], [false, true]);
    }

    #[test]
    fn what_nobody_keeps_is_nothing() {
        type Said = &'static [u8];
        let enter = |tracer: &Tracer, said: Said| {
            tracer.enter("a", SpanKind::Server, move || said).is_kept()
        };
        let follow = |tracer: &Tracer, said: Said| {
            tracer.follow("a", SpanKind::Client, move || said).is_kept()
        };
        let cases: [(_, Said, _, _); 8] = [
            (Some("parentbased_always_on"), ASKED, true, true),
            (Some("parentbased_always_on"), UNSAMPLED, false, false),
            (Some("parentbased_always_on"), b"", true, false),
            (Some("parentbased_always_on"), b"00-1-2-01", true, false),
            (Some("parentbased_always_off"), b"", false, false),
            (Some("always_off"), ASKED, false, false),
            (Some("always_on"), UNSAMPLED, true, true),
            (None, ASKED, false, false),
        ];
        for (sampler, said, entered, followed) in cases {
            let tracer = sampler.map_or_else(Tracer::off, |sampler| rig(sampler).tracer);
            let kept = (enter(&tracer, said), follow(&tracer, said));
            assert_eq!(kept, (entered, followed), "{sampler:?} {}", said.escape_ascii());
            assert_eq!(tracer.is_on(), sampler.is_some());
        }
        let mut none = Span::default();
        none.say("key", "value");
        none.fail("why");
        assert!(!none.child("b", SpanKind::Client).is_kept() && none.context().is_none());
    }

    #[test]
    fn what_finds_the_queue_full_is_dropped_and_counted() {
        let mut rig = rig("always_on");
        for _ in 0..SPANS_MAX + 3 {
            drop(rig.tracer.enter("a", SpanKind::Server, || b""));
        }
        let text = rig.metrics.encode();
        for line in [
            "strait_runtime_queue_refused_total{queue=\"spans\"} 3".to_owned(),
            format!("strait_runtime_queue_length{{queue=\"spans\"}} {SPANS_MAX}"),
        ] {
            assert!(text.lines().any(|got| got == line), "{line} in\n{text}");
        }
        assert_eq!(rig.ended().len(), SPANS_MAX);
        assert_eq!(rig.spans.metrics.length.get(), 0);
    }
}
