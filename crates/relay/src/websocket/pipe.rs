//! A WebSocket as a stream of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

pub use tokio_tungstenite::tungstenite::protocol::Role;

use super::HALF_CLOSE;

/// Largest message, bytes: of those taken too, however many frames it comes in.
const MESSAGE_MAX: usize = 64 << 10;

/// What is read at once. It is held for as long as the connection.
const READ: usize = 16 << 10;

/// What may wait to be written: a message, and answers to pings beside it.
const WRITE_MAX: usize = MESSAGE_MAX + (16 << 10);

/// Longest reason that a close frame has, bytes (RFC 6455 §5.5).
const REASON_MAX: usize = 123;

/// Time for the last frames to leave, and for the other side to see them before what it still
/// sends is refused.
const LINGER: Duration = Duration::from_secs(1);

/// The other side closed the WebSocket without ending what it sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection was closed: {}", if reason.is_empty() { "no reason was given" } else { reason })]
pub struct Closed {
    /// Its code (RFC 6455 §7.4); 1005 where it said none.
    pub code: u16,
    /// Why, for people. Not to be trusted.
    pub reason: String,
}

impl Closed {
    /// Finds it among the causes of an error.
    #[must_use]
    pub fn find(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Bytes both ways. Shutting it down ends what is sent and leaves the other direction as it is; a
/// read of nothing is the end of what came. Everything else that ends it is an error.
#[derive(Debug)]
pub struct Pipe<T> {
    socket: WebSocketStream<T>,
    /// What came and was not read.
    unread: Bytes,
    /// The other side sends no more.
    ended: bool,
    /// This side sends no more.
    finished: bool,
    /// How this connection is closed since the other side does not keep to the protocol.
    fault: Option<CloseCode>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Pipe<T> {
    /// The bytes of a connection whose handshake is over.
    pub async fn new(io: T, role: Role) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_MAX)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        Self {
            socket: WebSocketStream::from_raw_socket(io, role, Some(config)).await,
            unread: Bytes::new(),
            ended: false,
            finished: false,
            fault: None,
        }
    }

    /// Closes the connection with a code and a reason, unless the other side's mistake is one,
    /// and waits a little for it to be seen.
    pub async fn close(mut self, code: u16, reason: &str) {
        let mut end = reason.len().min(REASON_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let code = self.fault.unwrap_or_else(|| code.into());
        let frame = CloseFrame { code, reason: reason[..end].into() };
        let closed = async {
            // Best effort, as is everything here: the connection ends in any case.
            let _ = self.socket.close(Some(frame)).await;
            let io = self.socket.get_mut();
            let _ = io.shutdown().await;
            // A socket closed with unread bytes would drop what was written last.
            let mut rest = [0; 4 << 10];
            while io.read(&mut rest).await.is_ok_and(|count| count > 0) {}
        };
        let _ = tokio::time::timeout(LINGER, closed).await;
    }

    /// The next bytes; none at their end.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let message = ready!(Pin::new(&mut self.socket).poll_next(context));
            match message {
                Some(Ok(Message::Binary(bytes))) if !self.ended => {
                    if !bytes.is_empty() {
                        self.unread = bytes;
                        return Poll::Ready(Ok(()));
                    }
                }
                Some(Ok(Message::Text(text))) if !self.ended && text.as_str() == HALF_CLOSE => {
                    self.ended = true;
                    return Poll::Ready(Ok(()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(frame))) => return Poll::Ready(Err(closed(frame))),
                Some(Ok(Message::Binary(_) | Message::Text(_))) => {
                    self.fault = Some(CloseCode::Unsupported);
                    let why = "a message that has no meaning here";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
                }
                Some(Err(error)) => {
                    self.fault = fault(&error);
                    return Poll::Ready(Err(broken(error)));
                }
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    /// Where nothing more is read as bytes: answers pings, and sees that the other side left.
    fn poll_control(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.ended {
            return Ok(());
        }
        match self.poll_message(context) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Pipe<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() && !self.ended {
            ready!(self.poll_message(context))?;
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        if self.unread.is_empty() {
            // It may be a slice of more.
            self.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Pipe<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_control(context)?;
        ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(broken)?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let count = bytes.len().min(MESSAGE_MAX);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..count]));
        Pin::new(&mut self.socket).start_send(message).map_err(broken)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_control(context)?;
        Pin::new(&mut self.socket).poll_flush(context).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(broken)?;
            let message = Message::text(HALF_CLOSE);
            Pin::new(&mut self.socket).start_send(message).map_err(broken)?;
            self.finished = true;
        }
        self.poll_flush(context)
    }
}

fn closed(frame: Option<CloseFrame>) -> io::Error {
    let (code, reason) = match frame {
        Some(frame) => (frame.code.into(), frame.reason.as_str().to_owned()),
        None => (CloseCode::Status.into(), String::new()),
    };
    io::Error::new(io::ErrorKind::ConnectionAborted, Closed { code, reason })
}

fn fault(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(_) => Some(CloseCode::Size),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Protocol(_) | Error::AttackAttempt => Some(CloseCode::Protocol),
        _ => None,
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

#[cfg(test)]
mod tests;
