//! The operators' listener of the hooks, as commands reach it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use http::header::HOST;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use kube::client::Body as KubeBody;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use strait_machinery::json::{self, Value};
use strait_net::{Body, BoxError, read_body};
use strait_runtime::fs::read_capped;
use strait_runtime::{Metrics, TaskSet};
use strait_types::Report;
use tokio::net::UnixStream;

use crate::client::{split, unread};
use crate::exit::{Exit, Failure};

/// Where a hub serves the hooks' operators.
const HUB_PREFIX: &str = "/hooks";

/// Largest answer that is read whole, bytes.
const ANSWER_MAX: usize = 64 << 20;
const ANSWER_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Largest file of authorities, bytes.
const CA_MAX: usize = 1 << 20;

/// Where the hooks are served, and who asks.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// Operators' listener of `strait hooks serve`: an http or https URL, or unix:PATH [default: the hub of the kubeconfig]
    #[arg(long, env = "STRAIT_HOOKS_SERVER", value_name = "URL", global = true)]
    server: Option<String>,

    /// File with the token for it
    #[arg(long, env = "STRAIT_HOOKS_TOKEN_FILE", value_name = "FILE", global = true)]
    token_file: Option<String>,

    /// File with the CA that its certificate must come from [default: those of the machine]
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,

    /// Kubeconfig file of a hub [default: the files in KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "server")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", global = true, conflicts_with = "server")]
    context: Option<String>,
}

/// A server that can be asked.
pub(crate) struct Server {
    way: Way,
    /// For messages.
    name: String,
}

enum Way {
    Http { client: kube::Client, prefix: &'static str },
    Unix { socket: PathBuf, tasks: TaskSet },
}

impl Server {
    /// The server that the arguments name.
    ///
    /// # Errors
    /// They name none, or a file cannot be used.
    pub(crate) async fn open(args: &ServerArgs) -> Result<Self, Failure> {
        let Some(server) = &args.server else {
            return Self::hub(args).await;
        };
        if let Some(path) = server.strip_prefix("unix:") {
            // Both unix:/path and unix:///path.
            let path = path.strip_prefix("//").unwrap_or(path);
            let tasks = TaskSet::new(&Metrics::new());
            return Ok(Self {
                way: Way::Unix { socket: path.into(), tasks },
                name: server.clone(),
            });
        }
        let mut config = kube::Config::new(url(server, args.token_file.is_some())?);
        config.read_timeout = None;
        config.auth_info.token_file.clone_from(&args.token_file);
        if let Some(path) = &args.ca {
            config.root_cert = Some(authorities(path)?);
        }
        Self::http(config, "", server.clone())
    }

    async fn hub(args: &ServerArgs) -> Result<Self, Failure> {
        let kubeconfig = match &args.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let mistake = |error: &KubeconfigError| {
            let hint = "give --server URL, or a hub's --kubeconfig FILE";
            Failure::usage(vec![format!("{}; {hint}", unread(error))])
        };
        let kubeconfig = kubeconfig.map_err(|error| mistake(&error))?;
        let options =
            KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.map_err(|error| mistake(&error))?;
        config.cluster_url = split(&config.cluster_url).0;
        config.read_timeout = None;
        let name = config.cluster_url.to_string();
        Self::http(config, HUB_PREFIX, name)
    }

    fn http(mut config: kube::Config, prefix: &'static str, name: String) -> Result<Self, Failure> {
        // A reply that is late may be that of an action which was done.
        config.default_retry = false;
        let client = kube::Client::try_from(config);
        let client = client.map_err(|error| Failure::usage(vec![Report(&error).to_string()]))?;
        Ok(Self { way: Way::Http { client, prefix }, name })
    }

    /// Asks, and returns the answer's body as it comes.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> Result<Body, Failure> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| {
            let why = format!("cannot reach the hooks at {}: {}", self.name, Report(error));
            Failure::failed(&format!("{why}; is it running, and is this its operators' listener?"))
        };
        let sent = match &self.way {
            Way::Http { client, prefix } => {
                let request = request(method, &format!("{prefix}{path}"), KubeBody::empty());
                let response = client.send(request?).await;
                response.map(|response| response.map(Body::stream)).map_err(BoxError::from)
            }
            Way::Unix { socket, tasks } => {
                let request = request(method, path, Empty::<Bytes>::new());
                unix(socket, tasks, request?).await
            }
        };
        let response = sent.map_err(|error| unreachable(&*error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = read_body(response.into_body(), ANSWER_MAX, ANSWER_LIMIT).await;
        Err(refusal(status, &body.unwrap_or_default()))
    }

    /// Asks, and returns an answer that is JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        let body = self.ask(Method::GET, path).await?;
        let bytes = read_body(body, ANSWER_MAX, ANSWER_LIMIT).await?;
        json::parse(&bytes).map_err(|_| foreign(&self.name))
    }
}

fn foreign(name: &str) -> Failure {
    Failure::failed(&format!("{name} does not answer as the hooks' operators' listener does"))
}

/// The lines of a body.
pub(crate) struct Lines {
    body: Body,
    buffer: Vec<u8>,
}

impl Lines {
    pub(crate) const fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new() }
    }

    /// The next one; none at the end, or where the connection broke.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return json::parse(&line).ok();
            }
            let data = self.body.frame().await?.ok()?.into_data().unwrap_or_default();
            if self.buffer.len() + data.len() > ANSWER_MAX {
                return None;
            }
            self.buffer.extend_from_slice(&data);
        }
    }
}

fn url(text: &str, has_token: bool) -> Result<Uri, Failure> {
    let wrong = |why: &str| Failure::usage(vec![format!("--server: {text:?} {why}")]);
    let url = text.parse::<Uri>().ok().filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.query().is_none()
            && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    let url =
        url.ok_or_else(|| wrong("is neither http://HOST:PORT, https://HOST:PORT nor unix:PATH"))?;
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if url.scheme_str() == Some("http") && has_token && !is_local {
        return Err(wrong("would send the token in the clear; use https"));
    }
    Ok(url)
}

fn authorities(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let wrong = |why: String| Failure::usage(vec![format!("--ca: {why}")]);
    let bytes = read_capped(path, CA_MAX).map_err(|error| wrong(Report(&error).to_string()))?;
    let each = CertificateDer::pem_slice_iter(&bytes);
    let found: Vec<Vec<u8>> = each.filter_map(Result::ok).map(|one| one.to_vec()).collect();
    if found.is_empty() {
        return Err(wrong(format!("{} holds no certificate in PEM", path.display())));
    }
    Ok(found)
}

fn request<B>(method: Method, path: &str, body: B) -> Result<Request<B>, Failure> {
    let request = Request::builder().method(method).uri(path).body(body);
    request.map_err(|_| Failure::usage(vec![format!("{path:?} cannot be asked for")]))
}

async fn unix(
    socket: &Path,
    tasks: &TaskSet,
    mut request: Request<Empty<Bytes>>,
) -> Result<Response<Body>, BoxError> {
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().insert(HOST, host);
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tasks.spawn_daemon("connection", connection);
    Ok(sender.send_request(request).await?.map(Body::stream))
}

/// What a refused request makes of the program's end.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let told = json::parse(body).ok();
    let told = told.as_ref().and_then(|status| status.str_at(&["message"]));
    let why = told.map_or_else(|| format!("the server answered {status}"), str::to_owned);
    let (exit, hint) = match status.as_u16() {
        400 => (Exit::Usage, ""),
        401 => (Exit::NotAllowed, "; give --token-file FILE with a token that the server takes"),
        403 => (Exit::NotAllowed, "; ask who runs it for that permission"),
        404 if told.is_none() => (Exit::Failed, "; is --server the operators' listener?"),
        404 | 410 => (Exit::No, ""),
        _ => (Exit::Failed, ""),
    };
    Failure { exit, lines: vec![format!("{why}{hint}")] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_sent_in_the_clear() {
        for (text, has_token, why) in [
            ("https://h:1/base", true, ""),
            ("http://127.0.0.1:1", true, ""),
            ("http://[::1]:1", true, ""),
            ("http://localhost:1", true, ""),
            ("http://h:1", false, ""),
            ("http://h:1", true, "in the clear"),
            ("http://127.0.0.1.example:1", true, "in the clear"),
            ("h:1", false, "neither"),
            ("ftp://h", false, "neither"),
            ("https://u:p@h", false, "neither"),
            ("https://h?x=1", false, "neither"),
        ] {
            match url(text, has_token) {
                Ok(_) => assert_eq!(why, "", "{text}"),
                Err(failure) => {
                    assert_eq!(failure.exit, Exit::Usage);
                    assert!(!why.is_empty() && failure.lines[0].contains(why), "{text}");
                }
            }
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let status = |message: &str| format!("{{\"message\":\"{message}\"}}");
        for (code, body, exit, text) in [
            (401, status("Unauthorized"), Exit::NotAllowed, "Unauthorized; give --token-file"),
            (403, status("no"), Exit::NotAllowed, "no; ask who runs it"),
            (400, status("since: x"), Exit::Usage, "since: x"),
            (404, status("events 7 not found"), Exit::No, "events 7 not found"),
            (404, "<html>".to_owned(), Exit::Failed, "is --server the operators' listener?"),
            (410, status("event 7 was purged"), Exit::No, "event 7 was purged"),
            (503, status("later"), Exit::Failed, "later"),
            (500, String::new(), Exit::Failed, "the server answered 500"),
        ] {
            let failure = refusal(StatusCode::from_u16(code).unwrap(), body.as_bytes());
            assert_eq!(failure.exit, exit, "{code}");
            assert!(failure.lines[0].contains(text), "{:?}", failure.lines);
        }
    }
}
