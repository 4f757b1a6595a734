//! A client of the service over HTTP/2: one connection, whose streams can be broken off alone.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use super::client::Target;
use crate::https;

/// An open connection.
pub(crate) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl Http2 {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there, or not whom the target trusts.
    pub(crate) async fn open(target: &Target) -> Result<Self> {
        let mut tls = (**target.tls.as_ref().context("a target without TLS")?).clone();
        tls.alpn_protocols = vec![b"h2".into()];
        let host = target.address.ip().to_string();
        let stream = https::open(&host, target.address.port(), Some(tls.into())).await?;
        let connection = http2::Builder::new(TokioExecutor::new());
        let (sender, driver) = connection.handshake(TokioIo::new(stream)).await?;
        let mut drivers = JoinSet::new();
        drivers.spawn(async move { drop(driver.await) });
        Ok(Self { sender, _driver: drivers })
    }

    /// Sends a request of the client with this number, and waits for the head of an answer
    /// with status 200. Dropping its body breaks it off.
    ///
    /// # Errors
    /// The connection breaks, or the status is another.
    pub(crate) async fn ask(
        &mut self,
        target: &Target,
        client: usize,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<Incoming> {
        let uri = format!("https://{}{}{path}", target.address, target.prefix);
        let mut request = Request::builder().method(method).uri(uri);
        if !target.tokens.is_empty() {
            let token = &target.tokens[client % target.tokens.len()];
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(body))?).await?;
        if answer.status() != StatusCode::OK {
            bail!("answered {}", answer.status());
        }
        Ok(answer.into_body())
    }
}

/// Reads a body to its end.
///
/// # Errors
/// It breaks off.
pub(crate) async fn read(mut body: Incoming) -> Result<()> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}
