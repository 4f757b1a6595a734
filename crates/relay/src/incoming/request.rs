//! One HTTP request of a program beside the agent.

use std::sync::Arc;

use strait_net::fields::Fields;
use strait_net::traced::{FAILS_SERVER, conclude, name_parent, trace_id, traceparent};
use strait_net::{Connection, RequestParts, Response};
use strait_runtime::{Span, SpanKind};
use strait_tunnel::Class;

use super::called::{Called, failure_of, name_of};
use super::listener::{Listener, To};
use crate::ask::{Came, Message, Meter as _, Question, Upload, ending_of, respond};
use crate::choice::{Attempt, Decision, Ending, decide};
use crate::http::answer::contain;
use crate::http::trace::about;
use crate::message::{Failure, Reader, prefers_json};
use crate::services::HUB;

impl Listener {
    /// Answers a request.
    pub(super) async fn answer(
        self: Arc<Self>,
        connection: &Connection,
        request: RequestParts,
    ) -> Response {
        let (to, id) = (self.to(), self.ids.next().to_string());
        let json = prefers_json(&request.fields);
        let said = || traceparent(&request.fields);
        let mut span = self.context.tracer.enter("agent.relay", SpanKind::Server, said);
        match self.cross(request, &to, &id, &mut span).await {
            Ok(response) => response,
            Err(failure) => {
                conclude(&mut span, FAILS_SERVER, failure.status().as_u16(), failure.reason());
                tracing::debug!(
                    target: "strait::access",
                    incoming = to.listener, service = to.service, reason = failure.reason(),
                    status = failure.status().as_u16(), peer = %connection.peer(), id, "refused"
                );
                let reader = Reader { request_id: &id, json };
                failure.respond(&name_of(&to), &reader).into()
            }
        }
    }

    async fn cross(
        self: &Arc<Self>,
        request: RequestParts,
        to: &Arc<To>,
        id: &str,
        span: &mut Span,
    ) -> Result<Response, Failure> {
        let came = Came::take(request)?;
        if !to.hosts.has(came.authority()) {
            return Err(Failure::Misdirected);
        }
        let target = came.target()?;
        let target = match target.query() {
            Some(query) => format!("{}?{query}", target.path()),
            None => target.path().to_owned(),
        };
        let entropy = &*self.context.entropy;
        let (mut message, body, mut on_upgrade) = came.into_message(target, entropy)?;
        if message.is_foreign() {
            return Err(Failure::CrossSite);
        }
        name_parent(&mut message.fields, span);
        about(span, [HUB, &to.service, self.setup.cluster.as_str()], &message.method, id);
        let asked = (&message.method, message.path(), message.upgrade.is_some());
        let trace = trace_id(traceparent(&message.fields));
        let mut called = Called::new(self, to, (id, trace), asked);
        let open = message.open(called.tlvs(), Fields::new())?;
        let mut upload = Upload::new(body, &message, None);
        let mut tried = Vec::new();
        loop {
            let chosen = called.choose(&mut tried)?;
            if tried.len() == 1 {
                called.record().await?;
            }
            // What becomes another protocol goes on behind its head.
            let whole = upload.is_empty() && message.upgrade.is_none();
            let end = match chosen.link.open(&open, Class::Normal, whole) {
                Err(error) => ending_of(error),
                Ok(stream) => {
                    let (mut receiver, sender) = stream.split();
                    called.taken(&sender);
                    upload.begin(sender);
                    match upload.until_head(&mut receiver).await {
                        Ok(head) => {
                            called.took(upload.sent());
                            called.traced(std::mem::take(span));
                            let (service, tasks) = (&*to.service, &self.context.tasks);
                            let question = Question { message: &message, service, id, tasks };
                            let on_upgrade = on_upgrade.take();
                            let contain = |fields: &mut _| contain(fields, "", false);
                            return respond(
                                &question, head, receiver, upload, called, on_upgrade, contain,
                            );
                        }
                        Err(end) => end,
                    }
                }
            };
            called.took(upload.sent());
            called.ended(Some(&end));
            let failure = failure_of(&end);
            let again = failure != Failure::NotOffered
                && is_repeatable(&message, &upload, Ending::of(&end), (&called, &tried));
            if !again {
                return Err(failure);
            }
        }
    }
}

/// Whether a try that failed is to be repeated.
fn is_repeatable(
    message: &Message,
    upload: &Upload,
    ending: Ending,
    (called, tried): (&Called, &[u64]),
) -> bool {
    let attempt = Attempt {
        method: &message.method,
        ending,
        has_head: false,
        retained: upload.is_retained(),
        upgrade: message.upgrade.is_some(),
        // Whether the service likes that is not known here.
        retries_safe: false,
        earlier: u32::try_from(tried.len()).unwrap_or(u32::MAX).saturating_sub(1),
        since: called.age(),
    };
    decide(&attempt) == Decision::Again
}
