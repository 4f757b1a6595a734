//! Who asks, and whether they may.
//!
//! A bearer token is one of the files' ([`tokens`](super::tokens)), or a cluster reviews it
//! ([`reviews`](super::reviews)). Whoever comes through the operators' own socket may do
//! everything: the socket's file says who that is. A hub decides by itself, with the certificates
//! and roles that it has.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use strait_net::Connection;
use strait_runtime::Clock;

use super::reviews::{Cluster, Reviews};
use super::tokens::FileTokens;
use crate::config::{self, Admin, AdminListener, Permission};

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user; for a token of a file `token:NAME`, for the owner of a socket `socket`.
    pub user: String,
    /// Its groups.
    pub groups: Vec<String>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What it takes.
    pub permission: Permission,
    /// The path, for roles on paths (`nonResourceURLs`).
    pub path: String,
    /// The verb that goes with it.
    pub verb: &'static str,
}

impl Asked {
    /// What a request asks for; verbs as kube-rbac-proxy has them.
    #[must_use]
    pub fn new(permission: Permission, method: &Method, path: &str) -> Self {
        let verb = match *method {
            Method::POST => "create",
            Method::DELETE => "delete",
            _ => "get",
        };
        Self { permission, path: path.to_owned(), verb }
    }
}

/// Why somebody may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody proved who asks.
    Unauthenticated,
    /// This user may not.
    Forbidden(String),
    /// Whoever decides cannot be asked.
    Unavailable,
}

/// Decides about a request that came over a connection.
pub type Decide = Arc<
    dyn Fn(Arc<Connection>, Asked) -> BoxFuture<'static, Result<Caller, Refusal>> + Send + Sync,
>;

/// There is nothing to decide by.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizerError {
    /// A token's file.
    #[error("token of file {} {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A kubeconfig, or the service account of where this runs.
    #[error("cannot ask a cluster about tokens")]
    Cluster(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Decides who may do what.
pub struct Authorizer(Mode);

enum Mode {
    Bearer(Box<Bearer>),
    Hub(Decide),
}

struct Bearer {
    /// Whether whoever comes through a socket may do everything.
    owner: bool,
    tokens: FileTokens,
    reviews: Option<Reviews>,
}

impl Authorizer {
    /// Decides as a configuration says.
    ///
    /// # Errors
    /// See [`AuthorizerError`].
    pub async fn open(admin: &Admin, clock: Arc<dyn Clock>) -> Result<Self, AuthorizerError> {
        let tokens = FileTokens::load(admin.tokens.clone(), clock.clone())?;
        let reviews = match &admin.cluster {
            Some(cluster) => Some(Reviews::new(Cluster::open(cluster).await?, clock)),
            None => None,
        };
        let owner = matches!(admin.listen, AdminListener::Unix(_));
        Ok(Self(Mode::Bearer(Box::new(Bearer { owner, tokens, reviews }))))
    }

    /// Asks a cluster about every token.
    ///
    /// # Errors
    /// See [`AuthorizerError`].
    pub async fn of_cluster(
        cluster: &config::Cluster,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthorizerError> {
        let tokens = FileTokens::load(Vec::new(), clock.clone())?;
        let reviews = Some(Reviews::new(Cluster::open(cluster).await?, clock));
        Ok(Self(Mode::Bearer(Box::new(Bearer { owner: false, tokens, reviews }))))
    }

    /// Asks a hub.
    #[must_use]
    pub fn hub(decide: Decide) -> Self {
        Self(Mode::Hub(decide))
    }

    /// Whether a request may be answered, and who asked it.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn decide(
        &self,
        connection: &Arc<Connection>,
        headers: &HeaderMap,
        asked: Asked,
    ) -> Result<Caller, Refusal> {
        let Bearer { owner, tokens, reviews } = match &self.0 {
            Mode::Hub(decide) => return decide(connection.clone(), asked).await,
            Mode::Bearer(bearer) => &**bearer,
        };
        if *owner && connection.is_unix() {
            return Ok(Caller { user: "socket".to_owned(), groups: Vec::new() });
        }
        let token = bearer(headers).ok_or(Refusal::Unauthenticated)?;
        if let Some(known) = tokens.find(token).await {
            let user = format!("token:{}", known.name);
            return if known.may.contains(&asked.permission) {
                Ok(Caller { user, groups: Vec::new() })
            } else {
                Err(Refusal::Forbidden(user))
            };
        }
        match reviews {
            Some(reviews) => reviews.decide(token, &asked).await,
            None => Err(Refusal::Unauthenticated),
        }
    }
}

impl std::fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

/// The token of the one `Authorization` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_stands_behind_bearer_once() {
        for (values, token) in [
            (&["Bearer abc"][..], Some("abc")),
            (&["bearer  abc "], Some("abc")),
            (&["Basic abc"], None),
            (&["Bearer"], None),
            (&["Bearer "], None),
            (&["Bearer a", "Bearer a"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(bearer(&headers), token, "{values:?}");
        }
    }
}
