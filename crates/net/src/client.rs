//! Single HTTP calls that know whether they were sent.
//!
//! Each call has a connection of its own: what a kept connection does not tell, whether its
//! other end still listened when the request was written, is what a caller that must not repeat
//! an effect has to know. HTTP/1.1, no redirects, no proxies, no cookies.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use strait_types::{Classified, ErrorKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::body::{BodyError, BoxError, collect};
use crate::egress::{Denied, EgressPolicy, is_own};
use crate::resolve::{Resolve, SystemResolver};

/// Addresses of one host that are tried; more would only eat the time.
const ADDRESSES_MAX: usize = 16;

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
    policy: EgressPolicy,
    resolver: Arc<dyn Resolve>,
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
        Self { tls: tls.map(TlsConnector::from), policy, resolver }
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
        let request = target.prepare(request)?;
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
        let connected = tokio::time::timeout(limits.connect, self.connect(target));
        let Ok(stream) = connected.await else {
            return Err(CallError::ConnectTimedOut { host: target.authority() });
        };
        let stream = TokioIo::new(stream?);
        let (mut sender, connection) =
            http1::handshake(stream).await.map_err(|error| target.connect_failed(error))?;
        let answered = async {
            let response = send(target, &mut sender, request, sent).await?;
            read(target, response, limits.response_bytes).await
        };
        // Whoever ends first: the connection may close behind a whole answer.
        match select(std::pin::pin!(answered), std::pin::pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, answered)) => answered.await,
        }
    }

    async fn connect(&self, target: &Target) -> Result<Stream, CallError> {
        let stream = self.connect_tcp(target).await?;
        let Some((connector, name)) = self.tls.as_ref().zip(target.tls_name.clone()) else {
            return Ok(Box::new(stream));
        };
        let secured = connector.connect(name, stream).await;
        Ok(Box::new(secured.map_err(|error| target.connect_failed(error))?))
    }

    /// Resolves once, checks every address, and connects to one of those that were checked.
    async fn connect_tcp(&self, target: &Target) -> Result<TcpStream, CallError> {
        let resolved = self.resolver.resolve(&target.host).await;
        let addresses =
            resolved.map_err(|source| CallError::Resolve { host: target.host.clone(), source })?;
        let addresses = &addresses[..addresses.len().min(ADDRESSES_MAX)];
        for address in addresses {
            let own = is_own(address.to_canonical());
            self.policy.check(&target.host, *address, own)?;
        }
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect(SocketAddr::new(*address, target.port)).await {
                Ok(stream) => {
                    // Best effort: without it a call is only slower.
                    drop(stream.set_nodelay(true));
                    return Ok(stream);
                }
                Err(error) => failed = error,
            }
        }
        Err(target.connect_failed(failed))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("tls", &self.tls.is_some())
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Stream = Box<dyn Io>;

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

/// Where a call goes, taken from its URL.
#[derive(Debug)]
struct Target {
    host: String,
    port: u16,
    /// Set for `https`.
    tls_name: Option<ServerName<'static>>,
}

impl Target {
    fn of(url: &Uri, has_tls: bool) -> Result<Self, CallError> {
        let wrong = |why| CallError::Url { url: without_userinfo(url), why };
        let secure = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(wrong("it is neither http nor https")),
        };
        if secure && !has_tls {
            return Err(wrong("no certificates are trusted here"));
        }
        let authority = url.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it has a user or password"));
        }
        let host = authority.host();
        // An IPv6 address stands in brackets.
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let tls_name = match (secure, host.parse::<IpAddr>()) {
            (false, _) => None,
            (true, Ok(address)) => Some(ServerName::from(address)),
            (true, Err(_)) => {
                let name = ServerName::try_from(host.to_owned());
                Some(name.map_err(|_| wrong("its host is not a name"))?)
            }
        };
        Ok(Self {
            host: host.to_owned(),
            port: url.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            tls_name,
        })
    }

    /// For texts.
    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The request as it is written: the path alone, and the host in its field.
    fn prepare(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, CallError> {
        let mut request = request.map(Full::new);
        let url = std::mem::take(request.uri_mut());
        let wrong = |why| CallError::Url { url: without_userinfo(&url), why };
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::try_from(authority).map_err(|_| wrong("its host is malformed"))?;
        request.headers_mut().entry(header::HOST).or_insert(host);
        let close = HeaderValue::from_static("close");
        request.headers_mut().insert(header::CONNECTION, close);
        let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
        *request.uri_mut() = path.parse().map_err(|_| wrong("its path is malformed"))?;
        Ok(request)
    }

    fn connect_failed(&self, source: impl Into<BoxError>) -> CallError {
        CallError::Connect { host: self.authority(), source: source.into() }
    }

    fn no_answer(&self, source: impl Into<BoxError>) -> CallError {
        CallError::NoAnswer { host: self.authority(), source: source.into() }
    }
}

fn without_userinfo(url: &Uri) -> String {
    let text = url.to_string();
    let Some((before, after)) = text.split_once('@') else {
        return text;
    };
    let scheme = before.split_once("//").map_or("", |(scheme, _)| scheme);
    format!("{scheme}//…@{after}")
}

#[cfg(test)]
mod tests;
