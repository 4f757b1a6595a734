//! Connections that are kept, for callers that may repeat a request.
//!
//! One pool goes to one target, over HTTP/1.1: no redirects, no proxies, no cookies. A connection
//! is driven by the call that uses it, and rests without a task between calls; there are never
//! more than calls were under way at a time. What the target closed meanwhile is noticed before
//! it is used, or before a byte was written: then the call goes on at once over a fresh
//! connection. Everything else that breaks is the caller's to repeat.
//!
//! HTTP/1.1 is spoken here by hand ([`link`]): a client that serves every use takes as much of a
//! processor for small requests as the kernel does for sending them.

mod answer;
mod link;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use rustls::ClientConfig;
use strait_runtime::Clock;
use tokio_rustls::TlsConnector;

use crate::body::BoxError;
use crate::client::CallError;
use crate::client::dial::Dialer;
use crate::client::target::Target;
use crate::egress::EgressPolicy;
use crate::resolve::Resolve;
use link::{Failed, Link};

pub use link::Outgoing;

/// Bytes of an answer's body that are read so that its connection can be kept.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Gives the TLS configuration of a new connection. It may read files: it is called where that
/// stops nobody.
pub type TlsSource = Arc<dyn Fn() -> Result<Arc<ClientConfig>, BoxError> + Send + Sync>;

/// How a pool reaches its target.
#[derive(Clone)]
pub struct PoolOptions {
    /// Without it only `http:` URLs.
    pub tls: Option<TlsSource>,
    /// The addresses that may be reached; asked at each connect.
    pub policy: EgressPolicy,
    /// Where addresses come from; asked at each connect.
    pub resolver: Arc<dyn Resolve>,
    /// Measures rest.
    pub clock: Arc<dyn Clock>,
    /// A connection that rested for so long is not used again. Less than the target's own limit,
    /// or requests meet a connection that is being closed.
    pub rest: Duration,
    /// Fields of answers that are given back.
    pub kept: Vec<HeaderName>,
    /// Connections that were opened.
    pub opened: Counter,
    /// Requests that went over a connection that was there.
    pub reused: Counter,
}

/// What a target answered. Its body was read and dropped.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers; of a [`Pool`] those that are kept.
    pub headers: HeaderMap,
}

/// Kept connections to one target.
pub struct Pool {
    target: Target,
    host: HeaderValue,
    dialer: Dialer,
    options: PoolOptions,
    /// The one that rested for longest first.
    resting: Mutex<Vec<Resting>>,
}

struct Resting {
    link: Link,
    since: Duration,
}

impl Pool {
    /// A pool for the scheme, host and port of `url`.
    ///
    /// # Errors
    /// [`CallError::Url`].
    pub fn new(url: &Uri, options: PoolOptions) -> Result<Self, CallError> {
        let dialer = Dialer { policy: options.policy.clone(), resolver: options.resolver.clone() };
        Ok(Self {
            target: Target::of(url, options.tls.is_some())?,
            host: Target::host_header(url)?,
            dialer,
            options,
            resting: Mutex::default(),
        })
    }

    /// The target's host and port.
    #[must_use]
    pub fn authority(&self) -> String {
        self.target.authority()
    }

    /// Sends a request whose URI is a path, and reads the answer, whatever its status; `Host` is
    /// the target's. Of the answer's body no more than [`ANSWER_BYTES_MAX`] is read, nor after
    /// the time is over: the status counts all the same.
    ///
    /// # Errors
    /// See [`CallError`]; never [`CallError::TooLarge`].
    ///
    /// # Cancel safety
    /// Dropped, the request may have been sent or not.
    pub async fn send(
        &self,
        request: impl Into<Outgoing>,
        time: Duration,
    ) -> Result<Answer, CallError> {
        let mut request = request.into();
        request.end(&self.host);
        let mut answer = None;
        let sent = AtomicBool::new(false);
        let exchange = self.exchange(&request, &sent, &mut answer);
        match tokio::time::timeout(time, exchange).await {
            Ok(result) => result?,
            Err(_) if answer.is_some() => {}
            Err(_) if sent.load(Ordering::Relaxed) => {
                return Err(CallError::AnswerTimedOut { host: self.authority() });
            }
            Err(_) => return Err(CallError::ConnectTimedOut { host: self.authority() }),
        }
        answer.ok_or_else(|| self.target.no_answer("the answer was lost"))
    }

    /// Closes what has rested for too long. When to come again, if anything is left.
    pub fn sweep(&self) -> Option<Duration> {
        let now = self.options.clock.monotonic();
        let mut resting = self.resting.lock();
        let over = resting.partition_point(|one| self.is_over(one, now));
        let closed: Vec<_> = resting.drain(..over).collect();
        let next = resting.first().map(|one| one.since + self.options.rest);
        drop(resting);
        drop(closed);
        next.map(|at| at.saturating_sub(now))
    }

    fn is_over(&self, one: &Resting, now: Duration) -> bool {
        now.saturating_sub(one.since) >= self.options.rest
    }

    /// `answer` is there as soon as its head is.
    async fn exchange(
        &self,
        request: &Outgoing,
        sent: &AtomicBool,
        answer: &mut Option<Answer>,
    ) -> Result<(), CallError> {
        if let Some(mut link) = self.rested().await {
            self.options.reused.inc();
            sent.store(true, Ordering::Relaxed);
            match link.exchange(request, &self.options.kept, answer).await {
                Ok(kept) => {
                    self.keep(link, kept);
                    return Ok(());
                }
                Err(Failed::Broken(why)) => return Err(self.target.no_answer(why)),
                Err(Failed::Unsent(_)) => sent.store(false, Ordering::Relaxed),
            }
        }
        // By itself: it is rare, and would make every call as large as a handshake.
        let mut link = Box::pin(self.connect()).await?;
        sent.store(true, Ordering::Relaxed);
        match link.exchange(request, &self.options.kept, answer).await {
            Ok(kept) => {
                self.keep(link, kept);
                Ok(())
            }
            Err(Failed::Broken(why)) => Err(self.target.no_answer(why)),
            Err(Failed::Unsent(error)) => Err(self.target.connect_failed(error)),
        }
    }

    /// A connection that is there, and not closed as far as is known.
    async fn rested(&self) -> Option<Link> {
        loop {
            let mut last = self.resting.lock().pop()?;
            let now = self.options.clock.monotonic();
            if !self.is_over(&last, now) && last.link.is_quiet().await {
                return Some(last.link);
            }
        }
    }

    async fn connect(&self) -> Result<Link, CallError> {
        let connector = match &self.options.tls {
            Some(source) if self.target.tls_name.is_some() => Some(self.read_tls(source).await?),
            _ => None,
        };
        let stream = self.dialer.dial(&self.target, connector.as_ref()).await?;
        self.options.opened.inc();
        Ok(Link::new(stream))
    }

    async fn read_tls(&self, source: &TlsSource) -> Result<TlsConnector, CallError> {
        let source = source.clone();
        let read = tokio::task::spawn_blocking(move || source()).await;
        let config = read.map_err(|error| self.target.connect_failed(error))?;
        Ok(TlsConnector::from(config.map_err(|error| self.target.connect_failed(error))?))
    }

    fn keep(&self, link: Link, kept: bool) {
        if kept {
            let since = self.options.clock.monotonic();
            self.resting.lock().push(Resting { link, since });
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("target", &self.target).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
