//! `/backends`: backends that come and go while it runs, with sprayproxy's texts and codes.
//!
//! | request | answer |
//! |---|---|
//! | GET | 200 `Backend urls: a, b` |
//! | POST `{"url": "x"}` | 200 `registered the backend server`, or 302 if it was there |
//! | DELETE `{"url": "x"}` | 200 `backend server unregistered`, or 404 |
//!
//! Unlike sprayproxy's, URLs are checked by the rules of the configuration, written to disk before
//! the answer, and a URL that says the same in other letters is the same backend. Bodies are
//! small. Backends of the configuration cannot be removed here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strait_audit::{AuditLog, Stage};
use strait_net::{Body, BoxError, Connection, Incoming, read_body};
use strait_runtime::fs::{FsError, read_capped, write_atomic};
use strait_types::Report;

use super::answer::{failed, refused, text};
use super::authorize::{Asked, Authorizer, Caller};
use super::{Deliveries, audit};
use crate::config::dynamic::{URL_BYTES_MAX, backend};
use crate::config::{Backend, DynamicBackends, Permission, Source};

/// The one path.
pub const PATH: &str = "/backends";

/// The file in the data directory.
const NAME: &str = "backends.json";

/// Most backends that are added; a document has no more either.
const BACKENDS_MAX: usize = 256;

const FILE_BYTES_MAX: usize = 2 * BACKENDS_MAX * URL_BYTES_MAX;
const BODY_BYTES_MAX: usize = 4 * URL_BYTES_MAX;
const BODY_TIME: Duration = Duration::from_secs(10);

/// The backends of the configuration, and those that were added.
pub struct Backends {
    dynamic: DynamicBackends,
    /// None where nothing may be written.
    file: Option<PathBuf>,
    deliveries: Arc<dyn Deliveries>,
    audit: Option<AuditLog>,
    /// What is delivered to; nobody waits with it.
    lists: ArcSwap<Lists>,
    /// Held by who changes them.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Lists {
    sources: Vec<Source>,
    configured: Vec<Backend>,
    /// As they were given.
    urls: Vec<String>,
}

impl Lists {
    /// Of all sources, which an added backend gets.
    fn names(&self) -> Vec<Arc<str>> {
        self.sources.iter().map(|source| source.name.clone()).collect()
    }
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct File {
    backends: Vec<Url>,
}

#[derive(Serialize, Deserialize)]
struct Url {
    url: String,
}

/// A change that is not made.
enum Refused {
    /// It is told to the client.
    Told(StatusCode, String),
    /// Ours: it is logged.
    Failed(String),
}

impl Backends {
    /// Reads what was added before from the data directory, if there is one. [`apply`](Self::apply)
    /// then makes it so.
    ///
    /// # Errors
    /// The file cannot be read.
    ///
    /// # Blocking
    /// Reads a file.
    pub fn open(
        dynamic: DynamicBackends,
        data_dir: Option<&Path>,
        deliveries: Arc<dyn Deliveries>,
        audit: Option<AuditLog>,
    ) -> Result<Self, FsError> {
        let file = data_dir.map(|directory| directory.join(NAME));
        let urls = file.as_deref().map_or(Ok(Vec::new()), read)?;
        let lists = ArcSwap::from_pointee(Lists { urls, ..Lists::default() });
        Ok(Self {
            dynamic,
            file,
            deliveries,
            audit,
            lists,
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// The backends of a configuration and those that were added before: what deliveries start
    /// with, so that what waits for them is known.
    ///
    /// # Errors
    /// The file cannot be read.
    ///
    /// # Blocking
    /// Reads a file.
    pub fn known(
        dynamic: &DynamicBackends,
        data_dir: &Path,
        sources: Vec<Source>,
        configured: Vec<Backend>,
    ) -> Result<Vec<Backend>, FsError> {
        let urls = read(&data_dir.join(NAME))?;
        Ok(all(dynamic, &Lists { sources, configured, urls }))
    }

    /// Delivers to the backends of a configuration, which may be another than before, and to
    /// those that were added. One that was added and may not be any more is left out and told.
    ///
    /// # Errors
    /// They cannot be delivered to; nothing changed.
    ///
    /// # Cancel safety
    /// Dropped, they may be delivered to or not.
    pub async fn apply(
        &self,
        sources: Vec<Source>,
        configured: Vec<Backend>,
    ) -> Result<(), BoxError> {
        let _turn = self.changing.lock().await;
        let next = Lists { sources, configured, urls: self.lists.load().urls.clone() };
        self.deliveries.apply(&next.sources, &all(&self.dynamic, &next)).await?;
        self.lists.store(Arc::new(next));
        Ok(())
    }

    /// Answers a request for [`PATH`]; none if it is for another path.
    pub async fn answer(
        self: &Arc<Self>,
        authorizer: &Authorizer,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> Option<Response<Body>> {
        if request.uri().path() != PATH {
            return None;
        }
        let asked = Asked::new(Permission::Backends, request.method(), PATH);
        let decided = authorizer.decide(connection, request.headers(), asked.clone()).await;
        Some(match decided {
            Err(refusal) => failed(&refused(&refusal, &asked)),
            Ok(caller) => self.answer_caller(&caller, request).await,
        })
    }

    /// Answers somebody who may.
    pub(super) async fn answer_caller(
        self: &Arc<Self>,
        caller: &Caller,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let method = request.method().clone();
        if method == Method::GET {
            return text(StatusCode::OK, format!("Backend urls: {}", self.urls().join(", ")));
        }
        if method != Method::POST && method != Method::DELETE {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET, POST and DELETE".to_owned());
        }
        let body = read_body(request.into_body(), BODY_BYTES_MAX, BODY_TIME).await;
        let given = body.ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        let url = given.as_ref().and_then(|given| given.get("url")?.as_str());
        let Some(url) = url.map(str::to_owned) else {
            let why = "please provide a valid json body";
            return text(StatusCode::BAD_REQUEST, why.to_owned());
        };
        let done = if method == Method::POST {
            self.add(caller, url).await
        } else {
            self.remove(caller, url).await
        };
        match done {
            Ok(told) => text(StatusCode::OK, told.to_owned()),
            Err(Refused::Told(status, why)) => text(status, why),
            Err(Refused::Failed(err)) => {
                tracing::error!(err, "backends cannot be changed");
                let why = "backends cannot be changed; see the server's log".to_owned();
                text(StatusCode::SERVICE_UNAVAILABLE, why)
            }
        }
    }

    async fn add(self: &Arc<Self>, caller: &Caller, url: String) -> Result<&'static str, Refused> {
        let lists = self.lists.load_full();
        let made = self.plan_add(&lists, &url)?;
        self.write_audit(caller, "add", &made).await?;
        self.change(move |this, lists| {
            // Another may have come in between.
            this.plan_add(lists, &url)?;
            lists.urls.push(url);
            Ok("registered the backend server")
        })
        .await
    }

    async fn remove(
        self: &Arc<Self>,
        caller: &Caller,
        url: String,
    ) -> Result<&'static str, Refused> {
        let lists = self.lists.load_full();
        let gone = plan_remove(&lists, &url)?;
        let name = crate::config::compat::backend_name(&gone);
        self.write_audit_named(caller, "remove", &name).await?;
        self.change(move |_, lists| {
            let gone = plan_remove(lists, &url)?;
            lists.urls.retain(|known| *known != gone);
            Ok("backend server unregistered")
        })
        .await
    }

    /// The backend that a URL would be, if it may be added.
    fn plan_add(&self, lists: &Lists, url: &str) -> Result<Backend, Refused> {
        let told = |status, why: &str| Refused::Told(status, why.to_owned());
        let wrong = |why: String| Refused::Told(StatusCode::BAD_REQUEST, format!("url: {why}"));
        let made = backend(url, &self.dynamic, &lists.names()).map_err(wrong)?;
        let known =
            lists.configured.iter().any(|one| one.name == made.name || one.address == made.address);
        if known || same(lists, url).is_some() {
            return Err(told(StatusCode::FOUND, "backend server already registered"));
        }
        if lists.urls.len() >= BACKENDS_MAX {
            return Err(told(StatusCode::CONFLICT, "too many backend servers are registered"));
        }
        Ok(made)
    }

    /// Changes the lists, the disk and what is delivered to; all or nothing. A client that goes
    /// does not stop it halfway.
    async fn change(
        self: &Arc<Self>,
        change: impl FnOnce(&Self, &mut Lists) -> Result<&'static str, Refused> + Send + 'static,
    ) -> Result<&'static str, Refused> {
        let (this, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let changed = tokio::task::spawn_blocking(move || {
            let _turn = this.changing.blocking_lock();
            let lists = this.lists.load_full();
            let mut next = (*lists).clone();
            let told = change(&this, &mut next)?;
            this.save(&next)?;
            let backends = all(&this.dynamic, &next);
            let applied = this.deliveries.apply(&next.sources, &backends);
            if let Err(error) = runtime.block_on(applied) {
                // What is on disk is what is delivered to.
                this.save(&lists)?;
                return Err(Refused::Failed(Report(&*error).to_string()));
            }
            this.lists.store(Arc::new(next));
            Ok(told)
        });
        changed.await.unwrap_or_else(|error| Err(Refused::Failed(error.to_string())))
    }

    fn save(&self, lists: &Lists) -> Result<(), Refused> {
        let Some(path) = &self.file else { return Ok(()) };
        let backends = lists.urls.iter().map(|url| Url { url: url.clone() }).collect();
        let bytes = serde_json::to_vec(&File { backends }).expect("texts are JSON");
        let written = write_atomic(path, &bytes, 0o600);
        written.map_err(|error| Refused::Failed(Report(&error).to_string()))
    }

    fn urls(&self) -> Vec<String> {
        let lists = self.lists.load();
        let urls = lists.configured.iter().filter_map(|backend| backend.address.url());
        let configured = urls.map(ToString::to_string);
        configured.chain(lists.urls.iter().cloned()).collect()
    }

    async fn write_audit(
        &self,
        caller: &Caller,
        what: &str,
        backend: &Backend,
    ) -> Result<(), Refused> {
        self.write_audit_named(caller, what, &backend.name).await
    }

    async fn write_audit_named(
        &self,
        caller: &Caller,
        what: &str,
        name: &str,
    ) -> Result<(), Refused> {
        tracing::info!(user = caller.user, backend = name, what, "a backend is changed");
        let Some(log) = &self.audit else { return Ok(()) };
        let record = audit::record(caller, Stage::Started, "backends", name, what);
        let written = log.append(vec![record]).await;
        written.map(drop).map_err(|error| Refused::Failed(error.to_string()))
    }
}

impl std::fmt::Debug for Backends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backends").field("dynamic", &self.dynamic).finish_non_exhaustive()
    }
}

/// The URLs of a file; none if it is not there.
fn read(path: &Path) -> Result<Vec<String>, FsError> {
    let bytes = match read_capped(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.io().kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let file = serde_json::from_slice::<File>(&bytes);
    let file = file.map_err(|error| FsError::new("understand", path)(error.into()))?;
    Ok(file.backends.into_iter().map(|one| one.url).collect())
}

fn all(dynamic: &DynamicBackends, lists: &Lists) -> Vec<Backend> {
    let mut all = lists.configured.clone();
    for url in &lists.urls {
        match backend(url, dynamic, &lists.names()) {
            Ok(made) if !all.iter().any(|one| one.name == made.name) => all.push(made),
            Ok(_) => {}
            Err(why) => tracing::warn!(why, "a backend that was added may not be any more"),
        }
    }
    all
}

/// The URL that was added and is the same.
fn same(lists: &Lists, url: &str) -> Option<String> {
    let name = crate::config::compat::backend_name(url);
    let mut urls = lists.urls.iter();
    urls.find(|known| crate::config::compat::backend_name(known) == name).cloned()
}

fn plan_remove(lists: &Lists, url: &str) -> Result<String, Refused> {
    let name = crate::config::compat::backend_name(url);
    let not_found = || {
        let configured = lists.configured.iter().filter_map(|backend| backend.address.url());
        let mut names = configured.map(|url| crate::config::compat::backend_name(&url.to_string()));
        if names.any(|one| one == name) {
            let why = "the backend server is one of the configuration, which alone can remove it";
            return Refused::Told(StatusCode::CONFLICT, why.to_owned());
        }
        let why = "backend server not found in the list";
        Refused::Told(StatusCode::NOT_FOUND, why.to_owned())
    };
    same(lists, url).ok_or_else(not_found)
}
