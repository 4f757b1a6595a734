//! Requests and outcomes as tables.

use std::io;

use http::StatusCode;

use super::*;
use crate::config::Headers;

fn event(path: &str, query: &str, headers: &[(&'static str, &str)]) -> Event {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    Event {
        source: "forge".into(),
        delivery: "1".into(),
        received: jiff::Timestamp::UNIX_EPOCH,
        path: path.into(),
        query: query.into(),
        headers: map,
        body: Bytes::from_static(b"body"),
        sha256: [0; 32],
    }
}

fn backend(url: &str, headers: Headers) -> Backend {
    Backend {
        name: "one".into(),
        address: crate::config::Address::Url(url.parse().unwrap()),
        sources: vec!["forge".into()],
        tls: crate::config::BackendTls::default(),
        timeout: std::time::Duration::from_secs(1),
        in_flight: 1,
        order: None,
        retry: crate::schedule::Retry::default(),
        filter: crate::filter::Filter::default(),
        headers,
        allow_private: true,
        networks: Vec::new(),
    }
}

#[test]
fn paths_and_queries_are_joined() {
    for (url, path, query, expected) in [
        ("http://b", "", "", Some("/")),
        ("http://b", "/x", "", Some("/x")),
        ("http://b/", "/x/", "", Some("/x/")),
        ("http://b/own", "", "", Some("/own")),
        ("http://b/own/", "", "", Some("/own/")),
        ("http://b/own/", "/x", "", Some("/own/x")),
        ("http://b/own?k=v", "/x", "", Some("/own/x?k=v")),
        ("http://b/own?k=v", "/x", "a=b&c", Some("/own/x?k=v&a=b&c")),
        ("http://b/own", "", "a=b", Some("/own?a=b")),
        ("http://b/own?", "", "", Some("/own")),
        ("http://b/own", "/a.b/..c/%20", "", Some("/own/a.b/..c/%20")),
        ("http://b/own", "/../admin", "", None),
        ("http://b/own", "/x/%2E%2e", "", None),
        ("http://b/own", "/.", "", None),
        ("http://b/own", "/x%2f..%2fadmin", "", None),
        ("http://b/own", "/..\\admin", "", None),
        ("http://b/own", "/white space", "", None),
    ] {
        let backend = backend(url, Headers::default());
        let request = request(&event(path, query, &[]), &backend, &backend.address.base(), None);
        let got = request.as_ref().map(|request| request.uri().to_string());
        assert_eq!(got.as_deref().ok(), expected, "{url} {path} {query}");
    }
}

#[test]
fn headers_are_passed_from_a_list() {
    let own = Headers {
        add: vec![(HeaderName::from_static("x-team"), HeaderValue::from_static("ours"))],
        pass_also: vec![HeaderName::from_static("x-own")],
    };
    let sent = [
        ("content-type", "application/json"),
        ("user-agent", "forge"),
        ("traceparent", "00-1-2-01"),
        ("tracestate", "a=1"),
        ("x-github-event", "push"),
        ("x-hub-signature-256", "sha256=1"),
        ("x-gitlab-token", "t"),
        ("webhook-id", "1"),
        ("webhook-id", "2"),
        ("x-own", "a"),
        ("x-team", "theirs"),
        ("x-github-hop", "1"),
        ("connection", "keep-alive, X-GitHub-Hop, x-own"),
        ("keep-alive", "9"),
        ("authorization", "Bearer x"),
        ("proxy-authorization", "x"),
        ("cookie", "a=b"),
        ("transfer-encoding", "chunked"),
        ("content-length", "999"),
        ("host", "theirs"),
        ("x-forwarded-for", "6.6.6.6"),
        ("expect", "100-continue"),
    ];
    let backend = backend("http://b", own);
    let request = request(&event("", "", &sent), &backend, &backend.address.base(), None).unwrap();
    let got = lines(&request);
    let expected = [
        "content-type: application/json",
        "user-agent: forge",
        "traceparent: 00-1-2-01",
        "tracestate: a=1",
        "x-github-event: push",
        "x-hub-signature-256: sha256=1",
        "x-gitlab-token: t",
        "webhook-id: 1",
        "webhook-id: 2",
        "x-team: ours",
        "content-length: 4",
    ];
    assert_eq!(got, expected);
    assert_eq!((request.method(), &request.body()[..]), (&Method::POST, &b"body"[..]));
}

fn lines(request: &Request<Bytes>) -> Vec<String> {
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    request.headers().iter().map(line).collect()
}

#[test]
fn an_attempt_with_a_span_names_it_in_the_place_of_what_came() {
    let span = HeaderValue::from_static("00-3-4-01");
    let own = |value| (HeaderName::from_static("traceparent"), HeaderValue::from_static(value));
    for (sent, add, expected) in [
        (&[("traceparent", "00-1-2-01"), ("tracestate", "a=1")][..], vec![], "00-3-4-01"),
        (&[], vec![], "00-3-4-01"),
        // What the backend is configured to get is what it gets.
        (&[("traceparent", "00-1-2-01")], vec![own("ours")], "ours"),
    ] {
        let backend = backend("http://b", Headers { add, ..Headers::default() });
        let (event, base) = (event("", "", sent), backend.address.base());
        let request = request(&event, &backend, &base, Some(&span)).unwrap();
        let got: Vec<_> = request.headers().get_all("traceparent").iter().collect();
        assert_eq!(got, [expected], "{sent:?}");
    }
}

#[test]
fn what_calls_end_with() {
    let host = || "b:80".to_owned();
    let answer = |status: u16, retry_after: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
        }
        Ok(Answer { status: StatusCode::from_u16(status).unwrap(), headers })
    };
    let seconds = |count| Some(RetryAfter::In(std::time::Duration::from_secs(count)));
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let of_the_way = |status: u16| {
        let headers = HeaderMap::from_iter([(WAY_ERROR, HeaderValue::from_static("Why"))]);
        Ok(Answer { status: StatusCode::from_u16(status).unwrap(), headers })
    };
    let broken = || CarryError::Broken(refused().into());
    for (result, outcome, retry_after) in [
        (of_the_way(401), Outcome::TokenRefused, None),
        (of_the_way(403), Outcome::Refused, None),
        (of_the_way(404), Outcome::Refused, None),
        (of_the_way(413), Outcome::Status(413), None),
        (of_the_way(502), Outcome::Status(502), None),
        (of_the_way(503), Outcome::Status(503), None),
        (of_the_way(504), Outcome::Status(504), None),
        (answer(404, None), Outcome::Status(404), None),
        (Err(CarryError::Nobody.into()), Outcome::Refused, None),
        (Err(broken().into()), Outcome::Broken, None),
        (Err(Unanswered::TooLate), Outcome::TimedOut, None),
        (answer(202, None), Outcome::Status(202), None),
        (answer(503, Some("7")), Outcome::Status(503), seconds(7)),
        (answer(503, Some("soon")), Outcome::Status(503), None),
        (
            Err(CallError::Resolve { host: host(), source: refused() }.into()),
            Outcome::Refused,
            None,
        ),
        (
            Err(CallError::Connect { host: host(), source: refused().into() }.into()),
            Outcome::Refused,
            None,
        ),
        (Err(CallError::ConnectTimedOut { host: host() }.into()), Outcome::TimedOut, None),
        (Err(CallError::AnswerTimedOut { host: host() }.into()), Outcome::TimedOut, None),
        (
            Err(CallError::NoAnswer { host: host(), source: refused().into() }.into()),
            Outcome::Broken,
            None,
        ),
    ] {
        assert_eq!(tried(result), Ok(Tried { outcome, retry_after }));
    }
    let malformed = CarryError::Malformed(refused().into());
    assert_eq!(tried(Err(malformed.into())), Err(Unusable));
}
