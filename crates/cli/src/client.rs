//! The hub, as client commands reach it: through a kubeconfig, like kubectl.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::Uri;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use strait_machinery::json::Value;
use strait_reconcile::{Api, ApiError, ClientError, Clients, HubTime};
use strait_runtime::SystemClock;
use strait_types::Report;

use crate::exit::{Exit, Failure};

/// Largest answer that is read, bytes.
const ANSWER_MAX: usize = 16 << 20;

/// Objects that are asked for at a time.
const PAGE: usize = 500;

/// Which hub, and which workspace of it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Hub")]
pub(crate) struct ClientArgs {
    /// Kubeconfig file [default: the files in KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) context: Option<String>,

    /// Workspace, as a path (`root:demo`) or logical cluster; that of the context unless said
    #[arg(long, env = "STRAIT_WORKSPACE", value_name = "PATH", global = true)]
    pub(crate) workspace: Option<String>,
}

/// A workspace of a hub.
#[derive(Clone)]
pub(crate) struct Workspace {
    api: Api,
    /// As the user wrote it.
    name: String,
    config: Box<kube::Config>,
}

impl Workspace {
    /// The workspace that the arguments name.
    ///
    /// # Errors
    /// The kubeconfig cannot be read, or names no server.
    pub(crate) async fn open(args: &ClientArgs) -> Result<Self, Failure> {
        let kubeconfig = match &args.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let mistake =
            |error: &(dyn Error + 'static)| Failure::usage(vec![Report(error).to_string()]);
        let kubeconfig = kubeconfig.map_err(|error| {
            let hint = "--kubeconfig or KUBECONFIG names one; a hub keeps admin.kubeconfig in its data directory";
            Failure::usage(vec![unread(&error), hint.to_owned()])
        })?;
        let options =
            KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.map_err(|error| mistake(&error))?;
        let (server, of_context) = split(&config.cluster_url);
        let name = args.workspace.clone().or(of_context).unwrap_or_else(|| "root".to_owned());
        if !is_name(&name) {
            return Err(Failure::usage(vec![format!(
                "--workspace: {name:?} is no path of a workspace, for example root:demo"
            )]));
        }
        config.cluster_url = server.clone();
        // What is refused is told at once; and a gateway that waits no longer may have passed it on.
        config.default_retry = false;
        let client = kube::Client::try_from(config.clone()).map_err(|error| mistake(&error))?;
        let time = HubTime::new(Arc::new(SystemClock));
        let config = Box::new(config);
        Ok(Self { api: Api::new(server, Arc::new(Fixed(client)), time), name, config })
    }

    /// A client of the same hub that shows no credential of its own, and whose connections may be
    /// silent for long.
    ///
    /// # Errors
    /// The kubeconfig's CA cannot be used.
    pub(crate) fn anonymous(&self) -> Result<kube::Client, Failure> {
        let mut config = (*self.config).clone();
        config.auth_info = kube::config::AuthInfo::default();
        (config.read_timeout, config.write_timeout) = (None, None);
        kube::Client::try_from(config)
            .map_err(|error| Failure::usage(vec![Report(&error).to_string()]))
    }

    /// The workspace's name, as the user wrote it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads a path below the workspace.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.api.get(&self.path(path), ANSWER_MAX).await
    }

    /// Creates an object.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.api.create(&self.path(path), object, ANSWER_MAX).await
    }

    /// Posts to a path of the hub's, outside all workspaces.
    pub(crate) async fn post_outside(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.api.create(path, body, ANSWER_MAX).await
    }

    /// Reads a collection, page by page.
    pub(crate) async fn list(&self, collection: &str) -> Result<Value, ApiError> {
        let mut items = Vec::new();
        let mut page = String::new();
        loop {
            let mut list = self.get(&format!("{collection}?limit={PAGE}{page}")).await?;
            items.extend_from_slice(list.array_at(&["items"]));
            match list.str_at(&["metadata", "continue"]).filter(|next| !next.is_empty()) {
                Some(next) => {
                    page = format!("&continue={}", utf8_percent_encode(next, NON_ALPHANUMERIC));
                }
                None => {
                    list.set(&["items"], items);
                    return Ok(list);
                }
            }
        }
    }

    /// Calls `each` with every event of a collection after a revision until it returns false.
    pub(crate) async fn follow(
        &self,
        collection: &str,
        revision: &str,
        each: impl FnMut(&Value) -> bool,
    ) -> Result<(), ApiError> {
        self.api.follow(&self.path(collection), revision, each).await
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, path: &str) -> Result<Value, ApiError> {
        self.api.delete(&self.path(path), ANSWER_MAX).await
    }

    /// Waits until an object of a collection fits.
    pub(crate) async fn wait(
        &self,
        collection: &str,
        name: &str,
        limit: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value, ApiError> {
        self.api.wait(&self.path(collection), name, limit, fits).await
    }

    /// Creates an object that may be there already; whether it was new.
    pub(crate) async fn ensure(&self, path: &str, object: &Value) -> Result<bool, ApiError> {
        match self.create(path, object).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A path below the workspace.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("/clusters/{}{path}", self.name)
    }
}

/// A server without its path, and the workspace that the path named.
pub(crate) fn split(url: &Uri) -> (Uri, Option<String>) {
    let workspace = url.path().strip_prefix("/clusters/");
    let workspace =
        workspace.and_then(|rest| rest.split('/').next()).filter(|name| !name.is_empty());
    let workspace = workspace.map(str::to_owned);
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    (Uri::from_parts(parts).unwrap_or_else(|_| url.clone()), workspace)
}

/// Whether it can stand in a URL; the hub knows whether it is a workspace.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-'))
}

struct Fixed(kube::Client);

impl Clients for Fixed {
    fn client(&self, _: &Uri) -> Result<kube::Client, ClientError> {
        Ok(self.0.clone())
    }
}

/// Why a kubeconfig cannot be read.
pub(crate) fn unread(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(why, path) => {
            format!("cannot read the kubeconfig {}: {why}", path.display())
        }
        other => Report(other).to_string(),
    }
}

/// Why a call was not answered, without the layers that it came through.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// Whether the other side is none that the kubeconfig trusts.
fn is_distrust(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        // An error of I/O holds others beside its source, one in the other.
        let mut io = error.downcast_ref::<io::Error>();
        while let Some(inner) = io.and_then(io::Error::get_ref) {
            if let Some(rustls::Error::InvalidCertificate(_)) = inner.downcast_ref() {
                return true;
            }
            io = inner.downcast_ref();
        }
        false
    })
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// What a failed call makes of the program's end.
pub(crate) fn failure(what: &str, error: &ApiError) -> Failure {
    let (exit, why) = match error {
        ApiError::Status { code, message, .. } if !message.is_empty() => {
            (refusal(*code), message.clone())
        }
        ApiError::Status { code, .. } => (refusal(*code), error.to_string()),
        ApiError::Transport { server, .. } if is_distrust(error) => {
            let why = innermost(error);
            (Exit::NotTrusted, format!("{server} is not the kubeconfig's hub: {why}"))
        }
        ApiError::Transport { .. } => (Exit::Failed, format!("{error}: {}", innermost(error))),
        _ => (Exit::Failed, Report(error).to_string()),
    };
    Failure { exit, lines: vec![format!("{what}: {why}")] }
}

const fn refusal(code: u16) -> Exit {
    match code {
        401 | 403 => Exit::NotAllowed,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// A hub that answers whatever is asked so, and counts.
    async fn refusing(listener: TcpListener, status: &str, asked: &AtomicUsize) {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let mut socket = BufReader::new(socket);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                socket.read_line(&mut line).await.unwrap();
            }
            asked.fetch_add(1, Ordering::Relaxed);
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n");
            let answer = format!("{head}retry-after: 0\r\n\r\n");
            socket.get_mut().write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_refused_is_not_sent_again() {
        for status in ["429 Too Many", "503 Away", "504 Late"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = format!("http://{}", listener.local_addr().unwrap());
            let file = tempfile::NamedTempFile::new().unwrap();
            let config = format!(
                "{{current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
                 clusters: [{{name: a, cluster: {{server: '{server}'}}}}], users: [{{name: a, user: {{}}}}]}}"
            );
            std::fs::write(file.path(), config).unwrap();
            let kubeconfig = Some(file.path().to_owned());
            let args = ClientArgs { kubeconfig, ..ClientArgs::default() };
            let workspace = Workspace::open(&args).await.unwrap();
            let (asked, object) = (AtomicUsize::new(0), Value::object());
            let refused = tokio::select! {
                () = refusing(listener, status, &asked) => unreachable!("it goes on"),
                made = workspace.create("/apis/x", &object) => made.unwrap_err(),
            };
            let code = refused.code().map(|code| code.to_string()).unwrap_or_default();
            assert!(status.starts_with(&code) && !code.is_empty(), "{refused}");
            assert_eq!(asked.load(Ordering::Relaxed), 1, "{status}");
        }
    }

    #[test]
    fn a_server_url_names_its_workspace() {
        for (url, server, workspace) in [
            ("https://h:6443/clusters/root:demo", "https://h:6443/", Some("root:demo")),
            ("https://h:6443/clusters/root:demo/", "https://h:6443/", Some("root:demo")),
            ("https://h:6443", "https://h:6443/", None),
            ("https://h:6443/clusters/", "https://h:6443/", None),
        ] {
            let (found, name) = split(&url.parse().unwrap());
            assert_eq!((found.to_string().as_str(), name.as_deref()), (server, workspace));
        }
    }

    #[test]
    fn names_that_would_leave_the_path_are_refused() {
        for name in ["", "a/b", "..", "a?b", "a b", "%2e"] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_name("root:demo-1"));
    }
}
