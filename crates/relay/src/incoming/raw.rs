//! Connections whose bytes go to a service of the hub's as they are.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use socket2::SockRef;
use strait_runtime::Shutdown;
use strait_tunnel::{Class, OpenHead, RawHead};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::called::{Called, failure_of, name_of};
use super::full::Full;
use super::listener::{CONNECTIONS, Listener};
use crate::ask::{Meter as _, ending_of, pump, refused};
use crate::choice::{Ending, RETRIES_MAX};
use crate::link::{Receiver, Sender};
use crate::message::Failure;

/// A pause when the kernel has no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(super) trait Accept: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Lets a connection that is dropped look broken, as far as it can.
    fn breaks(stream: &Self::Stream);
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_keepalive(true)?;
        Ok(stream)
    }

    fn breaks(stream: &TcpStream) {
        // Best effort: else it looks like an end.
        drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
    }

    fn breaks(_: &UnixStream) {}
}

/// Takes connections until `stop`.
pub(super) async fn accept<A: Accept>(listener: Arc<Listener>, socket: A, stop: Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS as usize));
    let mut full = Full::default();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stop.asked() => return,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(err = %error, incoming = listener.to().listener, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            A::breaks(&stream);
            let incoming = &*listener.to().listener;
            listener.metrics.closed(incoming);
            if let Some(closed) = full.closed(listener.context.clock.monotonic()) {
                let limit = CONNECTIONS;
                tracing::warn!(incoming, limit, closed, "too many connections: they are closed");
            }
            continue;
        };
        let listener = listener.clone();
        listener.context.tasks.clone().spawn("incoming.raw", async move {
            carry::<A>(&listener, stream).await;
            drop(place);
        });
    }
}

async fn carry<A: Accept>(listener: &Arc<Listener>, stream: A::Stream) {
    let (to, id) = (listener.to(), listener.ids.next().to_string());
    let called = Called::new(listener, &to, (&id, ""), (&Method::CONNECT, "", true));
    let failure = match connect(&called).await {
        Ok((receiver, sender)) => {
            let (stream, ended) = pump(stream, receiver, sender, &called).await;
            if ended.is_err() {
                A::breaks(&stream);
            }
            return;
        }
        Err(failure) => failure,
    };
    A::breaks(&stream);
    let (reason, text) = (failure.reason(), failure.text(&name_of(&to)));
    tracing::debug!(target: "strait::access", incoming = to.listener, reason, text, id, "refused");
}

/// Opens the stream; returns once the hub has connected to the service.
async fn connect(called: &Called) -> Result<(Receiver, Sender), Failure> {
    let open = RawHead::new(&called.tlvs()).map(OpenHead::Raw).map_err(refused)?;
    let mut tried = Vec::new();
    loop {
        let chosen = called.choose(&mut tried)?;
        if tried.len() == 1 {
            called.record().await?;
        }
        let end = match chosen.link.open(&open, Class::Normal, false) {
            Err(error) => ending_of(error),
            Ok(stream) => {
                let (mut receiver, sender) = stream.split();
                called.taken(&sender);
                match receiver.accepted().await {
                    Ok(()) => return Ok((receiver, sender)),
                    Err(end) => end,
                }
            }
        };
        called.ended(Some(&end));
        let failure = failure_of(&end);
        let may_repeat = Ending::of(&end) == Ending::Unexecuted && failure != Failure::NotOffered;
        if !may_repeat || tried.len() > RETRIES_MAX as usize {
            return Err(failure);
        }
    }
}
