//! Response bodies: whole, in chunks made on demand, or endless.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};

/// Bytes that a chunk of a long body holds, about.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// Bodies shorter than this are not compressed (`apiserver/pkg/endpoints/handlers/responsewriters`).
pub(crate) const GZIP_FROM_BYTES: usize = 128 << 10;

/// A response body.
pub enum ResponseBody {
    /// All at once.
    Full(Bytes),
    /// Chunk after chunk; each call makes the next.
    Chunks(Box<dyn FnMut() -> Option<Bytes> + Send>),
    /// As it happens.
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

impl ResponseBody {
    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Full(Bytes::new())
    }

    /// The same bytes, compressed. Level 1: the network is saved, not the last byte.
    #[must_use]
    pub(crate) fn gzip(self) -> Self {
        let mut encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut source = match self {
            Self::Full(bytes) => {
                let mut once = Some(bytes);
                Box::new(move || once.take()) as Box<dyn FnMut() -> Option<Bytes> + Send>
            }
            Self::Chunks(next) => next,
            stream @ Self::Stream(_) => return stream,
        };
        let compress = move || loop {
            let mut open = encoder.take()?;
            let Some(chunk) = source() else {
                return open.finish().ok().map(Bytes::from);
            };
            // Writing to memory does not fail.
            open.write_all(&chunk).ok()?;
            let ready = std::mem::take(open.get_mut());
            encoder = Some(open);
            if !ready.is_empty() {
                return Some(Bytes::from(ready));
            }
        };
        Self::Chunks(Box::new(compress))
    }
}

impl From<Vec<u8>> for ResponseBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Full(bytes.into())
    }
}

impl From<&'static str> for ResponseBody {
    fn from(text: &'static str) -> Self {
        Self::Full(Bytes::from_static(text.as_bytes()))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut *self {
            Self::Full(bytes) if bytes.is_empty() => None,
            Self::Full(bytes) => Some(std::mem::take(bytes)),
            Self::Chunks(next) => next(),
            Self::Stream(stream) => match stream.as_mut().poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(data) => data,
            },
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn drain(body: ResponseBody) -> Vec<u8> {
        match body {
            ResponseBody::Full(bytes) => bytes.to_vec(),
            ResponseBody::Chunks(next) => std::iter::from_fn(next).flatten().collect(),
            ResponseBody::Stream(_) => panic!("streams have no end"),
        }
    }

    #[test]
    fn compressed_bodies_hold_the_same_bytes() {
        let text = "a Kubernetes list ".repeat(40_000);
        let mut chunks = text
            .as_bytes()
            .chunks(CHUNK_BYTES)
            .map(Bytes::copy_from_slice)
            .collect::<Vec<_>>()
            .into_iter();
        for body in [
            ResponseBody::from(text.clone().into_bytes()),
            ResponseBody::Chunks(Box::new(move || chunks.next())),
        ] {
            let compressed = drain(body.gzip());
            assert!(compressed.len() < text.len() / 20);
            let mut plain = String::new();
            flate2::read::GzDecoder::new(&compressed[..]).read_to_string(&mut plain).unwrap();
            assert_eq!(plain, text);
        }
    }
}
