//! A service's answer, as the client gets it.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Frame;
use strait_net::fields::names::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use strait_net::fields::{Fields, text};
use strait_net::{Body, OnUpgrade, Response};
use strait_runtime::TaskSet;
use strait_tunnel::{Code, End, EndedBy};

use super::pump::tunnel;
use super::{Message, Meter, Upload};
use crate::carried::fields_of;
use crate::http::fields::{ERROR, HINT, REQUEST_ID, remove_connection};
use crate::link::{Part, Receiver};
use crate::message::{Failure, hint};

/// What an answer is given for.
pub(crate) struct Question<'a> {
    pub(crate) message: &'a Message,
    /// The service's name, for people.
    pub(crate) service: &'a str,
    /// The request's identifier.
    pub(crate) id: &'a str,
    /// Where what becomes another protocol goes on.
    pub(crate) tasks: &'a TaskSet,
}

/// The answer to a request whose head is there. `contain` takes out of its fields what the client
/// may not have.
pub(crate) fn respond(
    question: &Question<'_>,
    head: strait_tunnel::Response,
    receiver: Receiver,
    mut upload: Upload,
    live: impl Meter,
    on_upgrade: Option<OnUpgrade>,
    contain: impl FnOnce(&mut Fields),
) -> Result<Response, Failure> {
    let made = head_of(question, &head, contain).and_then(|made| {
        let switch = || on_upgrade.zip(upload.take_sender()).ok_or(Failure::Internal);
        let switched = (head.status() == 101).then(switch).transpose()?;
        Ok((made, switched))
    });
    let ((status, fields), switched) = made.inspect_err(|_| {
        // The client is told, and did not leave.
        live.ended(Some(&End::broken(Code::UpstreamProtocol, EndedBy::Us)));
    })?;
    if let Some((on_upgrade, sender)) = switched {
        live.answered(StatusCode::SWITCHING_PROTOCOLS, head.took());
        question.tasks.spawn("upgraded", tunnel(on_upgrade, receiver, sender, live));
        return Ok(Response::new(status, fields, Body::empty()));
    }
    live.answered(status, head.took());
    let length = fields.get(CONTENT_LENGTH).and_then(|value| text(value)?.parse().ok());
    let bodiless = question.message.method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let left = if bodiless { Some(0) } else { length };
    let mut answer = Answer { receiver, upload, live, left, held: None, over: false };
    answer.look_for_end();
    Ok(Response::new(status, fields, Body::stream(answer)))
}

/// The head of an answer, as the client gets it.
fn head_of(
    question: &Question<'_>,
    head: &strait_tunnel::Response,
    contain: impl FnOnce(&mut Fields),
) -> Result<(StatusCode, Fields), Failure> {
    let message = question.message;
    let mut status = StatusCode::from_u16(head.status()).map_err(|_| Failure::UpstreamProtocol)?;
    let mut fields = fields_of(head.fields(), head.block());
    // The other side did the same, and may be another tenant's.
    remove_connection(&mut fields);
    contain(&mut fields);
    fields.set(REQUEST_ID, question.id.as_bytes());
    if !fields.has(ERROR)
        && let Some(hint) = hint(status, question.service)
    {
        fields.set(HINT, hint.as_bytes());
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let protocol = message.upgrade.as_ref().ok_or(Failure::UpstreamProtocol)?;
        if let Some(accept) = &message.accept {
            // The client cannot look whether a WebSocket was meant.
            if fields.get(SEC_WEBSOCKET_ACCEPT) != Some(accept.as_bytes()) {
                return Err(Failure::UpstreamProtocol);
            }
            fields.remove(SEC_WEBSOCKET_ACCEPT);
            status = StatusCode::OK;
        } else {
            fields.set(CONNECTION, b"upgrade");
            fields.set(UPGRADE, protocol.value().as_bytes());
        }
    } else if message.accept.is_some() && status.is_success() {
        // Over HTTP/2 that would say that the service switched.
        return Err(Failure::UpgradeNotAllowed);
    } else if message.upgrade.is_some() && message.accept.is_none() {
        // What the client sent behind its head is not a request that anybody decided about.
        fields.set(CONNECTION, b"close");
    }
    if status == StatusCode::NO_CONTENT {
        fields.remove(CONTENT_LENGTH);
    }
    Ok((status, fields))
}

/// The body of an answer, which also drives what is left of the request.
struct Answer<M> {
    receiver: Receiver,
    upload: Upload,
    live: M,
    /// Bytes that have to come, where the head says it.
    left: Option<u64>,
    /// What came and was not asked for yet.
    held: Option<Part>,
    over: bool,
}

impl<M: Meter> Answer<M> {
    /// Takes the end that came with what was taken before: where all bytes have come nobody asks
    /// for more, and a head that is all of an answer has to say so (gRPC's Trailers-Only).
    fn look_for_end(&mut self) {
        if self.over || self.held.is_some() {
            return;
        }
        match self.receiver.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Part::End) => self.over = true,
            Poll::Ready(part) => self.held = Some(part),
            Poll::Pending => {}
        }
        if self.over || self.left == Some(0) {
            self.live.ended(None);
        }
    }
}

/// The service or the agent broke off: the client's message must not look whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off ({0})")]
struct BrokenOff(Code);

impl<M: Meter> http_body::Body for Answer<M> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let answer = &mut *self;
        if answer.over {
            return Poll::Ready(None);
        }
        let _ = answer.upload.poll(context);
        answer.live.took(answer.upload.sent());
        loop {
            let part = match answer.held.take() {
                Some(part) => part,
                None => ready!(answer.receiver.poll_next(context)),
            };
            return Poll::Ready(match part {
                Part::Data(bytes) => {
                    answer.live.brought(bytes.len());
                    if let Some(left) = &mut answer.left {
                        *left = left.saturating_sub(bytes.len() as u64);
                    }
                    if answer.left == Some(0) {
                        answer.look_for_end();
                    }
                    Some(Ok(Frame::data(bytes)))
                }
                Part::Trailers(trailers) => {
                    answer.over = true;
                    let fields = fields_of(trailers.fields(), trailers.block());
                    answer.live.ended(None);
                    Some(Ok(Frame::trailers(fields.to_map())))
                }
                Part::End => {
                    answer.over = true;
                    answer.live.ended(None);
                    None
                }
                Part::Broken(end) => {
                    answer.over = true;
                    answer.live.ended(Some(&end));
                    Some(Err(BrokenOff(end.code)))
                }
                Part::Head(_) => continue,
            });
        }
    }

    /// Where a length was told, what writes the head goes by that.
    fn is_end_stream(&self) -> bool {
        self.over && self.left.is_none()
    }
}
