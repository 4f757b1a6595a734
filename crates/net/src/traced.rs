//! The trace that an HTTP request belongs to (W3C Trace Context, §3). What is said of it passes on as
//! it is, but where a span of ours is kept: then that is whom the next one names.

use http::{HeaderMap, HeaderValue, Method};
use strait_runtime::Span;
use strait_runtime::trace::SpanValue;
use strait_types::{TraceContext, is_tracestate};

use crate::fields::Fields;
use crate::fields::names::{TRACEPARENT, TRACESTATE};

/// The least status that is a failure of whoever answered with it: a server may refuse
/// (OpenTelemetry's conventions for HTTP spans, "Status").
pub const FAILS_SERVER: u16 = 500;
/// The least that is one of whoever asked.
pub const FAILS_CLIENT: u16 = 400;

/// The fields of a head, as lines or as a map.
pub trait Head {
    /// The values of a name.
    fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]>;
    /// Removes a name.
    fn remove(&mut self, name: &'static str);
    /// Sets a field to ASCII, in place of all of its name.
    fn set(&mut self, name: &'static str, value: &str);
}

impl Head for Fields {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.all(name)
    }

    fn remove(&mut self, name: &'static str) {
        Self::remove(self, name);
    }

    fn set(&mut self, name: &'static str, value: &str) {
        Self::set(self, name, value.as_bytes());
    }
}

impl Head for HeaderMap {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn remove(&mut self, name: &'static str) {
        Self::remove(self, name);
    }

    fn set(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.insert(name, value);
        }
    }
}

/// What a request says of its trace, if that is well formed; else nothing. Said twice it is not.
#[must_use]
pub fn traceparent(fields: &impl Head) -> &[u8] {
    let mut all = fields.values(TRACEPARENT);
    let value = all.next().map_or(&b""[..], |value| value.trim_ascii());
    if all.next().is_some() || trace_id(value).is_empty() { b"" } else { value }
}

/// The trace's id in hexadecimal; empty where it is not well formed.
#[must_use]
pub fn trace_id(traceparent: &[u8]) -> &str {
    let known = TraceContext::parse(traceparent).and_then(|_| traceparent.get(3..35));
    known.and_then(|id| std::str::from_utf8(id).ok()).unwrap_or_default()
}

/// Names a span as whoever asks, if it is kept. What others say of the trace stays, where it is a
/// list and about this trace.
pub fn name_parent(fields: &mut impl Head, span: &Span) {
    let Some(context) = span.context() else { return };
    let is_same = !traceparent(fields).is_empty();
    if !is_same || !is_tracestate(fields.values(TRACESTATE)) {
        fields.remove(TRACESTATE);
    }
    fields.set(TRACEPARENT, &context.to_string());
}

/// Says of a span how it ended: the status, 0 for none, and why there is none of the service's or
/// not all of its answer, if so. Statuses from `fails` on are failures.
pub fn conclude(span: &mut Span, fails: u16, status: u16, why: &'static str) {
    if !span.is_kept() {
        return;
    }
    if status != 0 {
        span.say("http.response.status_code", status);
    }
    let has_failed = status >= fails || (status < FAILS_CLIENT && !why.is_empty());
    match (has_failed, why) {
        (true, "") => span.fail(status.to_string()),
        (true, why) => span.fail(why),
        (false, "") => {}
        (false, why) => span.say("error.type", SpanValue::from(why)),
    }
}

/// The method, if it is one of HTTP's own: others are whatever a client likes.
#[must_use]
pub fn method_name(method: &Method) -> &'static str {
    let own = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    let names = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    own.iter().position(|known| known == method).map_or("_OTHER", |at| names[at])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use strait_runtime::{Context, SeededEntropy, SpanKind, Tracer};
    use strait_types::Sampler;

    use super::*;

    const ASKED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn fields(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let value = |text| HeaderValue::from_static(text);
        let mut map = HeaderMap::new();
        for (name, text) in all {
            map.append(*name, value(text));
        }
        map
    }

    #[test]
    fn a_trace_is_one_or_none() {
        for (all, expected) in [
            (&[("traceparent", ASKED)][..], TRACE),
            (
                &[("traceparent", "  00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\t")],
                TRACE,
            ),
            (&[("traceparent", ASKED), ("traceparent", ASKED)], ""),
            (&[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736")], ""),
            (&[("traceparent", "")], ""),
            (&[], ""),
        ] {
            let map = fields(all);
            assert_eq!(trace_id(traceparent(&map)), expected, "{all:?}");
            assert_eq!(trace_id(traceparent(&Fields::from(&map))), expected, "{all:?}");
        }
    }

    #[test]
    fn a_span_that_is_kept_is_named_and_what_others_say_passes_on_with_it() {
        let context = Context::of_system();
        let entropy = Arc::new(SeededEntropy::new(1));
        let (clock, sampler) = (context.clock, Sampler::default());
        let (tracer, _spans) = Tracer::new(sampler, clock, entropy, &context.metrics);
        let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        // Whether a span of ours is named, and which states are left.
        for (all, ours, states) in [
            (&[("traceparent", ASKED), ("tracestate", "a=1"), ("tracestate", "b=2")][..], true, 2),
            (&[("traceparent", ASKED), ("tracestate", "a=1,b")], true, 0),
            (&[("traceparent", "00-1-2-01"), ("tracestate", "a=1")], true, 0),
            (&[("tracestate", "a=1")], true, 0),
            (&[("traceparent", unsampled), ("tracestate", "a=1,b")], false, 1),
        ] {
            let mut fields = fields(all);
            let before = traceparent(&fields).to_vec();
            let span = tracer.enter("hub.relay", SpanKind::Server, || &before);
            let mut lines = Fields::from(&fields);
            name_parent(&mut fields, &span);
            name_parent(&mut lines, &span);
            assert_eq!(lines.to_map(), fields, "{all:?}");
            let after = TraceContext::parse(traceparent(&fields));
            match ours {
                true => assert_eq!(after, span.context(), "{all:?}"),
                false => assert_eq!(after, TraceContext::parse(&before), "{all:?}"),
            }
            assert_eq!(fields.get_all("traceparent").iter().count(), 1);
            assert_eq!(fields.get_all("tracestate").iter().count(), states, "{all:?}");
        }
        // Without a tracer nothing of it is touched.
        let mut wrong = fields(&[("traceparent", "00-1-2-01"), ("tracestate", "a=1,b")]);
        let before = wrong.clone();
        name_parent(&mut wrong, &Tracer::off().enter("hub.relay", SpanKind::Server, || b""));
        assert_eq!(wrong, before);
    }

    #[test]
    fn what_became_of_a_request_is_said_as_the_conventions_have_it() {
        let context = Context::of_system();
        let (entropy, clock) = (context.entropy, context.clock);
        let (tracer, mut spans) = Tracer::new(Sampler::default(), clock, entropy, &context.metrics);
        // Whether it failed, and why.
        for (fails, status, why, expected) in [
            (FAILS_SERVER, 200, "", (false, None)),
            (FAILS_SERVER, 404, "", (false, None)),
            (FAILS_SERVER, 403, "Forbidden", (false, Some("Forbidden"))),
            (FAILS_SERVER, 502, "", (true, Some("502"))),
            (FAILS_SERVER, 503, "AgentOffline", (true, Some("AgentOffline"))),
            (FAILS_SERVER, 200, "cancel", (true, Some("cancel"))),
            (FAILS_SERVER, 0, "cancel", (true, Some("cancel"))),
            (FAILS_CLIENT, 404, "", (true, Some("404"))),
            (FAILS_CLIENT, 302, "", (false, None)),
        ] {
            let mut span = tracer.enter("a", SpanKind::Server, || b"");
            conclude(&mut span, fails, status, why);
            drop(span);
            let mut ended = Vec::new();
            spans.take(&mut ended, 1);
            let said = |key| ended[0].attributes.iter().find(|(own, _)| *own == key);
            let reason = said("error.type").map(|(_, value)| value.clone());
            let expected_reason = expected.1.map(SpanValue::from);
            assert_eq!(
                (ended[0].is_error, reason),
                (expected.0, expected_reason),
                "{status} {why}"
            );
            assert_eq!(said("http.response.status_code").is_some(), status != 0);
        }
    }

    #[test]
    fn a_method_that_a_client_made_up_is_not_said() {
        assert_eq!(method_name(&Method::PATCH), "PATCH");
        assert_eq!(method_name(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
    }
}
