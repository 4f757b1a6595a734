//! Spans of requests to the API.

use http::Method;
use strait_runtime::SpanKind;
use strait_runtime::trace::{EndedSpan, SpanValue, Spans};

use crate::harness::{TestHub, spans_of, traced, yaml};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ASKED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The only span of the trace.
async fn only(spans: &mut Spans) -> EndedSpan {
    let mut all = spans_of(spans, TRACE, "hub.api").await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn said(span: &EndedSpan) -> Vec<String> {
    let line = |(key, value): &(&str, SpanValue)| match value {
        SpanValue::Text(text) => format!("{key}={text}"),
        SpanValue::Integer(number) => format!("{key}={number}"),
    };
    span.attributes.iter().map(line).collect()
}

#[tokio::test]
async fn a_request_says_what_it_asked_for_and_what_came_of_it() {
    let (context, mut spans) = traced();
    let hub = TestHub::start_within(context).await;
    let admin = hub.admin().header("traceparent", ASKED);
    admin.get("/apis/tenancy.kcp.io/v1alpha1/workspaces/none").await.refused(404, "NotFound");
    let span = only(&mut spans).await;
    let mine = span.parent.unwrap();
    assert_eq!((mine.to_string().as_str(), span.kind), (ASKED, SpanKind::Server));
    assert!(!span.is_error);
    let expected = [
        "http.request.method=GET",
        "strait.workspace=root",
        "strait.resource=workspaces.tenancy.kcp.io",
        "strait.verb=get",
        "http.response.status_code=404",
    ];
    assert_eq!(said(&span), expected);

    let created = yaml("{apiVersion: v1, kind: Namespace, metadata: {name: one}}");
    admin.post("/api/v1/namespaces", &created).await.expect(201);
    let lines = said(&only(&mut spans).await);
    assert!(lines.contains(&"strait.resource=namespaces".to_owned()), "{lines:?}");
    assert!(lines.contains(&"strait.verb=create".to_owned()), "{lines:?}");

    // Who may not enter names nothing.
    let nobody = hub.client("nobody", &[]).header("traceparent", ASKED);
    nobody.get("/api/v1/namespaces").await.refused(403, "Forbidden");
    let expected = ["http.request.method=GET", "http.response.status_code=403"];
    assert_eq!(said(&only(&mut spans).await), expected);
}

#[tokio::test]
async fn who_proves_nothing_has_no_span() {
    let (context, mut spans) = traced();
    let hub = TestHub::start_within(context).await;
    let stranger = hub.anonymous().below("").header("traceparent", ASKED);
    let with_token = stranger.header("authorization", "Bearer nonsense");
    let service = "/clusters/root/services/relay/smith/ci/";
    for (client, path, status) in [
        (&stranger, "/clusters/root/api/v1/namespaces", 403),
        (&stranger, "/version", 200),
        (&stranger, "/relay/v1/join", 405),
        (&stranger, "/relay/v1/renew", 405),
        (&stranger, service, 401),
        (&stranger, "/services/relay/none", 404),
        (&with_token, "/clusters/root/api/v1/namespaces", 401),
        (&with_token, service, 401),
    ] {
        let answer = client.send(Method::GET, path, None).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    // The first that ends.
    let admin = hub.admin().header("traceparent", ASKED);
    admin.get("/api/v1/namespaces").await.expect(200);
    assert!(said(&only(&mut spans).await).contains(&"strait.verb=list".to_owned()));
}

#[tokio::test]
async fn a_watch_is_a_span_until_it_ends_and_a_probe_is_none() {
    let (context, mut spans) = traced();
    let hub = TestHub::start_within(context).await;
    let admin = hub.admin().header("traceparent", ASKED);
    let watch = admin.watch("/api/v1/namespaces?watch=true").await;
    for path in ["/readyz", "/livez", "/metrics"] {
        let answer = admin.below("").send(Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    // It ends after the watch began, and is the first that ends.
    admin.get("/api/v1/namespaces").await.expect(200);
    assert!(said(&only(&mut spans).await).contains(&"strait.verb=list".to_owned()));
    drop(watch);
    assert!(said(&only(&mut spans).await).contains(&"strait.verb=watch".to_owned()));
}
