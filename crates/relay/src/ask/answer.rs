//! A service's answer, as the client gets it.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Frame;
use strait_net::{Body, OnUpgrade};
use strait_runtime::TaskSet;
use strait_tunnel::{Code, Fields};

use super::pump::tunnel;
use super::{Message, Meter, Upload};
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
    contain: impl FnOnce(&mut HeaderMap),
) -> Result<Response<Body>, Failure> {
    let message = question.message;
    let status = StatusCode::from_u16(head.status()).map_err(|_| Failure::UpstreamProtocol)?;
    live.answered(status, head.took());
    let mut fields = fields_of(head.fields(), |value| head.bytes_of(value))?;
    // The other side did the same, and may be another tenant's.
    remove_connection(&mut fields);
    contain(&mut fields);
    if let Ok(id) = HeaderValue::from_str(question.id) {
        fields.insert(REQUEST_ID, id);
    }
    if !fields.contains_key(ERROR)
        && let Some(hint) = hint(status, question.service)
    {
        fields.insert(HINT, hint);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let (on_upgrade, sender) = on_upgrade.zip(upload.take_sender()).ok_or(Failure::Internal)?;
        let protocol = message.upgrade.as_ref().ok_or(Failure::UpstreamProtocol)?;
        if let Some(accept) = &message.accept {
            // The client cannot look whether a WebSocket was meant.
            if fields.remove(SEC_WEBSOCKET_ACCEPT).as_ref() != Some(accept) {
                return Err(Failure::UpstreamProtocol);
            }
            *response.status_mut() = StatusCode::OK;
        } else {
            fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            fields.insert(UPGRADE, protocol.value().clone());
        }
        *response.headers_mut() = fields;
        question.tasks.spawn("upgraded", tunnel(on_upgrade, receiver, sender, live));
        return Ok(response);
    }
    if message.accept.is_some() && status.is_success() {
        // Over HTTP/2 that would say that the service switched.
        return Err(Failure::UpgradeNotAllowed);
    }
    if message.upgrade.is_some() && message.accept.is_none() {
        // What the client sent behind its head is not a request that anybody decided about.
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if status == StatusCode::NO_CONTENT {
        fields.remove(CONTENT_LENGTH);
    }
    let length = fields.get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
    let bodiless = message.method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    *response.headers_mut() = fields;
    let left = if bodiless { Some(0) } else { length };
    let mut answer = Answer { receiver, upload, live, left, held: None, over: false };
    answer.look_for_end();
    *response.body_mut() = Body::stream(answer);
    Ok(response)
}

/// Fields of a head or trailers, without copying their values.
fn fields_of(fields: Fields<'_>, bytes_of: impl Fn(&[u8]) -> Bytes) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(bytes_of(field.value));
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(Failure::UpstreamProtocol);
        };
        value.set_sensitive(field.sensitive);
        map.append(name, value);
    }
    Ok(map)
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
                    answer.live.ended(None);
                    match fields_of(trailers.fields(), |value| trailers.bytes_of(value)) {
                        Ok(fields) => Some(Ok(Frame::trailers(fields))),
                        Err(_) => Some(Err(BrokenOff(Code::UpstreamProtocol))),
                    }
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
