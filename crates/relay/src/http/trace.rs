//! What a span says of a crossing.

use http::Method;
use strait_net::traced::method_name;
use strait_runtime::Span;

/// Says of a span which service it is about, what is asked of that, and which request it is.
pub(crate) fn about(
    span: &mut Span,
    [agent, service, cluster]: [&str; 3],
    method: &Method,
    id: &str,
) {
    if !span.is_kept() {
        return;
    }
    span.say("http.request.method", method_name(method));
    span.say("strait.agent", agent.to_owned());
    span.say("strait.service", service.to_owned());
    span.say("strait.workspace", cluster.to_owned());
    span.say("strait.request", id.to_owned());
}
