//! Connections that become another protocol: HTTP/1.1's by `Upgrade` (RFC 9110 §7.8), a stream of
//! HTTP/2 by an extended CONNECT (RFC 8441).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io};

use http::Request;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::server::Io;

/// The connection of a request, if its answer makes another protocol of it: it resolves once that
/// answer was sent.
pub struct OnUpgrade(Kind);

enum Kind {
    /// Nobody asked for another protocol.
    Never,
    Http1(oneshot::Receiver<Upgraded>),
    Http2(hyper::upgrade::OnUpgrade),
}

/// A connection that became another protocol.
pub type Upgraded = Box<dyn Io>;

/// Where the connection of a request that asks for another protocol is found.
#[derive(Clone)]
pub(crate) struct Wish(Arc<Mutex<Option<OnUpgrade>>>);

impl Wish {
    pub(crate) fn new(on_upgrade: OnUpgrade) -> Self {
        Self(Arc::new(Mutex::new(Some(on_upgrade))))
    }
}

impl OnUpgrade {
    /// A connection of HTTP/1.1, if somebody asked for another protocol.
    pub(crate) fn http1(another: Option<oneshot::Receiver<Upgraded>>) -> Self {
        Self(another.map_or(Kind::Never, Kind::Http1))
    }

    /// Takes it out of a request, once.
    pub fn of<B>(request: &mut Request<B>) -> Self {
        if let Some(Wish(own)) = request.extensions_mut().remove() {
            return own.lock().take().unwrap_or(Self(Kind::Never));
        }
        // HTTP/2's is there whether it was asked for or not.
        Self(Kind::Http2(hyper::upgrade::on(request)))
    }
}

impl Future for OnUpgrade {
    type Output = io::Result<Upgraded>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let other = |_| io::Error::other("the connection did not become another protocol");
        match &mut self.0 {
            Kind::Never => Poll::Ready(Err(other(()))),
            Kind::Http1(own) => Pin::new(own).poll(context).map_err(|_| other(())),
            Kind::Http2(own) => Pin::new(own)
                .poll(context)
                .map_ok(|upgraded| Box::new(TokioIo::new(upgraded)) as Upgraded)
                .map_err(io::Error::other),
        }
    }
}

impl fmt::Debug for OnUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnUpgrade")
    }
}
