//! A connection of HTTP/1.1: one request after the other, until it is over.
//!
//! What is answered is sent before the next request is looked at. Behind a request little is read
//! before its answer, so that it shows when the client goes away: its request is then dropped.
//!
//! A connection that ends within a request is closed slowly: our half first, then what still
//! comes is thrown away for a while. Closing at once would answer it with a reset, and the
//! sender, who is still writing, might never see why (RFC 9112 §9.6).

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::Malformed;
use super::answer::{Asked, Framed, frame};
use super::flow::Unfinished;
use super::head::RequestHead;
use super::intake::Intake;
use super::requests::Heads;
use super::sending::{Sending, WrongLength};
use super::upload::{Gone, Upload};
use super::waiting::Waiting;
use crate::accept::Context as Server;
use crate::begun::Begun;
use crate::body::{Body, BoxError};
use crate::connection::Connection;
use crate::fields::names::CONTENT_TYPE;
use crate::fields::{Fields, fields_of};
use crate::metrics::{ConnectionFailure, Counted};
use crate::request::Request;
use crate::response::{Head, Response};
use crate::server::{PLAIN, internal_error};
use crate::upgrade::{OnUpgrade, Upgraded};

/// What is thrown away of what comes behind the last answer, in bytes: more than buffers on the way
/// hold, so that a sender who reads at all reads the answer before the reset.
pub(crate) const LINGER_BYTES: usize = 64 << 20;
/// For how long.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(5);

/// How long a client may take nothing of an answer whose end waits already, where its listener sets no
/// shorter time.
const STUCK_MAX: Duration = Duration::from_secs(10 * 60);

/// The bytes of a connection, in both directions.
pub(super) struct Line<T> {
    pub(super) io: T,
    pub(super) intake: Intake,
    pub(super) sending: Sending,
    /// How long a client may take nothing of its answers.
    answer_time: Option<Duration>,
    /// Since when it has.
    stuck: Option<Pin<Box<Sleep>>>,
    waiting: Waiting,
}

impl<T: AsyncWrite + Unpin> Line<T> {
    /// Writes what waits; whether there was something, and all of it has left.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let waited = self.sending.waits();
        // Nobody puts a stream aside of which nothing more comes.
        let last = self.sending.is_whole().then_some(STUCK_MAX);
        let written = self.sending.poll_write(&mut self.io, context);
        self.waiting.are(self.sending.held());
        let Some(time) = self.answer_time.or(last).filter(|_| written.is_pending()) else {
            self.stuck = None;
            return written;
        };
        if self.sending.waits() < waited {
            self.stuck = None;
        }
        let over = self.stuck.get_or_insert_with(|| Box::pin(sleep(time)));
        over.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// How an exchange left its connection.
enum Next {
    /// Another request may follow.
    Request,
    /// No more, and the client knows or will see that.
    Close,
    /// The same, in the middle of what the client says.
    Linger,
    /// Nobody is there, or nobody may believe that what was sent is whole.
    Drop,
    /// It is another protocol from here on.
    Become(oneshot::Sender<Upgraded>),
}

impl Next {
    /// An exchange that is over in both directions.
    const fn after(keeps: bool) -> Self {
        if keeps { Self::Request } else { Self::Close }
    }
}

/// Serves a connection.
///
/// # Errors
/// It broke off while it was closed.
pub(crate) fn serve<T>(
    server: Arc<Server>,
    io: T,
    connection: Arc<Connection>,
) -> impl Future<Output = io::Result<()>> + Send
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer_time = server.server.limits.answer_time;
    let (intake, sending) = (Intake::default(), Sending::default());
    let waiting = Waiting::new(server.server.metrics.waiting.clone(), &server.server.limits);
    let mut line = Line { io, intake, sending, answer_time, stuck: None, waiting };
    let head_time = server.server.limits.head_time;
    // Not an async function: what that is given it holds twice.
    async move {
        let asked = pin!(server.server.shutdown.asked());
        let over = pin!(sleep(head_time));
        let mut idle = Idle { asked, over, time: head_time };
        loop {
            let next = match next_head(&mut line, &mut idle, &server).await {
                // Boxed: neither a connection that rests nor one whose answer is sent holds its place.
                Ok(Some(head)) => {
                    match Box::pin(ask(&server, &mut line, &connection, head)).await {
                        Ok(mut answered) => tell(&server, &mut line, &mut answered).await,
                        Err(Gone) => Next::Drop,
                    }
                }
                Ok(None) => Next::Close,
                Err(malformed) => {
                    server.server.metrics.failed(ConnectionFailure::Framing);
                    Box::pin(refuse(&mut line, malformed)).await
                }
            };
            // What nobody reads is answered with a reset, behind which an answer may be lost.
            let lingers = matches!(next, Next::Linger) || !line.intake.bytes.is_empty();
            match next {
                Next::Request => {}
                Next::Drop => return Ok(()),
                Next::Close | Next::Linger if lingers && !connection.is_cut() => {
                    return Box::pin(linger(&mut line)).await;
                }
                Next::Close | Next::Linger => return close(&mut line).await,
                Next::Become(another) => {
                    let came = line.intake.take();
                    // Who asked for it may have changed their mind.
                    let _ = another.send(Box::new(Begun::again(came, line.io)));
                    return Ok(());
                }
            }
        }
    }
}

/// What ends the wait for a request.
struct Idle<'c, A> {
    /// The server is to end.
    asked: Pin<&'c mut A>,
    /// It took too long: looked at anew where this is over.
    over: Pin<&'c mut Sleep>,
    time: Duration,
}

impl<A: Future<Output = ()>> Idle<'_, A> {
    /// Whether it took too long since then.
    fn poll_over(&mut self, since: Instant, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.over.as_mut().poll(context));
            // It was set for an earlier request.
            let due = since + self.time;
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            self.over.as_mut().reset(due);
        }
    }
}

/// Waits for the head of a request; none comes where the client is away, was silent for too long,
/// or is not waited for any more.
async fn next_head<T: AsyncRead + Unpin, A: Future<Output = ()>>(
    line: &mut Line<T>,
    idle: &mut Idle<'_, A>,
    server: &Server,
) -> Result<Option<RequestHead>, Malformed> {
    let since = Instant::now();
    let mut heads = Heads::default();
    let mut rests = None;
    poll_fn(|context| {
        loop {
            if let Some(head) = heads.next(&mut line.intake.bytes)? {
                return Poll::Ready(Ok(Some(head)));
            }
            match line.intake.poll_read(&mut line.io, context) {
                Poll::Ready(Ok(1..)) => rests = None,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(None)),
                Poll::Pending => break,
            }
        }
        if line.intake.bytes.is_empty() {
            rests.get_or_insert_with(|| Counted::resting(&server.server.metrics));
            if idle.asked.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(None));
            }
        }
        idle.poll_over(since, context).map(|()| Ok(None))
    })
    .await
}

/// A request that was answered: the head of the answer waits to be sent.
struct Answered {
    /// What still comes of the request.
    upload: Upload,
    said: Said,
    /// Another request may follow.
    keeps: bool,
    /// Who is told if its connection becomes another protocol.
    another: Option<oneshot::Sender<Upgraded>>,
}

/// Has a request answered.
async fn ask<T>(
    server: &Server,
    line: &mut Line<T>,
    connection: &Arc<Connection>,
    head: RequestHead,
) -> Result<Answered, Gone>
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let asked = Asked::new(&head.method, head.version, &head.fields, head.keeps);
    let (mut upload, body) = Upload::begin(&head, line);
    let (another, told) = head.upgrades.then(oneshot::channel).unzip();
    let request = Request::of_http1(head, body, OnUpgrade::http1(told));
    let mut answering = pin!(server.answer(connection.clone(), request));
    let answer = poll_fn(|context| {
        loop {
            if let Poll::Ready(answer) = answering.as_mut().poll(context) {
                return Poll::Ready(Ok(answer));
            }
            ready!(upload.poll(line, context))?;
        }
    });
    let mut answer = answer.await?;
    let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if answer.status().is_informational() && !(switches && another.is_some() && upload.is_over()) {
        tracing::error!(status = %answer.status(), "an answer that is none of this request");
        answer = internal_error().into();
    }
    let another = another.filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS);
    let (said, keeps) = begin(server, line, &mut upload, (asked, answer, connection.is_cut()));
    Ok(Answered { upload, said, keeps, another })
}

/// Sends an answer, and sees to what is left of its request.
async fn tell<T>(server: &Server, line: &mut Line<T>, answered: &mut Answered) -> Next
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    if send(line, &mut answered.upload, &mut answered.said).await.is_err() {
        return Next::Drop;
    }
    match answered.another.take() {
        Some(another) => Next::Become(another),
        None if answered.upload.is_settled() => Next::after(answered.keeps),
        None => Box::pin(settle(server, line, answered)).await,
    }
}

/// Has the head of an answer wait to be sent: what follows it, and whether a request may.
fn begin<T>(
    server: &Server,
    line: &mut Line<T>,
    upload: &mut Upload,
    (asked, answer, is_cut): (Asked, Response, bool),
) -> (Said, bool) {
    let closes = upload.answered() || is_cut || server.server.shutdown.is_asked();
    let (status, size) = (answer.status(), answer.body().size_hint().exact());
    let Framed { head, length, keeps } = match answer.head() {
        Head::Lines(fields) => frame(asked, (status, fields.iter()), size, closes),
        Head::Map(map) => frame(asked, (status, fields_of(map)), size, closes),
    };
    line.sending.begin(head, length);
    (Said { body: Some(answer.into_body()), trailers: asked.trailers }, keeps)
}

/// What follows the head of an answer.
struct Said {
    /// Until all of it was taken.
    body: Option<Body>,
    /// The client understands trailers.
    trailers: bool,
}

/// Sends an answer whose head waits, and what comes of its body.
async fn send<T: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<T>,
    upload: &mut Upload,
    said: &mut Said,
) -> Result<(), Gone> {
    let mut broken = false;
    poll_fn(|context| {
        loop {
            let limit = line.waiting.limit();
            while let Some(own) = &mut said.body
                && !line.sending.is_full(limit)
                && !line.sending.is_whole()
                && let Poll::Ready(frame) = Pin::new(own).poll_frame(context)
            {
                if add(&mut line.sending, frame, said.trailers).is_err() {
                    (said.body, broken) = (None, true);
                    line.sending.stop();
                }
            }
            if line.sending.is_whole() {
                // With it ends what it stands for.
                said.body = None;
            }
            let full = line.sending.is_full(limit);
            let written = line.poll_write(context).map_err(|_| Gone)?;
            if written.is_ready() && broken {
                return Poll::Ready(Err(Gone));
            }
            if written.is_ready() && line.sending.is_whole() {
                return Poll::Ready(Ok(()));
            }
            let given = upload.poll(line, context)?;
            if given.is_pending() && !(full && written.is_ready()) {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Its body broke off, or has not the length that was told.
struct Broken;

/// Adds what an answer says next.
fn add(
    sending: &mut Sending,
    frame: Option<Result<Frame<Bytes>, BoxError>>,
    trailers: bool,
) -> Result<(), Broken> {
    let none = HeaderMap::new();
    let done = match frame {
        None => sending.end(none.iter()),
        Some(Err(_)) => return Err(Broken),
        Some(Ok(frame)) => match frame.into_data() {
            Ok(data) => sending.data(data),
            Err(frame) => {
                let fields = frame.into_trailers().unwrap_or_default();
                sending.end(if trailers { fields.iter() } else { none.iter() })
            }
        },
    };
    done.map_err(|WrongLength| Broken)
}

/// An exchange is over once the request is: whoever still reads it may, and what little is left
/// is thrown away.
async fn settle<T>(server: &Server, line: &mut Line<T>, answered: &mut Answered) -> Next
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (upload, keeps) = (&mut answered.upload, answered.keeps);
    let read = poll_fn(|context| {
        while upload.is_read(context) {
            ready!(upload.poll(line, context))?;
        }
        Poll::Ready(Ok::<_, Gone>(()))
    });
    if read.await.is_err() {
        return Next::Drop;
    }
    let discards = keeps && upload.broken().is_none() && !upload.is_long();
    if discards {
        let rest = poll_fn(|context| upload.poll_discard(line, context));
        if matches!(timeout(LINGER_TIME, rest).await, Ok(Err(Gone))) && upload.broken().is_none() {
            return Next::Drop;
        }
    }
    match upload.broken() {
        Some(Unfinished::Malformed(_)) => {
            server.server.metrics.failed(ConnectionFailure::Framing);
            Next::Linger
        }
        Some(Unfinished::Cut) => Next::Close,
        None if !upload.is_over() => Next::Linger,
        None => Next::after(keeps),
    }
}

/// Answers what is no request.
async fn refuse<T: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<T>,
    malformed: Malformed,
) -> Next {
    let (status, text) = malformed.told();
    let mut fields = Fields::new();
    fields.set(CONTENT_TYPE, PLAIN.as_bytes());
    let framed = frame(Asked::NOTHING, (status, fields.iter()), Some(text.len() as u64), true);
    line.sending.begin(framed.head, framed.length);
    let taken = line.sending.data(text.into());
    let sent = poll_fn(|context| line.poll_write(context)).await;
    if taken.is_ok() && sent.is_ok() { Next::Linger } else { Next::Drop }
}

/// Ends our half, as far as the client goes along.
async fn close<T: AsyncWrite + Unpin>(line: &mut Line<T>) -> io::Result<()> {
    timeout(LINGER_TIME, line.io.shutdown()).await?
}

/// Ends our half, and throws away what still comes.
async fn linger<T: AsyncRead + AsyncWrite + Unpin>(line: &mut Line<T>) -> io::Result<()> {
    close(line).await?;
    let thrown = async {
        let mut left = LINGER_BYTES;
        while left > 0 {
            line.intake.bytes.clear();
            let read = poll_fn(|context| line.intake.poll_read(&mut line.io, context));
            match read.await {
                Ok(count @ 1..) => left = left.saturating_sub(count),
                Ok(0) | Err(_) => break,
            }
        }
    };
    // Out of time, what still comes is answered with a reset.
    let _ = timeout(LINGER_TIME, thrown).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;
    use tokio_rustls::server::TlsStream;

    use super::*;

    fn size<T, F>(_: fn(Arc<Server>, T, Arc<Connection>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_is_held_once() {
        type Io = TlsStream<TcpStream>;
        let (held, line) = (size(serve::<Io>), size_of::<Line<Io>>());
        assert!(held < line + 1024, "{held} for a line of {line}");
    }
}
