//! Connections to a raw service, through its hub.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_relay::websocket::{BadAnswer, Closed, Key, Pipe, Role, Subprotocol};
use strait_runtime::Context;
use strait_types::{Redacted, Report};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::{SERVICES, ServiceName};
use crate::client::{Workspace, innermost};
use crate::exit::Failure;
use crate::objects::missing;

/// Most of a refusal that is shown, bytes.
const REFUSAL_MAX: usize = 4 << 10;

/// Largest file of a token, bytes.
const TOKEN_MAX: usize = 16 << 10;

/// What is read at once, in each direction.
const CHUNK: usize = 64 << 10;

/// Time for a connection to be made, the service's included.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);

/// Where credentials for a service come from.
pub(super) enum Tokens {
    /// A file; read for each connection.
    File(PathBuf),
    /// The hub, for whom the kubeconfig is.
    Made(Mutex<Option<Made>>),
}

pub(super) struct Made {
    token: Redacted<String>,
    /// On the monotonic clock.
    renew_at: Duration,
}

/// Connects to one service.
pub(super) struct Dialer {
    context: Context,
    workspace: Workspace,
    client: kube::Client,
    name: ServiceName,
    tokens: Tokens,
}

/// A connection could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Token(strait_runtime::fs::FsError),
    #[error("{} holds no token", .0.display())]
    NoToken(PathBuf),
    #[error("the hub's token is malformed")]
    NoneMade,
    #[error("{}", .0.lines.join("; "))]
    NotMade(Failure),
    #[error("the hub cannot be reached: {}", innermost(.0))]
    Unreachable(kube::Error),
    #[error("the hub took too long")]
    TimedOut,
    #[error("the hub did not answer as it should")]
    Answer(#[from] BadAnswer),
    #[error("the hub broke off")]
    Broken(#[from] hyper::Error),
}

impl Dialer {
    /// Nothing is connected yet; but a token is made, so that mistakes show.
    pub(super) async fn new(
        context: &Context,
        workspace: Workspace,
        name: ServiceName,
        token_file: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let tokens = token_file.map_or_else(|| Tokens::Made(Mutex::default()), Tokens::File);
        let client = workspace.anonymous()?;
        let dialer = Self { context: context.clone(), workspace, client, name, tokens };
        dialer.token().await.map_err(|error| match error {
            DialError::NotMade(failure) => failure,
            error => Failure::usage(vec![format!("--token-file: {}", Report(&error))]),
        })?;
        Ok(dialer)
    }

    /// A connection.
    async fn open(&self) -> Result<Pipe<TokioIo<Upgraded>>, DialError> {
        let opened = async {
            match self.ask().await? {
                Ok(pipe) => Ok(pipe),
                // What was made before may have been revoked since.
                Err((StatusCode::UNAUTHORIZED, _)) if self.forget().await => {
                    self.ask().await?.map_err(|(_, text)| DialError::Refused(text))
                }
                Err((_, text)) => Err(DialError::Refused(text)),
            }
        };
        tokio::time::timeout(CONNECT_WITHIN, opened).await.unwrap_or(Err(DialError::TimedOut))
    }

    async fn ask(
        &self,
    ) -> Result<Result<Pipe<TokioIo<Upgraded>>, (StatusCode, String)>, DialError> {
        let token = self.token().await?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut bearer = bearer.map_err(|_| DialError::NoneMade)?;
        bearer.set_sensitive(true);
        let key = Key::new(Subprotocol::Raw, &*self.context.entropy);
        let mut request = Request::new(kube::client::Body::empty());
        *request.uri_mut() =
            http::Uri::try_from(self.workspace.path(&format!("/services/relay/{}", self.name)))
                .expect("names and workspaces stand in a path");
        key.put(request.headers_mut());
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let mut answer = self.client.send(request).await.map_err(DialError::Unreachable)?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = answer.status();
            let body = Limited::new(answer.into_body(), REFUSAL_MAX).collect().await;
            let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
            let text = text.unwrap_or_else(|_| format!("the hub answered {status}"));
            return Ok(Err((status, text.trim_end().to_owned())));
        }
        key.check(answer.status(), answer.headers())?;
        let upgraded = hyper::upgrade::on(&mut answer).await?;
        Ok(Ok(Pipe::new(TokioIo::new(upgraded), Role::Client).await))
    }

    /// A token that is good for a while.
    async fn token(&self) -> Result<Redacted<String>, DialError> {
        let made = match &self.tokens {
            Tokens::File(path) => {
                let text = strait_runtime::fs::read_capped(path, TOKEN_MAX);
                let text = text.map_err(DialError::Token)?;
                let text = String::from_utf8_lossy(&text).trim().to_owned();
                let is_one = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
                return is_one
                    .then(|| Redacted::new(text))
                    .ok_or_else(|| DialError::NoToken(path.clone()));
            }
            Tokens::Made(made) => made,
        };
        // Held while one is made: others wait for that one.
        let mut made = made.lock().await;
        let now = self.context.clock.monotonic();
        if let Some(made) = made.as_ref().filter(|made| now < made.renew_at) {
            return Ok(made.token.clone());
        }
        let path = format!("{}/{}/credentials", SERVICES.collection, self.name.object());
        let options = object! {"verbs": ["create"].into_iter().collect::<Value>()};
        let answer = match self.workspace.create(&path, &options).await {
            Ok(answer) => answer,
            Err(error) => {
                let (name, workspace) = (self.name.to_string(), &self.workspace);
                let failure = missing(&SERVICES, &name, workspace, &error).await;
                return Err(DialError::NotMade(failure));
            }
        };
        let text = |key: &str| answer.str_at(&[key]).unwrap_or_default();
        let token = Redacted::new(text("token").to_owned());
        let life = text("expires").parse::<Timestamp>().ok();
        let life = life.map(|end| end.duration_since(self.context.clock.now()));
        let life = life.and_then(|life| Duration::try_from(life).ok()).unwrap_or_default();
        *made = Some(Made { token: token.clone(), renew_at: now + life * 2 / 3 });
        Ok(token)
    }

    /// Whether another token can be made.
    async fn forget(&self) -> bool {
        match &self.tokens {
            Tokens::File(_) => false,
            Tokens::Made(made) => made.lock().await.take().is_some(),
        }
    }

    /// Carries a local connection to the service, each direction to its own end. What breaks off
    /// looks so to the local program.
    ///
    /// # Errors
    /// Why it could not be carried or broke off, if that is not the local program's doing.
    pub(super) async fn carry(&self, local: &mut TcpStream) -> Result<(), String> {
        let reset = |local: &TcpStream| {
            // Best effort: it is closed in any case.
            let _ = rustix::net::sockopt::set_socket_linger(local, Some(Duration::ZERO));
        };
        let mut pipe = self.open().await.map_err(|error| {
            reset(local);
            Report(&error).to_string()
        })?;
        match copy_bidirectional_with_sizes(local, &mut pipe, CHUNK, CHUNK).await {
            Ok(_) => {
                pipe.close(1000, "").await;
                Ok(())
            }
            Err(error) => {
                reset(local);
                Closed::find(&error).map_or_else(
                    || Err(format!("the connection broke off: {error}")),
                    |closed| Err(shown(&closed.reason)),
                )
            }
        }
    }
}

/// Text of the hub's, without what would move a terminal's cursor.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
