//! A client whose hub may be gone at any moment.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use strait_pki::{Authority, ClientIdentity, ClientSubject, client_config};
use strait_runtime::{SystemClock, SystemEntropy};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The hub is gone; whether it did what it was asked for is unknown.
#[derive(Debug)]
pub(crate) struct Gone(#[expect(dead_code, reason = "for the message of a panic")] String);

/// Keeps what the library said.
fn gone(error: impl std::fmt::Debug) -> Gone {
    Gone(format!("{error:?}"))
}

/// How to reach a hub with every right.
#[derive(Clone)]
pub(crate) struct Access {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
}

impl Access {
    /// Of the hub of that data directory.
    pub(crate) fn new(data: &Path, address: SocketAddr) -> Self {
        strait_pki::install_provider();
        let clock = Arc::new(SystemClock);
        let authority = Authority::load(&data.join("pki"), clock.clone(), Arc::new(SystemEntropy));
        let authority = authority.unwrap().unwrap();
        let group = Some("system:masters".to_owned());
        let subject = ClientSubject { user: "admin".to_owned(), group, uri: None };
        let issued = authority.issue_client(&subject, Duration::from_secs(3600)).unwrap();
        let (chain, key) = (issued.certificate_pem(), issued.key_pem().unwrap());
        let identity = ClientIdentity::from_pem(chain.as_bytes(), key.expose().as_bytes());
        let bundle = authority.bundle().unwrap();
        let tls = client_config(&bundle, Some(identity.unwrap()), clock).unwrap();
        Self { address, tls }
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Connection, Gone> {
        let stream = TcpStream::connect(self.address).await.map_err(gone)?;
        stream.set_nodelay(true).map_err(gone)?;
        let connector = tokio_rustls::TlsConnector::from(self.tls.clone());
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let stream = connector.connect(name, stream).await.map_err(gone)?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(gone)?;
        tokio::spawn(connection);
        Ok(Connection { sender, host: self.address.to_string() })
    }

    /// One call on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String), Gone> {
        self.connect().await?.call(Method::GET, path, None).await
    }

    /// One object or list, which must be there.
    pub(crate) async fn read(&self, path: &str) -> Result<Value, String> {
        match self.get(path).await {
            Ok((200, text)) => Ok(serde_json::from_str(&text).unwrap()),
            other => Err(format!("{path}: {other:?}")),
        }
    }
}

/// A connection; one call after the other.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Makes a call.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, String), Gone> {
        let answer = async {
            let response = self.send(method, path, body).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(gone)?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer, or the hub's end")
    }

    /// Opens a watch.
    pub(crate) async fn watch(mut self, path: &str) -> Result<Events, Gone> {
        let response = self.send(Method::GET, path, None).await?;
        assert_eq!(response.status(), 200, "{path}");
        Ok(Events { body: response.into_body(), read: Vec::new(), _connection: self })
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<http::Response<Incoming>, Gone> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)));
        self.sender.ready().await.map_err(gone)?;
        self.sender.send_request(request.unwrap()).await.map_err(gone)
    }
}

/// The events of a watch.
pub(crate) struct Events {
    body: Incoming,
    read: Vec<u8>,
    _connection: Connection,
}

impl Events {
    /// The next event, with its type and object.
    pub(crate) async fn next(&mut self) -> Result<Value, Gone> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line).expect("an event is JSON"));
            }
            let frame = self.body.frame().await.ok_or_else(|| gone("the end"))?.map_err(gone)?;
            self.read.extend_from_slice(frame.data_ref().ok_or_else(|| gone("trailers"))?);
        }
    }
}
