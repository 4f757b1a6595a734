//! Single HTTP calls that know whether they were sent.
//!
//! Each call has a connection of its own: what a kept connection does not tell, whether its
//! other end still listened when the request was written, is what a caller that must not repeat
//! an effect has to know. HTTP/1.1, no redirects, no proxies, no cookies.

pub(crate) mod dial;
pub(crate) mod target;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use strait_types::{Classified, ErrorKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use self::dial::Dialer;
use self::target::{Target, without_userinfo};
use crate::body::{BodyError, BoxError, collect};
use crate::egress::{Denied, EgressPolicy};
use crate::resolve::{Resolve, SystemResolver};

/// How long a call may take and how much it may bring back.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Until the request can be sent: name, connection, handshake.
    pub connect: Duration,
    /// Until the answer was read.
    pub total: Duration,
    /// The answer's body. Its head is bounded by hyper.
    pub response_bytes: usize,
}

/// A call brought no whole answer. For operators: texts name hosts and addresses.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The URL cannot be called. Nothing was sent.
    #[error("cannot call {url}: {why}")]
    Url {
        /// The URL, without what could be a password.
        url: String,
        /// In a few words.
        why: &'static str,
    },
    /// The policy forbids the address. Nothing was sent.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The host has no address. Nothing was sent.
    #[error("cannot resolve {host}")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address took the connection, or its handshake failed. Nothing was sent.
    #[error("cannot connect to {host}")]
    Connect {
        /// The host and port.
        host: String,
        /// What the last address said.
        #[source]
        source: BoxError,
    },
    /// The time was over before the request was sent. Nothing was.
    #[error("connecting to {host} took too long")]
    ConnectTimedOut {
        /// The host and port.
        host: String,
    },
    /// The request was sent, at least in part, and no whole answer came: whether it had its
    /// effect is unknown.
    #[error("{host} took the request and gave no whole answer")]
    NoAnswer {
        /// The host and port.
        host: String,
        /// What broke.
        #[source]
        source: BoxError,
    },
    /// The request was sent, and the time was over before the answer was read: whether it had
    /// its effect is unknown.
    #[error("{host} took the request and did not answer in time")]
    AnswerTimedOut {
        /// The host and port.
        host: String,
    },
    /// The answer is larger than allowed. Its status is known.
    #[error("the answer of {host} is larger than {limit} bytes")]
    TooLarge {
        /// The host and port.
        host: String,
        /// The answer's status.
        status: StatusCode,
        /// In bytes.
        limit: usize,
    },
}

impl CallError {
    /// Whether it is certain that no byte of the request was sent: another try repeats nothing.
    #[must_use]
    pub const fn nothing_was_sent(&self) -> bool {
        match self {
            Self::Url { .. }
            | Self::Denied(_)
            | Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::ConnectTimedOut { .. } => true,
            Self::NoAnswer { .. } | Self::AnswerTimedOut { .. } | Self::TooLarge { .. } => false,
        }
    }
}

impl Classified for CallError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url { .. } => ErrorKind::User,
            Self::Denied(denied) => denied.kind(),
            Self::Resolve { .. } | Self::Connect { .. } | Self::NoAnswer { .. } => {
                ErrorKind::Upstream
            }
            Self::ConnectTimedOut { .. } | Self::AnswerTimedOut { .. } => ErrorKind::Timeout,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
        }
    }
}

/// Makes calls. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    tls: Option<TlsConnector>,
    dialer: Dialer,
}

impl Client {
    /// A client that may reach what `policy` allows; without `tls` only `http:` URLs.
    #[must_use]
    pub fn new(tls: Option<Arc<ClientConfig>>, policy: EgressPolicy) -> Self {
        Self::with_resolver(tls, policy, Arc::new(SystemResolver))
    }

    /// As [`new`](Self::new), with another source of addresses.
    #[must_use]
    pub fn with_resolver(
        tls: Option<Arc<ClientConfig>>,
        policy: EgressPolicy,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        Self { tls: tls.map(TlsConnector::from), dialer: Dialer { policy, resolver } }
    }

    /// Sends a request whose URI is absolute and reads the answer, whatever its status. `Host`
    /// is set from the URI unless the request has one.
    ///
    /// # Errors
    /// See [`CallError`].
    ///
    /// # Cancel safety
    /// Dropped, the request may have been sent or not.
    pub async fn call(
        &self,
        request: Request<Bytes>,
        limits: &CallLimits,
    ) -> Result<Response<Bytes>, CallError> {
        let target = Target::of(request.uri(), self.tls.is_some())?;
        let request = prepare(request)?;
        let sent = AtomicBool::new(false);
        let exchange = self.exchange(&target, request, limits, &sent);
        match tokio::time::timeout(limits.total, exchange).await {
            Ok(result) => result,
            Err(_) if sent.load(Ordering::Relaxed) => {
                Err(CallError::AnswerTimedOut { host: target.authority() })
            }
            Err(_) => Err(CallError::ConnectTimedOut { host: target.authority() }),
        }
    }

    async fn exchange(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
        limits: &CallLimits,
        sent: &AtomicBool,
    ) -> Result<Response<Bytes>, CallError> {
        let connected =
            tokio::time::timeout(limits.connect, self.dialer.dial(target, self.tls.as_ref()));
        let Ok(stream) = connected.await else {
            return Err(CallError::ConnectTimedOut { host: target.authority() });
        };
        converse(stream?, target, request, limits.response_bytes, sent).await
    }
}

/// Makes one call over a connection that is there, to where the request's URI says: it is not
/// looked at who that is. Of `limits`, the time to connect is not used.
///
/// # Errors
/// See [`CallError`].
///
/// # Cancel safety
/// As [`Client::call`].
pub async fn call_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    request: Request<Bytes>,
    limits: &CallLimits,
) -> Result<Response<Bytes>, CallError> {
    let target = Target::of(request.uri(), true)?;
    let (request, sent) = (prepare(request)?, AtomicBool::new(true));
    let exchange = converse(stream, &target, request, limits.response_bytes, &sent);
    let late = |_| CallError::AnswerTimedOut { host: target.authority() };
    tokio::time::timeout(limits.total, exchange).await.map_err(late)?
}

/// One exchange on a connection of its own.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    target: &Target,
    request: Request<Full<Bytes>>,
    limit: usize,
    sent: &AtomicBool,
) -> Result<Response<Bytes>, CallError> {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| target.connect_failed(error))?;
    let answered = async {
        let response = send(target, &mut sender, request, sent).await?;
        read(target, response, limit).await
    };
    // Whoever ends first: the connection may close behind a whole answer.
    match select(std::pin::pin!(answered), std::pin::pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, answered)) => answered.await,
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("tls", &self.tls.is_some())
            .field("policy", &self.dialer.policy)
            .finish_non_exhaustive()
    }
}

/// The request as it is written: the path alone, and the host in its field.
fn prepare(request: Request<Bytes>) -> Result<Request<Full<Bytes>>, CallError> {
    let mut request = request.map(Full::new);
    let url = std::mem::take(request.uri_mut());
    let host = Target::host_header(&url)?;
    request.headers_mut().entry(header::HOST).or_insert(host);
    let close = HeaderValue::from_static("close");
    request.headers_mut().insert(header::CONNECTION, close);
    let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
    let malformed =
        |_| CallError::Url { url: without_userinfo(&url), why: "its path is malformed" };
    *request.uri_mut() = path.parse().map_err(malformed)?;
    Ok(request)
}

async fn send(
    target: &Target,
    sender: &mut http1::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    sent: &AtomicBool,
) -> Result<Response<Incoming>, CallError> {
    sender.ready().await.map_err(|error| target.connect_failed(error))?;
    sent.store(true, Ordering::Relaxed);
    sender.try_send_request(request).await.map_err(|mut error| {
        // Given back, it never reached the connection.
        let unsent = error.take_message().is_some();
        let error = error.into_error();
        if unsent { target.connect_failed(error) } else { target.no_answer(error) }
    })
}

async fn read(
    target: &Target,
    response: Response<Incoming>,
    limit: usize,
) -> Result<Response<Bytes>, CallError> {
    let (head, body) = response.into_parts();
    match collect(body, limit).await {
        Ok(body) => Ok(Response::from_parts(head, body)),
        Err(BodyError::TooLarge { limit }) => {
            Err(CallError::TooLarge { host: target.authority(), status: head.status, limit })
        }
        Err(error) => Err(target.no_answer(error)),
    }
}

#[cfg(test)]
mod tests;
