//! Spans as OTLP's JSON has them.
//!
//! Pure. The mapping is protobuf's own but for ids, which are hexadecimal; numbers of 64 bits are
//! texts (OTLP 1.9, "JSON Protobuf Encoding").

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};
use strait_runtime::trace::{EndedSpan, SpanValue};
use strait_types::TraceContext;

/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;
/// The flag of W3C.
const SAMPLED: u32 = 0x1;
/// It is known whether the parent is another process's, and it is.
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The body of a request to a collector. `resource` is what is said of this process.
pub(super) fn encode(resource: &[(&'static str, String)], spans: &[EndedSpan]) -> Vec<u8> {
    let request = Request {
        resource_spans: [ResourceSpans {
            resource: Resource { attributes: OfResource(resource) },
            scope_spans: [ScopeSpans {
                scope: Scope { name: "strait", version: env!("CARGO_PKG_VERSION") },
                spans: All(spans),
            }],
        }],
    };
    serde_json::to_vec(&request).expect("there are no maps and no foreign types in it")
}

/// How many spans of a request were refused though it was taken, as its answer says.
pub(super) fn refused(answer: &[u8]) -> u64 {
    let value = serde_json::from_slice::<serde_json::Value>(answer).unwrap_or_default();
    match value.pointer("/partialSuccess/rejectedSpans") {
        Some(serde_json::Value::String(text)) => text.parse().unwrap_or(0),
        Some(value) => value.as_u64().unwrap_or(0),
        None => 0,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: OfResource<'a>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: All<'a>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OneSpan<'a> {
    #[serde(serialize_with = "text")]
    trace_id: strait_types::TraceId,
    #[serde(serialize_with = "text")]
    span_id: strait_types::SpanId,
    #[serde(serialize_with = "of_some", skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<strait_types::SpanId>,
    flags: u32,
    name: &'static str,
    kind: u8,
    #[serde(serialize_with = "text")]
    start_time_unix_nano: u64,
    #[serde(serialize_with = "text")]
    end_time_unix_nano: u64,
    attributes: OfSpan<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<[Link; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    #[serde(serialize_with = "text")]
    trace_id: strait_types::TraceId,
    #[serde(serialize_with = "text")]
    span_id: strait_types::SpanId,
}

#[derive(Serialize)]
struct Status {
    code: u8,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'static str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum AnyValue<'a> {
    StringValue(&'a str),
    #[serde(serialize_with = "text")]
    IntValue(i64),
}

struct OfResource<'a>(&'a [(&'static str, String)]);
struct OfSpan<'a>(&'a [(&'static str, SpanValue)]);
struct All<'a>(&'a [EndedSpan]);

impl Serialize for OfResource<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.0.iter().map(|(key, text)| Attribute { key, value: AnyValue::StringValue(text) }),
        )
    }
}

impl Serialize for OfSpan<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(key, value)| Attribute {
            key,
            value: match value {
                SpanValue::Text(text) => AnyValue::StringValue(text),
                SpanValue::Integer(number) => AnyValue::IntValue(*number),
            },
        }))
    }
}

impl Serialize for All<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(self.0.len()))?;
        for span in self.0 {
            all.serialize_element(&OneSpan::of(span))?;
        }
        all.end()
    }
}

impl<'a> OneSpan<'a> {
    fn of(span: &'a EndedSpan) -> Self {
        let TraceContext { trace, span: id, .. } = span.context;
        let remote = if span.is_remote && span.parent.is_some() { IS_REMOTE } else { 0 };
        Self {
            trace_id: trace,
            span_id: id,
            parent_span_id: span.parent.map(|parent| parent.span),
            flags: SAMPLED | KNOWS_REMOTE | remote,
            name: span.name,
            kind: span.kind as u8,
            start_time_unix_nano: span.nanos[0],
            end_time_unix_nano: span.nanos[1],
            attributes: OfSpan(&span.attributes),
            links: span.link.map(|to| [Link { trace_id: to.trace, span_id: to.span }]),
            status: span.is_error.then_some(Status { code: ERROR }),
        }
    }
}

fn text<T: std::fmt::Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

fn of_some<T: std::fmt::Display, S: Serializer>(
    value: &Option<T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use strait_runtime::SpanKind;
    use strait_types::{SpanId, TraceId};

    use super::*;

    fn context(span: u8) -> TraceContext {
        let (trace, span) = (TraceId::from_random([0xab; 16]), SpanId::from_random([span; 8]));
        TraceContext { trace, span, sampled: true }
    }

    fn span() -> EndedSpan {
        EndedSpan {
            name: "hub.relay",
            kind: SpanKind::Server,
            context: context(1),
            parent: None,
            is_remote: true,
            link: None,
            nanos: [1_544_712_660_000_000_000, 1_544_712_661_000_000_000],
            attributes: Vec::new(),
            is_error: false,
        }
    }

    fn encoded(span: EndedSpan) -> serde_json::Value {
        let bytes = encode(&[("service.name", "strait-hub".into())], &[span]);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_span_is_written_as_collectors_read_it() {
        let span = EndedSpan {
            parent: Some(context(2)),
            link: Some(context(3)),
            attributes: vec![
                ("strait.agent", "smith \"1\"".to_owned().into()),
                ("http.response.status_code", 502_u16.into()),
            ],
            is_error: true,
            ..span()
        };
        let expected = json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "strait-hub"}},
            ]},
            "scopeSpans": [{
                "scope": {"name": "strait", "version": env!("CARGO_PKG_VERSION")},
                "spans": [{
                    "traceId": "abababababababababababababababab",
                    "spanId": "0101010101010101",
                    "parentSpanId": "0202020202020202",
                    "flags": 0x301,
                    "name": "hub.relay",
                    "kind": 2,
                    "startTimeUnixNano": "1544712660000000000",
                    "endTimeUnixNano": "1544712661000000000",
                    "attributes": [
                        {"key": "strait.agent", "value": {"stringValue": "smith \"1\""}},
                        {"key": "http.response.status_code", "value": {"intValue": "502"}},
                    ],
                    "links": [{
                        "traceId": "abababababababababababababababab",
                        "spanId": "0303030303030303",
                    }],
                    "status": {"code": 2},
                }],
            }],
        }]});
        assert_eq!(encoded(span), expected);
    }

    #[test]
    fn what_a_span_has_not_is_left_out() {
        let value = encoded(span());
        let span = value.pointer("/resourceSpans/0/scopeSpans/0/spans/0").unwrap();
        let keys: Vec<&str> = span.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(["parentSpanId", "links", "status"].iter().all(|key| !keys.contains(key)));
        assert_eq!(span["flags"], 0x101);
        assert_eq!(span["attributes"], json!([]));
    }

    #[test]
    fn an_answer_says_how_many_were_refused() {
        for (answer, expected) in [
            ("{}", 0),
            ("", 0),
            ("ok", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"old"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":4}}"#, 4),
            (r#"{"partialSuccess":{"rejectedSpans":-1}}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":"many"}}"#, 0),
        ] {
            assert_eq!(refused(answer.as_bytes()), expected, "{answer}");
        }
    }
}
