//! Which HTTP a connection in the clear begins with.
//!
//! A client that knows that HTTP/2 is spoken begins with its preface, which no request of HTTP/1.1
//! looks like (RFC 9113 §3.3 and §3.4).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection, some of whose bytes were looked at and are read again.
pub(crate) struct Begun<T> {
    came: Bytes,
    io: T,
}

impl<T> Begun<T> {
    /// Nothing of it was looked at.
    pub(crate) const fn new(io: T) -> Self {
        Self { came: Bytes::new(), io }
    }

    /// These bytes of it are read again.
    pub(crate) const fn again(came: Bytes, io: T) -> Self {
        Self { came, io }
    }
}

impl<T: AsyncRead + Unpin> Begun<T> {
    /// Waits until it is clear what a connection begins with: whether that is HTTP/2.
    ///
    /// # Errors
    /// Nothing can be read.
    pub(crate) async fn look(mut io: T) -> io::Result<(Self, bool)> {
        let mut came = [0; PREFACE.len()];
        let mut length = 0;
        while length < came.len() && PREFACE.starts_with(&came[..length]) {
            match io.read(&mut came[length..]).await? {
                0 => break,
                count => length += count,
            }
        }
        let came = Bytes::copy_from_slice(&came[..length]);
        let is_http2 = came == PREFACE;
        Ok((Self { came, io }, is_http2))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Begun<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.came.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let count = self.came.len().min(buffer.remaining());
        buffer.put_slice(&self.came[..count]);
        self.came.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Begun<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_preface_is_told_from_a_request_however_it_comes() {
        let preface = std::str::from_utf8(PREFACE).unwrap();
        for (sent, expected) in [
            (preface.to_owned(), true),
            (format!("{preface}\0\0"), true),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\rx".to_owned(), false),
            ("POST / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), false),
            ("G".to_owned(), false),
            ("PRI * HT".to_owned(), false),
            (String::new(), false),
        ] {
            for size in [1, 7, 64] {
                let (mut writer, reader) = tokio::io::duplex(size);
                let write = async {
                    writer.write_all(sent.as_bytes()).await.unwrap();
                    drop(writer);
                };
                let read = async {
                    let (mut begun, is_http2) = Begun::look(reader).await.unwrap();
                    assert_eq!(is_http2, expected, "{sent:?}");
                    let mut whole = String::new();
                    begun.read_to_string(&mut whole).await.unwrap();
                    assert_eq!(whole, sent);
                };
                tokio::join!(write, read);
            }
        }
    }
}
