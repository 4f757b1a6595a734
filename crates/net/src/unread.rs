//! What nobody read of the body of a request.
//!
//! Over HTTP/2 a client may lose an answer that comes before its request is over. curl 7.88 ends
//! its request as soon as it sees a refusal, short of the length that it announced, and h2 resets
//! such a stream; and it takes a stream for broken that is reset before its answer is over, as
//! hyper does where nobody reads on. So the head of a refusal waits a moment for what follows, all
//! leaves as one, and the rest of the request is read and thrown away behind it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use strait_runtime::TaskSet;

use crate::body::{Body, BoxError};
use crate::http1::serve::{LINGER_BYTES, LINGER_TIME};

/// What the head of a refusal waits for: that its body is over, has that many bytes, or takes
/// longer.
const GATHER_BYTES: usize = 16 << 10;
const GATHER_TIME: Duration = Duration::from_millis(250);

/// What is left of the body of a request, once nobody reads it. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Unread(Arc<Mutex<Option<hyper::body::Incoming>>>);

impl Unread {
    /// Watches the body of a request of HTTP/2; none where it has none.
    pub(crate) fn of(request: &Request<hyper::body::Incoming>) -> Option<Self> {
        (!request.body().is_end_stream()).then(Self::default)
    }

    /// Keeps what nobody reads.
    pub(crate) fn keep(&self, left: hyper::body::Incoming) {
        *self.0.lock() = Some(left);
    }

    /// An answer that reaches whoever sends it before the request is over, if it is a refusal.
    pub(crate) async fn end(self, answer: Response<Body>, tasks: &TaskSet) -> Response<Body> {
        let status = answer.status();
        if !status.is_client_error() && !status.is_server_error() {
            return answer;
        }
        let (head, body) = answer.into_parts();
        let size = body.size_hint();
        let rest = Some((self, tasks.clone()));
        let mut refusal = Refusal { size, ready: VecDeque::new(), body: Some(body), rest };
        let _ = tokio::time::timeout(GATHER_TIME, poll_fn(|context| refusal.gather(context))).await;
        Response::from_parts(head, Body::stream(refusal))
    }

    /// Reads what is left and throws it away, as far as a closing connection of HTTP/1.1 would.
    fn drain(&self, tasks: &TaskSet) {
        let Some(mut body) = self.0.lock().take() else { return };
        let drained = async move {
            let mut left = LINGER_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    break;
                }
            }
        };
        tasks.spawn_daemon("unread body", tokio::time::timeout(LINGER_TIME, drained));
    }
}

/// The body of a refusal.
struct Refusal {
    /// Of what is not sent yet.
    size: SizeHint,
    /// What came before the head was sent.
    ready: VecDeque<Result<Frame<Bytes>, BoxError>>,
    /// Until it is over: it may hold the request's body.
    body: Option<Body>,
    /// Until this is over.
    rest: Option<(Unread, TaskSet)>,
}

impl Refusal {
    /// Ready once there is enough to send, or no more.
    fn gather(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let bytes = |frame: &Result<Frame<Bytes>, BoxError>| {
            frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len)
        };
        while let Some(body) = &mut self.body
            && self.ready.iter().map(bytes).sum::<usize>() < GATHER_BYTES
        {
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(frame) => self.ready.push_back(frame),
                None => self.body = None,
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        self.body = None;
        if let Some((unread, tasks)) = self.rest.take() {
            unread.drain(&tasks);
        }
    }
}

impl HttpBody for Refusal {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.ready.pop_front() {
            return Poll::Ready(Some(frame));
        }
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(context))
    }

    /// So that its last bytes say that they are the last.
    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    /// As the answer's own: its length becomes a field.
    fn size_hint(&self) -> SizeHint {
        self.size
    }
}
