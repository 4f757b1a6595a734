//! Calls to the API server of the cluster that a pod runs in, by the pod's own service account.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use strait_machinery::json::{Value, parse};
use strait_net::{CallError, CallLimits, Client, EgressPolicy};
use strait_pki::{PkiError, TrustBundle, client_config};
use strait_runtime::{Clock, fs};
use strait_types::{Redacted, Report};

const LIMITS: CallLimits = CallLimits {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(15),
    // A Secret has 1 MiB at most, and a third more in base64.
    response_bytes: 4 << 20,
};

/// Largest token or CA file, bytes.
const FILE_MAX: usize = 256 << 10;

/// Most of a server's message that is passed on.
const MESSAGE_CHARS_MAX: usize = 512;

/// State cannot be read from a Secret, or written to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// The pod's service account.
    #[error("the pod's service account cannot be used: {0}")]
    Account(String),
    /// The account's CA, or a key.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The API server cannot be reached.
    #[error("no answer from the Kubernetes API")]
    NoAnswer(#[source] CallError),
    /// The API server says no.
    #[error("the Kubernetes API answered {status}: {message}")]
    Answered {
        /// Its status.
        status: StatusCode,
        /// What it says.
        message: String,
    },
    /// Others write all the time.
    #[error("others change Secret {0} all the time")]
    Contended(String),
    /// There is no room.
    #[error(
        "Secret {secret} has entries of {entries} pods: keep state in a Secret for a StatefulSet, whose pods keep their names"
    )]
    Full {
        /// Its name.
        secret: String,
        /// How many.
        entries: usize,
    },
    /// What is there is not ours.
    #[error(
        "entry {entry} of Secret {secret} is no state of an agent: {what} is missing or malformed"
    )]
    Malformed {
        /// The Secret's name.
        secret: String,
        /// The entry's, which is the pod's.
        entry: String,
        /// What it lacks.
        what: &'static str,
    },
    /// Another pod has the name now.
    #[error("pod {0} was made anew, and its state is the new one's")]
    Lost(String),
}

impl KeptError {
    /// Whether another try may end better.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        !matches!(self, Self::Malformed { .. } | Self::Lost(_) | Self::Full { .. })
    }
}

/// Which pod this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Pod {
    /// As the token says that the kubelet made for it (KEP-1205). Who checks tokens is the API server.
    fn of(token: &str) -> Option<Self> {
        let claims = token.split('.').nth(1)?;
        let claims = parse(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let text = |path: &[&str]| {
            let path = [&["kubernetes.io"], path].concat();
            claims.str_at(&path).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let (namespace, name) = (text(&["namespace"])?, text(&["pod", "name"])?);
        let plain = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        };
        let pod = Self { namespace, name, uid: text(&["pod", "uid"])? };
        (plain(&pod.namespace) && plain(&pod.name)).then_some(pod)
    }
}

/// The API server.
#[derive(Debug)]
pub(super) struct Cluster {
    server: String,
    account: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Cluster {
    pub(super) const fn new(server: String, account: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { server, account, clock }
    }

    /// The pod whose service account it is.
    pub(super) async fn pod(&self) -> Result<Pod, KeptError> {
        let (token, _) = self.read_account().await?;
        let why = "its token names no pod; it has to be one that Kubernetes made for this pod";
        Pod::of(token.expose()).ok_or_else(|| KeptError::Account(why.into()))
    }

    /// Reads an object.
    pub(super) async fn get(&self, path: &str) -> Result<Value, KeptError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Sends a merge patch.
    pub(super) async fn merge(&self, path: &str, patch: &Value) -> Result<Value, KeptError> {
        self.call(Method::PATCH, path, patch.to_bytes().into()).await
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Value, KeptError> {
        let (token, ca) = self.read_account().await?;
        let tls = client_config(&TrustBundle::from_pem(&ca)?, None, self.clock.clone())?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| KeptError::Account("its token is none".into()))?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header(header::AUTHORIZATION, bearer)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(body);
        let request = request.map_err(|_| KeptError::Account("no URL of a server".into()))?;
        let client = Client::new(Some(tls), EgressPolicy::unrestricted());
        let answer = client.call(request, &LIMITS).await.map_err(KeptError::NoAnswer)?;
        let (status, value) = (answer.status(), parse(answer.body()).unwrap_or_default());
        if status.is_success() {
            return Ok(value);
        }
        let message = value.str_at(&["message"]).unwrap_or_default().chars();
        let message = message.filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect();
        Err(KeptError::Answered { status, message })
    }

    /// Token and CA as they are now: the kubelet makes new ones.
    async fn read_account(&self) -> Result<(Redacted<String>, Vec<u8>), KeptError> {
        let directory = self.account.clone();
        let read = move || {
            let read = |name: &str| read(&directory.join(name));
            let token = String::from_utf8_lossy(&read("token")?).trim().to_owned();
            Ok((Redacted::new(token), read("ca.crt")?))
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or_else(|_| Err("reading it panicked".into())).map_err(KeptError::Account)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read_capped(path, FILE_MAX).map_err(|error| Report(&error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_says_which_pod_it_was_made_for() {
        let of =
            |claims: &str| Pod::of(&token(claims)).map(|pod| (pod.namespace, pod.name, pod.uid));
        let made = r#"{"kubernetes.io":{"namespace":"edge","pod":{"name":"smith-0","uid":"u1"}}}"#;
        assert_eq!(of(made), Some(("edge".into(), "smith-0".into(), "u1".into())));
        for other in [
            r#"{"kubernetes.io":{"namespace":"edge"}}"#,
            r#"{"kubernetes.io":{"namespace":"edge","pod":{"name":"","uid":"u1"}}}"#,
            r#"{"kubernetes.io":{"namespace":"../x","pod":{"name":"a","uid":"u1"}}}"#,
            r#"{"kubernetes.io":{"namespace":"edge","pod":{"name":"a/b","uid":"u1"}}}"#,
            "nothing",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(Pod::of("opaque"), None);
    }
}
