//! The span of a request to the API.
//!
//! Whoever proved nothing has none: strangers decide nothing of what is exported. Probes and scrapes
//! have none either: there would be nothing else. A watch's ends with the watch.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::body::{Frame, SizeHint};
use strait_apiserver::{Query, Reach, ResponseBody, Target, View};
use strait_auth::Attributes;
use strait_net::Body;
use strait_net::traced::{FAILS_SERVER, conclude, method_name, traceparent};
use strait_runtime::{Span, SpanKind, Tracer};

/// Longest name of a resource, with its group: what is longer is none.
const NAME_MAX: usize = 253;

/// Begins the span of a request of somebody who proved who they are.
pub(crate) fn begin<B>(tracer: &Tracer, request: &Request<B>) -> Span {
    let mut span = tracer.enter("hub.api", SpanKind::Server, || traceparent(request.headers()));
    if span.is_kept() {
        span.say("http.request.method", method_name(request.method()));
    }
    span
}

/// Says what is asked for, once it is known that whoever asks may enter the workspace. `path` is
/// below that.
pub(crate) fn about(
    span: &mut Span,
    view: &dyn View,
    (method, path): (&Method, &str),
    query: &Query,
) {
    if !span.is_kept() {
        return;
    }
    if let Reach::Cluster(cluster) = view.reach() {
        span.say("strait.workspace", cluster.to_string());
    }
    let target = Target::parse(method, path, query);
    if let Attributes::Resource(asked) = target.attributes()
        && asked.resource.len() + asked.group.len() < NAME_MAX
    {
        let of = if asked.group.is_empty() { "" } else { "." };
        span.say("strait.resource", format!("{}{of}{}", asked.resource, asked.group));
        span.say("strait.verb", asked.verb.to_owned());
    }
}

/// The answer's body, with whose end the span ends.
pub(crate) fn end(mut span: Span, status: StatusCode, body: ResponseBody) -> Body {
    conclude(&mut span, FAILS_SERVER, status.as_u16(), "");
    match body {
        ResponseBody::Full(bytes) => Body::from(bytes),
        streamed if span.is_kept() => Body::stream(Traced { body: streamed, _span: span }),
        streamed => Body::stream(streamed),
    }
}

struct Traced {
    body: ResponseBody,
    _span: Span,
}

impl hyper::body::Body for Traced {
    type Data = Bytes;
    type Error = <ResponseBody as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
