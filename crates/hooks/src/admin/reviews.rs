//! A cluster that reviews tokens and says what their users may: `TokenReview` and
//! `SubjectAccessReview` on the request's path and verb, as kube-rbac-proxy asks them.
//!
//! Answers are kept for [`KEPT`], as `apiserver/pkg/server/options` has it for servers that
//! delegate, so that a role or token that is taken back is gone that soon. A cluster that cannot
//! be asked lets nobody in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::CONTENT_TYPE;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use strait_net::read_body;
use strait_runtime::Clock;
use tokio::sync::Semaphore;

use super::authorize::{Asked, AuthorizerError, Caller, Refusal};
use crate::config;

/// How long an answer is kept, yes or no.
const KEPT: Duration = Duration::from_secs(10);
/// Answers that are kept; when there are more, none of them is.
const KEPT_MAX: usize = 1024;
/// Longest wait for one, its turn included.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Questions at once; more wait.
const QUESTIONS_MAX: usize = 16;
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A cluster's API.
pub(super) struct Cluster(kube::Client);

impl Cluster {
    /// The cluster that a configuration names. A kubeconfig is read once; tokens in files that
    /// it names, and that of a service account, are read again as they change.
    pub(super) async fn open(cluster: &config::Cluster) -> Result<Self, AuthorizerError> {
        let mut config = match cluster {
            config::Cluster::Here => {
                kube::Config::incluster().map_err(|error| AuthorizerError::Cluster(error.into()))?
            }
            config::Cluster::Kubeconfig(path) => {
                let read = Kubeconfig::read_from(path);
                let read = read.map_err(|error| AuthorizerError::Cluster(error.into()))?;
                let options = KubeConfigOptions::default();
                let config = kube::Config::from_custom_kubeconfig(read, &options).await;
                config.map_err(|error| AuthorizerError::Cluster(error.into()))?
            }
        };
        // Somebody waits, and no answer is a refusal: it is not asked fifteen times.
        config.default_retry = false;
        let client = kube::Client::try_from(config);
        Ok(Self(client.map_err(|error| AuthorizerError::Cluster(error.into()))?))
    }

    /// Posts a review; none if there was no answer that can be used.
    async fn review(&self, path: &str, review: &Value) -> Option<Value> {
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(review.to_string().into_bytes()))
            .ok()?;
        let asked = async {
            let response = self.0.send(request).await.map_err(|error| error.to_string())?;
            let status = response.status();
            if !status.is_success() {
                return Err(format!("it answered {status}"));
            }
            let body = read_body(response.into_body(), ANSWER_BYTES_MAX, ANSWER_LIMIT).await;
            let body = body.map_err(|error| error.to_string())?;
            serde_json::from_slice(&body).map_err(|error| error.to_string())
        };
        asked
            .await
            .map_err(|why| tracing::warn!(path, why, "a cluster cannot be asked about a token"))
            .ok()
    }
}

/// Asks a cluster, and remembers for a moment.
pub(super) struct Reviews {
    cluster: Cluster,
    clock: Arc<dyn Clock>,
    turns: Semaphore,
    users: Mutex<Kept<[u8; 32], Option<Arc<User>>>>,
    allowed: Mutex<Kept<Question, bool>>,
}

/// The hash of a token, a verb and a path.
type Question = ([u8; 32], &'static str, String);

/// Whom a token stands for.
struct User {
    caller: Caller,
    /// As the review has it.
    info: Value,
}

impl Reviews {
    pub(super) fn new(cluster: Cluster, clock: Arc<dyn Clock>) -> Self {
        Self {
            cluster,
            clock,
            turns: Semaphore::new(QUESTIONS_MAX),
            users: Mutex::default(),
            allowed: Mutex::default(),
        }
    }

    /// Whether a token's user may.
    pub(super) async fn decide(&self, token: &str, asked: &Asked) -> Result<Caller, Refusal> {
        let answered = tokio::time::timeout(ANSWER_LIMIT, self.ask(token, asked)).await;
        answered.unwrap_or(Err(Refusal::Unavailable))
    }

    async fn ask(&self, token: &str, asked: &Asked) -> Result<Caller, Refusal> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let user = self.user(hash, token).await?.ok_or(Refusal::Unauthenticated)?;
        if self.is_allowed(hash, &user, asked).await? {
            Ok(user.caller.clone())
        } else {
            Err(Refusal::Forbidden(user.caller.user.clone()))
        }
    }

    async fn user(&self, hash: [u8; 32], token: &str) -> Result<Option<Arc<User>>, Refusal> {
        if let Some(user) = self.users.lock().find(&hash, self.clock.monotonic()) {
            return Ok(user);
        }
        // Never closed, so never an error.
        let _turn = self.turns.acquire().await;
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token},
        });
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let answer = self.cluster.review(path, &review).await.ok_or(Refusal::Unavailable)?;
        let user = user_of(&answer).map(Arc::new);
        self.users.lock().keep(hash, user.clone(), self.clock.monotonic());
        Ok(user)
    }

    async fn is_allowed(
        &self,
        hash: [u8; 32],
        user: &User,
        asked: &Asked,
    ) -> Result<bool, Refusal> {
        let key = (hash, asked.verb, asked.path.clone());
        if let Some(allowed) = self.allowed.lock().find(&key, self.clock.monotonic()) {
            return Ok(allowed);
        }
        let _turn = self.turns.acquire().await;
        let mut review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user.caller.user,
                "nonResourceAttributes": {"path": asked.path, "verb": asked.verb},
            },
        });
        for member in ["groups", "uid", "extra"] {
            if let Some(value) = user.info.get(member) {
                review["spec"][member] = value.clone();
            }
        }
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = self.cluster.review(path, &review).await.ok_or(Refusal::Unavailable)?;
        let status = &answer["status"];
        let allowed = status["allowed"] == true && status["denied"] != true;
        self.allowed.lock().keep(key, allowed, self.clock.monotonic());
        Ok(allowed)
    }
}

/// Whom a reviewed token stands for, if for anybody.
fn user_of(review: &Value) -> Option<User> {
    let status = &review["status"];
    let info = &status["user"];
    let name = info["username"].as_str().filter(|name| !name.is_empty())?;
    let groups = info["groups"].as_array().into_iter().flatten();
    let groups = groups.filter_map(|group| group.as_str().map(str::to_owned)).collect();
    let caller = Caller { user: name.to_owned(), groups };
    (status["authenticated"] == true).then(|| User { caller, info: info.clone() })
}

/// Answers and when they were given.
struct Kept<K, V>(HashMap<K, (Duration, V)>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: std::hash::Hash + Eq, V: Clone> Kept<K, V> {
    fn find(&self, key: &K, now: Duration) -> Option<V> {
        let (at, value) = self.0.get(key)?;
        (now.saturating_sub(*at) < KEPT).then(|| value.clone())
    }

    fn keep(&mut self, key: K, value: V, now: Duration) {
        if self.0.len() >= KEPT_MAX {
            self.0.retain(|_, (at, _)| now.saturating_sub(*at) < KEPT);
        }
        if self.0.len() >= KEPT_MAX {
            self.0.clear();
        }
        self.0.insert(key, (now, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_for_a_moment_and_bounded() {
        let mut kept = Kept::default();
        let seconds = Duration::from_secs;
        kept.keep(0_usize, "a", seconds(1));
        assert_eq!(kept.find(&0, seconds(10)), Some("a"));
        assert_eq!(kept.find(&0, seconds(11)), None);
        for key in 0..5 * KEPT_MAX {
            kept.keep(key, "b", seconds(12));
            assert!(kept.0.len() <= KEPT_MAX);
        }
    }

    #[test]
    fn only_an_authenticated_user_with_a_name_is_one() {
        for (status, user) in [
            (
                json!({"authenticated": true, "user": {"username": "jo", "groups": ["a", "b"]}}),
                Some("jo"),
            ),
            (json!({"authenticated": true, "user": {"username": ""}}), None),
            (json!({"authenticated": true, "user": {}}), None),
            (json!({"authenticated": false, "user": {"username": "jo"}}), None),
            (json!({"user": {"username": "jo"}, "error": "x"}), None),
            (json!({"authenticated": "true", "user": {"username": "jo"}}), None),
            (json!(null), None),
        ] {
            let found = user_of(&json!({"status": status}));
            assert_eq!(found.map(|user| user.caller.user), user.map(str::to_owned), "{status}");
        }
    }
}
