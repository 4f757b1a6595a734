//! From a request to its answer.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use strait_audit::Stage;
use strait_machinery::status::Status;
use strait_net::{Body, Connection, Incoming};
use strait_runtime::METRICS_CONTENT_TYPE;

use super::answer::{Answer, internal, json, refused};
use super::authorize::{Asked, Authorizer, Caller};
use super::change::{Change, Progress, Run};
use super::kept::{Kept, Look};
use super::lines::Lines;
use super::select::{Query, Selector};
use super::tail::{Reader, Tail};
use super::{Inner, answer, audit, events, tail};
use crate::config::Permission;

/// Longest wait for a turn to look.
const TURN_LIMIT: Duration = Duration::from_secs(10);

enum Route {
    Events,
    Event,
    Payload,
    Status,
    Tail,
    Change(Change),
    Backends,
    Metrics,
}

impl Route {
    /// What a path is, and what of it is an id.
    fn of(path: &str) -> Option<(Self, &str)> {
        let route = match path {
            "/events" => Self::Events,
            "/status" => Self::Status,
            "/tail" => Self::Tail,
            "/replay" => Self::Change(Change::Replay),
            "/purge" => Self::Change(Change::Purge),
            super::backends::PATH => Self::Backends,
            "/metrics" => Self::Metrics,
            _ => {
                let (route, id) = match path.strip_prefix("/events/") {
                    Some(id) => (Self::Event, id),
                    None => (Self::Payload, path.strip_prefix("/payloads/")?),
                };
                return Some((route, id));
            }
        };
        Some((route, ""))
    }

    const fn permission(&self) -> Permission {
        match self {
            Self::Events | Self::Event | Self::Status | Self::Tail | Self::Metrics => {
                Permission::View
            }
            Self::Payload => Permission::Payload,
            Self::Change(_) => Permission::Replay,
            Self::Backends => Permission::Backends,
        }
    }

    fn takes(&self, method: &Method) -> bool {
        match self {
            Self::Change(_) => method == Method::POST,
            // It says itself what it takes.
            Self::Backends => true,
            _ => method == Method::GET,
        }
    }
}

impl Inner {
    pub(super) async fn route(
        self: Arc<Self>,
        authorizer: &Arc<Authorizer>,
        connection: &Arc<Connection>,
        mut request: Request<Incoming>,
    ) -> Answer {
        let path = request.uri().path().to_owned();
        if let Some(response) = self.health(&path) {
            return Ok(response);
        }
        let found = Route::of(&path);
        // What there is not is told to those alone who may see.
        let permission = found.as_ref().map_or(Permission::View, |(route, _)| route.permission());
        let asked = Asked::new(permission, request.method(), &path);
        let decided = authorizer.decide(connection, request.headers(), asked.clone()).await;
        let caller = decided.map_err(|refusal| refused(&refusal, &asked))?;
        let (route, id) = found.ok_or_else(Status::unknown_path)?;
        if !route.takes(request.method()) {
            return Err(Status::method_not_allowed());
        }
        let text = request.uri().query().unwrap_or_default().to_owned();
        match route {
            Route::Events => self.list(&text).await,
            Route::Event => self.show(id).await,
            Route::Payload => self.payload(&caller, id).await,
            Route::Status => Ok(json(&self.status().await)),
            Route::Tail => {
                let reader = Reader {
                    authorizer: authorizer.clone(),
                    connection: connection.clone(),
                    headers: std::mem::take(request.headers_mut()),
                    asked,
                    decided: self.clock.monotonic(),
                };
                self.tail(&text, reader).await
            }
            Route::Change(change) => self.change(caller, change, text).await,
            Route::Backends => match &self.backends {
                Some(backends) => Ok(backends.answer_caller(&caller, request).await),
                None => Err(Status::unknown_path()),
            },
            Route::Metrics => {
                Ok(answer::body(StatusCode::OK, METRICS_CONTENT_TYPE, self.metrics.encode()))
            }
        }
    }

    fn health(&self, path: &str) -> Option<Response<Body>> {
        let (status, text) = match path {
            "/livez" => (StatusCode::OK, "ok".to_owned()),
            "/readyz" => self.ready.report("readyz", &[], false),
            _ => return None,
        };
        Some(answer::text(status, text))
    }

    fn query(&self, text: &str) -> Result<Query, Status> {
        let query = Query::parse(text, self.clock.now()).map_err(Status::bad_request)?;
        let backends = self.deliveries.backends();
        let is_unknown = |name: &&String| !backends.iter().any(|one| *one.name == ***name);
        let Some(unknown) = query.selector.backends.iter().find(is_unknown) else {
            return Ok(query);
        };
        let names: Vec<&str> = backends.iter().map(|one| &*one.name).collect();
        let why = format!("no backend is called {unknown:?}; there are: {}", names.join(", "));
        Err(Status::bad_request(why))
    }

    fn kept(&self) -> Result<&Kept, Status> {
        self.kept.as_ref().ok_or_else(|| {
            Status::bad_request("no events are kept: each is answered once its backends did")
        })
    }

    async fn status(&self) -> serde_json::Value {
        let status = self.deliveries.status().await;
        events::status(&self.deliveries.backends(), &status)
    }

    /// Looks on a thread that may block, when it is its turn.
    async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let turn = tokio::time::timeout(TURN_LIMIT, self.looks.acquire()).await;
        let _turn =
            turn.map_err(|_| Status::too_many_requests("too many look at the log; try again", 1))?;
        let this = self.clone();
        tokio::task::spawn_blocking(move || look(&this)).await.map_err(events::panicked)
    }

    async fn list(self: &Arc<Self>, text: &str) -> Answer {
        let query = self.query(text)?;
        self.kept()?;
        let listed = self.look(move |this| {
            let backends = this.deliveries.backends();
            let kept = this.kept()?;
            let look = this.looking(kept, &backends, &query.selector);
            events::list(look, &query).map_err(|error| internal(&error))
        });
        listed.await?.map(|list| json(&list))
    }

    async fn show(self: &Arc<Self>, id: &str) -> Answer {
        let id = id.to_owned();
        let shown = self.look(move |this| {
            let backends = this.deliveries.backends();
            let (kept, selector) = (this.kept()?, Selector::default());
            events::show(this.looking(kept, &backends, &selector), &id)
        });
        shown.await?.map(|event| json(&event))
    }

    async fn payload(self: &Arc<Self>, caller: &Caller, id: &str) -> Answer {
        let position = events::position(id)?;
        let kept = self.kept()?;
        let record = audit::record(caller, Stage::Started, "payloads", id, "read");
        append(kept, record).await?;
        let id = position.0.to_string();
        let name = id.clone();
        let read = self.look(move |this| events::payload(this.kept()?, &name)).await?;
        Ok(events::raw(&id, read?))
    }

    async fn tail(self: &Arc<Self>, text: &str, reader: Reader) -> Answer {
        let query = self.query(text)?;
        self.kept()?;
        let turn = self.tails.clone().try_acquire_owned();
        let turn = turn.map_err(|_| Status::too_many_requests("too many follow the log", 5))?;
        let begun = self.look(move |this| Tail::new(this, query.selector)).await?;
        let (lines, response) = Lines::new();
        let (this, shutdown) = (self.clone(), self.shutdown.clone());
        self.tasks.spawn("hooks-tail", async move {
            tail::run(this, begun, reader, lines, shutdown).await;
            drop(turn);
        });
        Ok(response)
    }

    async fn change(self: &Arc<Self>, caller: Caller, change: Change, text: String) -> Answer {
        let query = self.query(&text)?;
        let kept = self.kept()?;
        let verb = change.as_str();
        if query.selector.is_empty() && !query.all {
            let why = format!("nothing is selected; to {verb} every event, say all=true");
            return Err(Status::bad_request(why));
        }
        let turn = self.changes.clone().try_acquire_owned();
        let turn = turn.map_err(|_| {
            Status::too_many_requests("another replay or purge is under way; try again", 1)
        })?;
        let what = format!("{verb}?{text}");
        if !query.dry_run {
            append(kept, audit::record(&caller, Stage::Started, "events", "", &what)).await?;
        }
        let (lines, response) = Lines::new();
        let this = self.clone();
        self.tasks.spawn("hooks-change", async move {
            this.run(&caller, change, query, lines).await;
            drop(turn);
        });
        Ok(response)
    }

    /// Changes, and says so in the audit log and at last to the reader.
    async fn run(self: &Arc<Self>, caller: &Caller, change: Change, query: Query, lines: Lines) {
        let (this, dry_run) = (self.clone(), query.dry_run);
        let ran = tokio::task::spawn_blocking(move || {
            let backends = this.deliveries.backends();
            let Ok(kept) = this.kept() else { return (lines, Progress::default(), Ok(())) };
            let mut look = this.looking(kept, &backends, &query.selector);
            look.absent = change == Change::Replay;
            let mut run = Run {
                look,
                deliveries: &*this.deliveries,
                change,
                dry_run,
                lines: &lines,
                runtime: tokio::runtime::Handle::current(),
                progress: Progress::default(),
            };
            let ran = run.run();
            let progress = run.progress;
            (lines, progress, ran)
        });
        // A panic was logged; the lines end without a last one.
        let Ok((lines, progress, ran)) = ran.await else { return };
        let last = match &ran {
            Ok(()) => progress.line(true),
            Err(status) => serde_json::json!({"error": status.message}),
        };
        if let (Some(kept), false) = (&self.kept, dry_run) {
            let Progress { events, deliveries, stopped, .. } = progress;
            let end = match (&ran, stopped) {
                (Err(_), _) => "failed",
                (Ok(()), true) => "stopped",
                (Ok(()), false) => "done",
            };
            let verb = change.as_str();
            let what = format!("{verb} {end}: {events} events, {deliveries} deliveries");
            let record = audit::record(caller, Stage::Ended, "events", "", &what);
            // It is done; that the log cannot take more shows at the next change.
            drop(append(kept, record).await);
        }
        lines.end(&last);
    }

    fn looking<'a>(
        &'a self,
        kept: &'a Kept,
        backends: &'a [crate::config::Backend],
        selector: &'a Selector,
    ) -> Look<'a> {
        Look {
            kept,
            schemes: self.deliveries.schemes(),
            backends,
            selector,
            absent: false,
            read: 0,
        }
    }
}

/// Writes a line before what it is about happens.
async fn append(kept: &Kept, record: strait_audit::Record) -> Result<(), Status> {
    let written = kept.audit.append(vec![record]).await;
    written.map(drop).map_err(|error| {
        tracing::error!(err = %strait_types::Report(&error), "the audit log takes no line");
        Status::unavailable("it cannot be written to the audit log; nothing was done")
    })
}
