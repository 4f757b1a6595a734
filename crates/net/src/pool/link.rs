//! A connection of HTTP/1.1, and one exchange over it at a time.
//!
//! The call that uses it moves its bytes; there is no task and no queue behind it. A request goes
//! out in as few writes as the kernel takes; what is answered before all of it is sent is read
//! meanwhile.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::poll;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, header};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::answer::{Head, Malformed, Rest, head};
use super::{ANSWER_BYTES_MAX, Answer};
use crate::client::dial::Stream;

/// Bytes that are read at a time: the whole of most answers.
const READ_BYTES: usize = 4 << 10;
/// Room for the head of most requests.
const HEAD_BYTES: usize = 1 << 10;
/// An answer's head with those before it.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A connection and what was read of it.
pub(super) struct Link {
    stream: Stream,
    /// As long as there is room; what came is at its beginning.
    buffer: Vec<u8>,
    came: usize,
}

/// There is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing of the request was sent.
    Unsent(io::Error),
    /// It may have been.
    Broken(NoAnswer),
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("the connection was closed without an answer")]
    Closed,
    #[error("the connection broke")]
    Io(#[source] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("an answer's head has more than {HEAD_BYTES_MAX} bytes")]
    TooLong,
}

/// A request as it is sent, all but the target's name.
#[derive(Debug)]
pub struct Outgoing {
    /// The request line and fields.
    head: Vec<u8>,
    body: Bytes,
    /// Whether its answer has no body.
    bodyless: bool,
}

impl Outgoing {
    /// A request of these fields, to which `Host` and `Content-Length` are added: they must not
    /// be among them, nor any that frames a body.
    pub fn new<'f>(
        method: &Method,
        path: &PathAndQuery,
        fields: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        body: Bytes,
    ) -> Self {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        for part in [method.as_str(), " ", path.as_str(), " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        fields.for_each(|(name, value)| put(&mut head, name.as_str(), value.as_bytes()));
        if !body.is_empty() || method == Method::POST {
            // Into a vector it is always written.
            let _ = write!(head, "{}: {}\r\n", header::CONTENT_LENGTH, body.len());
        }
        Self { head, body, bodyless: method == Method::HEAD }
    }

    /// Goes to this target.
    pub(super) fn end(&mut self, host: &HeaderValue) {
        put(&mut self.head, header::HOST.as_str(), host.as_bytes());
        self.head.extend_from_slice(b"\r\n");
    }
}

/// Of a request whose URI is a path; its `Host` and `Content-Length` are put right.
impl From<Request<Bytes>> for Outgoing {
    fn from(request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let own = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        let fields = parts.headers.iter().filter(|(name, _)| !own.contains(name));
        let root = PathAndQuery::from_static("/");
        let path = parts.uri.path_and_query().unwrap_or(&root);
        Self::new(&parts.method, path, fields, body)
    }
}

fn put(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

impl Link {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, buffer: vec![0; READ_BYTES], came: 0 }
    }

    /// Whether nothing came since the last answer: neither an end nor anything unasked.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let read = poll_fn(|context| self.poll_read(context));
        poll!(std::pin::pin!(read)).is_pending()
    }

    /// Sends a request and reads the answer; whether the connection can be used again. `answer`
    /// is there as soon as its head is.
    pub(super) async fn exchange(
        &mut self,
        request: &Outgoing,
        kept: &[HeaderName],
        answer: &mut Option<Answer>,
    ) -> Result<bool, Failed> {
        let mut exchange = Exchange {
            unsent: (&request.head, &request.body),
            kept,
            sends: Sends::Not,
            bodyless: request.bodyless,
            judged: 0,
            rest: None,
            keeps: false,
            read: 0,
        };
        let ended = poll_fn(|context| exchange.poll(self, answer, context)).await;
        // What a long answer took is not kept for the next.
        self.buffer.truncate(READ_BYTES);
        self.buffer.shrink_to(READ_BYTES);
        ended
    }

    /// Reads more; how much.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.came == self.buffer.len() {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        let mut room = ReadBuf::new(&mut self.buffer[self.came..]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
        let count = room.filled().len();
        self.came += count;
        Poll::Ready(Ok(count))
    }

    /// Forgets the first `count` bytes of what came.
    fn consume(&mut self, count: usize) {
        self.buffer.copy_within(count..self.came, 0);
        self.came -= count;
    }
}

/// One exchange, as far as it is.
struct Exchange<'r> {
    unsent: (&'r [u8], &'r [u8]),
    /// Fields of the answer that are wanted.
    kept: &'r [HeaderName],
    sends: Sends,
    bodyless: bool,
    /// Bytes in which no head ends.
    judged: usize,
    /// What is to be read still; none before the head.
    rest: Option<Rest>,
    keeps: bool,
    /// Bytes that were read of the body.
    read: usize,
}

/// How much was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sends {
    Not,
    Some,
    All,
    /// Not all, and no more can be: the other side may have answered before it closed.
    Broken,
}

impl Exchange<'_> {
    fn poll(
        &mut self,
        link: &mut Link,
        answer: &mut Option<Answer>,
        context: &mut Context<'_>,
    ) -> Poll<Result<bool, Failed>> {
        if matches!(self.sends, Sends::Not | Sends::Some) {
            match self.poll_send(link, context) {
                Poll::Ready(Ok(())) => self.sends = Sends::All,
                Poll::Ready(Err(error)) if self.sends == Sends::Not => {
                    return Poll::Ready(Err(Failed::Unsent(error)));
                }
                Poll::Ready(Err(_)) => self.sends = Sends::Broken,
                Poll::Pending => {}
            }
        }
        if !self.rest.as_ref().is_some_and(Rest::is_over) {
            ready!(self.poll_answer(link, answer, context)).map_err(Failed::Broken)?;
        }
        match self.sends {
            Sends::Not | Sends::Some if self.keeps => Poll::Pending,
            // It wants no more of the request.
            Sends::Not | Sends::Some => Poll::Ready(Ok(false)),
            Sends::All => Poll::Ready(Ok(self.keeps && link.came == 0)),
            Sends::Broken => Poll::Ready(Ok(false)),
        }
    }

    fn poll_send(&mut self, link: &mut Link, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (head, body) = &mut self.unsent;
        while !(head.is_empty() && body.is_empty()) {
            let parts = [IoSlice::new(head), IoSlice::new(body)];
            let stream = Pin::new(&mut link.stream);
            let count = ready!(stream.poll_write_vectored(context, &parts))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sends = Sends::Some;
            let of_head = count.min(head.len());
            *head = &head[of_head..];
            *body = &body[count - of_head..];
        }
        Pin::new(&mut link.stream).poll_flush(context)
    }

    /// Reads to the end of the answer, or to where it is given up: then the connection is not
    /// kept.
    fn poll_answer(
        &mut self,
        link: &mut Link,
        answer: &mut Option<Answer>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), NoAnswer>> {
        loop {
            if link.came > 0 && self.take(link, answer)? {
                return Poll::Ready(Ok(()));
            }
            let read = ready!(link.poll_read(context));
            match (read, &self.rest) {
                (Ok(1..), None) if link.came > HEAD_BYTES_MAX => {
                    return Poll::Ready(Err(NoAnswer::TooLong));
                }
                (Ok(1..), _) => {}
                (Ok(0), None) => return Poll::Ready(Err(NoAnswer::Closed)),
                (Err(error), None) => return Poll::Ready(Err(NoAnswer::Io(error))),
                (Ok(0) | Err(_), Some(_)) => {
                    self.give_up();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Takes in what came; whether the answer is over.
    fn take(&mut self, link: &mut Link, answer: &mut Option<Answer>) -> Result<bool, NoAnswer> {
        if self.rest.is_none() {
            let came = &link.buffer[..link.came];
            // A head that comes byte by byte is not read anew for each.
            if self.judged > 0 && !has_blank_line(came, self.judged) {
                self.judged = came.len();
                return Ok(false);
            }
            self.judged = came.len();
            let Some((head, count)) = head(came, self.bodyless, self.kept)? else {
                return Ok(false);
            };
            let Head { status, headers, keeps, rest } = head;
            *answer = Some(Answer { status, headers });
            (self.keeps, self.rest) = (keeps, Some(rest));
            link.consume(count);
        }
        let Some(rest) = &mut self.rest else { return Ok(false) };
        match rest.take(&link.buffer[..link.came]) {
            Ok(count) => {
                self.read += count;
                link.consume(count);
            }
            Err(Malformed) => self.give_up(),
        }
        if self.read > ANSWER_BYTES_MAX {
            self.give_up();
        }
        Ok(self.rest.as_ref().is_some_and(Rest::is_over))
    }

    /// Reads no more of the answer.
    fn give_up(&mut self) {
        (self.rest, self.keeps) = (Some(Rest::Body(0)), false);
    }
}

/// Whether a line without anything ends behind the first `from` bytes.
fn has_blank_line(bytes: &[u8], from: usize) -> bool {
    let bytes = &bytes[from.saturating_sub(3)..];
    bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}
