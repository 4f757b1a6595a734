//! Bodies of requests, and what of them nobody read.
//!
//! Over HTTP/2 a stream whose answer is over before its request is reset, and some clients, curl
//! 7.88 for one, lose the answer then. So a refusal ends only once what is left of a small body
//! has come, or a moment has passed. What is larger is not waited for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Sleep;

use crate::body::{Body, BoxError};

/// What is read of a body behind a refusal, at most, and for how long.
const SMALL_BYTES: u64 = 64 << 10;
const SMALL_TIME: Duration = Duration::from_millis(250);

/// The body of a request.
pub struct Incoming {
    body: Option<hyper::body::Incoming>,
    /// Who gets what is left of it.
    unread: Option<Unread>,
}

/// What is left of the body of a request, once nobody reads it. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Unread(Arc<Mutex<Option<hyper::body::Incoming>>>);

impl Unread {
    /// Watches the body of a request of HTTP/2; none where it has none.
    pub(crate) fn of(request: &Request<hyper::body::Incoming>) -> Option<Self> {
        (!request.body().is_end_stream()).then(Self::default)
    }

    /// An answer that does not end before what is left of the request has come, if it is a refusal.
    pub(crate) fn end(self, answer: Response<Body>) -> Response<Body> {
        let status = answer.status();
        if !status.is_client_error() && !status.is_server_error() {
            return answer;
        }
        let rest = Rest { unread: self, body: None, came: 0 };
        answer.map(|body| Body::stream(Refusal { body: Some(body), trailers: None, rest }))
    }
}

impl Incoming {
    pub(crate) const fn new(body: hyper::body::Incoming, unread: Option<Unread>) -> Self {
        Self { body: Some(body), unread }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let left = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(unread), Some(left)) = (&self.unread, left) {
            *unread.0.lock() = Some(left);
        }
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // Taken when this is dropped, and not before.
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(&self.size_hint()).finish()
    }
}

/// The body of a refusal.
struct Refusal {
    /// Until it is over: it may hold the request's body.
    body: Option<Body>,
    trailers: Option<HeaderMap>,
    rest: Rest,
}

/// What is read of a request behind its refusal.
struct Rest {
    unread: Unread,
    body: Option<(hyper::body::Incoming, Pin<Box<Sleep>>)>,
    came: u64,
}

impl Rest {
    /// Ready once it has come, is too much, or takes too long.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(body) = self.unread.0.lock().take()
            && body.size_hint().lower() <= SMALL_BYTES
        {
            self.body = Some((body, Box::pin(tokio::time::sleep(SMALL_TIME))));
        }
        while let Some((body, end)) = &mut self.body {
            if end.as_mut().poll(context).is_ready() {
                break;
            }
            let Some(Ok(frame)) = ready!(Pin::new(body).poll_frame(context)) else { break };
            self.came += frame.data_ref().map_or(0, |data| data.remaining() as u64);
            if self.came > SMALL_BYTES {
                break;
            }
        }
        self.body = None;
        Poll::Ready(())
    }
}

impl HttpBody for Refusal {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(body) = &mut this.body {
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_trailers() {
                    Ok(trailers) => this.trailers = Some(trailers),
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                None => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            }
            this.body = None;
        }
        ready!(this.rest.poll(context));
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    /// As the answer's own: its length becomes a field.
    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref().filter(|body| !body.is_end_stream());
        body.map(HttpBody::size_hint).unwrap_or_default()
    }
}
