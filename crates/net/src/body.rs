//! Bodies of responses, and reading those of requests.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use strait_types::{Classified, ErrorKind};

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response's body: bytes that are there, or a stream.
pub struct Body(Kind);

enum Kind {
    Whole(Bytes),
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    /// No bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Whole(Bytes::new()))
    }

    /// A body that is produced while it is sent.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(Kind::Stream(body.map_err(Into::into).boxed_unsync()))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(Kind::Whole(bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

/// A body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It has more than `limit` bytes.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// It did not end in time.
    #[error("the body did not arrive in time")]
    TimedOut,
    /// The connection broke, or the other side ended the body early.
    #[error("the body broke off")]
    Broken(#[source] BoxError),
}

impl Classified for BodyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::TimedOut => ErrorKind::Timeout,
            Self::Broken(_) => ErrorKind::Upstream,
        }
    }
}

/// Reads a body of at most `limit` bytes that ends within `time`. One that announces more is not
/// read at all. Trailers are dropped.
///
/// # Errors
/// See [`BodyError`].
///
/// # Cancel safety
/// What was read is lost.
pub async fn read_body<B>(body: B, limit: usize, time: Duration) -> Result<Bytes, BodyError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    match tokio::time::timeout(time, collect(body, limit)).await {
        Ok(result) => result,
        Err(_) => Err(BodyError::TimedOut),
    }
}

/// As [`read_body`], without a limit of time.
pub(crate) async fn collect<B>(body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    let mut body = std::pin::pin!(body);
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        skip(body, limit).await;
        return Err(BodyError::TooLarge { limit });
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.as_mut().frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.into()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            drop((first, rest));
            skip(body, limit).await;
            return Err(BodyError::TooLarge { limit });
        }
        // Most bodies come in one piece, which is then not copied.
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// Reads on for a while without keeping anything: a client that is still sending when its
/// HTTP/1 connection closes does not see the answer that says why.
async fn skip<B>(mut body: Pin<&mut B>, most: usize)
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    let mut skipped = 0;
    while let Some(Ok(frame)) = body.as_mut().frame().await {
        skipped += frame.data_ref().map_or(0, Bytes::len);
        if skipped > most {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn pieces(pieces: &[&'static str]) -> Body {
        let frames: Vec<Result<_, BoxError>> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        Body::stream(StreamBody::new(stream::iter(frames)))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit() {
        for (parts, limit, expected) in [
            (&[][..], 0, Some("")),
            (&["abc"], 3, Some("abc")),
            (&["abc"], 2, None),
            (&["ab", "", "cd", "e"], 5, Some("abcde")),
            (&["ab", "cd", "e"], 4, None),
        ] {
            let read = read_body(pieces(parts), limit, LONG).await;
            match expected {
                Some(text) => assert_eq!(read.unwrap(), text),
                None => assert!(matches!(read, Err(BodyError::TooLarge { .. }))),
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_not_read() {
        let error = read_body(Body::from("abcd"), 3, LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "the body is larger than 3 bytes");
    }

    #[tokio::test]
    async fn a_body_that_hangs_or_breaks_is_told_apart() {
        let hangs = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let error = read_body(hangs, 10, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);

        let breaks = stream::iter([Err::<Frame<Bytes>, BoxError>("reset".into())]);
        let error = read_body(StreamBody::new(breaks), 10, LONG).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Upstream);
    }

    #[test]
    fn a_whole_body_knows_its_size() {
        let body = Body::from("abc");
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
        assert!(Body::empty().is_end_stream());
    }
}
