//! Calls to one server.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, Uri};
use kube::client::Body;
use strait_machinery::json::{Value, parse};
use strait_net::read_body;
use tokio::sync::Semaphore;

use crate::{ApiError, HubTime};

/// Calls in flight at once; a watch counts until it is answered. More wait.
pub const CALLS_MAX: usize = 64;

/// Longest wait for an answer to anything but a watch's events.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Longest accepted wish of a server that one wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Text of a failure that is worth keeping.
const MESSAGE_CHARS_MAX: usize = 512;

/// Why there is no client.
pub type ClientError = Box<dyn Error + Send + Sync>;

/// Makes clients. Asked before every call, so that a renewed certificate or token is used from
/// the next call on: keep clients and make new ones only when a credential changes.
///
/// Servers are named by an endpoint slice, so by the other side: an implementation must refuse
/// those that the agent was not told to trust.
pub trait Clients: Send + Sync + 'static {
    /// A client for a server; request paths are relative to its URL.
    ///
    /// # Errors
    /// The server is not one of ours, or the credential cannot be used.
    fn client(&self, server: &Uri) -> Result<kube::Client, ClientError>;
}

/// One server. Clones share its limits.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    server: Uri,
    clients: Arc<dyn Clients>,
    calls: Semaphore,
    time: HubTime,
}

impl Api {
    /// A server by its URL.
    #[must_use]
    pub fn new(server: Uri, clients: Arc<dyn Clients>, time: HubTime) -> Self {
        Self(Arc::new(Inner { server, clients, calls: Semaphore::new(CALLS_MAX), time }))
    }

    /// What time it is there.
    #[must_use]
    pub fn time(&self) -> &HubTime {
        &self.0.time
    }

    /// Reads an object or a list of at most `limit` bytes.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn get(&self, path: &str, limit: usize) -> Result<Value, ApiError> {
        self.call(Method::GET, path, None, Bytes::new(), limit).await
    }

    /// Creates an object, or calls a subresource that is created; the answer has at most `limit`
    /// bytes.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Dropped, the object may have been created or not.
    pub async fn create(
        &self,
        path: &str,
        object: &Value,
        limit: usize,
    ) -> Result<Value, ApiError> {
        let body = Bytes::from(object.to_bytes());
        self.call(Method::POST, path, Some("application/json"), body, limit).await
    }

    /// Deletes an object; the answer, at most `limit` bytes, is the object or a Status.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Dropped, the object may have been deleted or not.
    pub async fn delete(&self, path: &str, limit: usize) -> Result<Value, ApiError> {
        self.call(Method::DELETE, path, None, Bytes::new(), limit).await
    }

    /// Sends a patch of that media type; the answer, at most `limit` bytes, is the object as it
    /// is then.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Dropped, the patch may have been applied or not.
    pub async fn patch(
        &self,
        path: &str,
        media_type: &'static str,
        patch: &Value,
        limit: usize,
    ) -> Result<Value, ApiError> {
        let body = Bytes::from(patch.to_bytes());
        self.call(Method::PATCH, path, Some(media_type), body, limit).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        media_type: Option<&'static str>,
        body: Bytes,
        limit: usize,
    ) -> Result<Value, ApiError> {
        let mut request =
            Request::builder().method(method).uri(path).header(ACCEPT, "application/json");
        if let Some(media_type) = media_type {
            request = request.header(CONTENT_TYPE, media_type);
        }
        let request = request.body(Body::from(body));
        let request = request.map_err(|_| ApiError::Malformed("a path that can be asked for"))?;
        let _permit = self.0.calls.acquire().await;
        let answered = async {
            let response = self.send(request).await?;
            let bytes = read_body(response.into_body(), limit, CALL_LIMIT).await?;
            parse(&bytes).map_err(|_| ApiError::Malformed("JSON"))
        };
        match tokio::time::timeout(CALL_LIMIT, answered).await {
            Ok(result) => result,
            Err(_) => Err(ApiError::TimedOut),
        }
    }

    /// Starts a stream of events.
    pub(crate) async fn watch(&self, path: &str) -> Result<Response<Body>, ApiError> {
        let request = Request::get(path).header(ACCEPT, "application/json").body(Body::empty());
        let request = request.map_err(|_| ApiError::Malformed("a path that can be asked for"))?;
        let _permit = self.0.calls.acquire().await;
        match tokio::time::timeout(CALL_LIMIT, self.send(request)).await {
            Ok(result) => result,
            Err(_) => Err(ApiError::TimedOut),
        }
    }

    /// Sends a request; any status but success is an error.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let server = &self.0.server;
        let client = self.0.clients.client(server).map_err(ApiError::Client)?;
        let response = client.send(request).await.map_err(|error| ApiError::Transport {
            server: server.clone(),
            source: Box::new(error),
        })?;
        if let Some(date) = response.headers().get(DATE) {
            self.0.time.learn(date.as_bytes());
        }
        if response.status().is_success() {
            return Ok(response);
        }
        Err(failure(response).await)
    }
}

async fn failure(response: Response<Body>) -> ApiError {
    let code = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let body = read_body(response.into_body(), 64 << 10, CALL_LIMIT).await;
    let status = body.ok().and_then(|body| parse(&body).ok()).unwrap_or_default();
    let text = |field: &str| {
        let text = status.str_at(&[field]).unwrap_or_default();
        text.chars().take(MESSAGE_CHARS_MAX).filter(|c| !c.is_control()).collect()
    };
    ApiError::Status { code, reason: text("reason"), message: text("message"), retry_after }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
