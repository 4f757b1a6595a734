//! Bodies of requests.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::BoxError;
use crate::http1::Receiver;
use crate::unread::Unread;

/// The body of a request.
pub struct Incoming(Kind);

enum Kind {
    /// What came with the head, or nothing.
    Whole(Bytes),
    Http1(Receiver),
    Http2 {
        /// Taken when this is dropped, and not before.
        body: Option<hyper::body::Incoming>,
        /// Who gets what is left of it.
        unread: Option<Unread>,
    },
}

impl Incoming {
    pub(crate) const fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(bytes))
    }

    pub(crate) const fn of_http1(receiver: Receiver) -> Self {
        Self(Kind::Http1(receiver))
    }

    pub(crate) const fn of_http2(body: hyper::body::Incoming, unread: Option<Unread>) -> Self {
        Self(Kind::Http2 { body: Some(body), unread })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Kind::Http2 { body, unread: Some(unread) } = &mut self.0
            && let Some(left) = body.take().filter(|body| !body.is_end_stream())
        {
            unread.keep(left);
        }
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Http1(body) => {
                Pin::new(body).poll_frame(context).map(|frame| frame.map(|own| Ok(own?)))
            }
            Kind::Http2 { body: Some(body), .. } => {
                Pin::new(body).poll_frame(context).map(|frame| frame.map(|own| Ok(own?)))
            }
            Kind::Http2 { body: None, .. } => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Http1(body) => body.is_end_stream(),
            Kind::Http2 { body, .. } => body.as_ref().is_none_or(HttpBody::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Http1(body) => body.size_hint(),
            Kind::Http2 { body, .. } => body.as_ref().map(HttpBody::size_hint).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(&self.size_hint()).finish()
    }
}
