//! From a request and the view it has to a response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use strait_auth::{Attributes, Decision, User};
use strait_machinery::status::Status;
use strait_runtime::{Clock, Shutdown, TaskSet};
use strait_types::ClusterName;
use tokio::sync::Semaphore;

use crate::catalog::Resource;
use crate::decode;
use crate::handle::watch::Keeper;
pub use crate::handle::watch::Recheck;
use crate::handle::{get, list, paths, watch, write};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::negotiate::{Format, Offer, Transform, content_type};
use crate::options::WriteOptions;
use crate::query::Query;
use crate::registry::{Call, Registry};
use crate::request::{ResourceTarget, Target, Verb};
use crate::respond::{self, ApiResponse};
use crate::view::{Reach, View};

/// Requests answered at once, watches left out; one more is refused with 429.
const READS_MAX: usize = 400;
const WRITES_MAX: usize = 200;

/// Longest that a request other than a watch may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A request within a view: the path has no workspace in it any more.
pub struct ApiRequest {
    /// The HTTP method.
    pub method: Method,
    /// The path within the workspace, still encoded.
    pub path: String,
    /// The query.
    pub query: Query,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Answers requests. Clones share everything.
#[derive(Clone)]
pub struct Server {
    registry: Registry,
    health: Health,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    tasks: TaskSet,
    shutdown: Shutdown,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Server {
    /// Puts a server together. Watches end when `shutdown` is asked.
    #[must_use]
    pub fn new(
        registry: Registry,
        health: Health,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        tasks: TaskSet,
        shutdown: Shutdown,
    ) -> Self {
        let (reads, writes) = (Semaphore::new(READS_MAX), Semaphore::new(WRITES_MAX));
        let (reads, writes) = (Arc::new(reads), Arc::new(writes));
        Self { registry, health, metrics, clock, tasks, shutdown, reads, writes }
    }

    /// The registry that requests work on.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whether everything works.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Answers a request of a user through a view. `recheck` tells a long watch whether it may
    /// go on.
    pub async fn answer(
        &self,
        view: Arc<dyn View>,
        user: Arc<User>,
        request: ApiRequest,
        recheck: Recheck,
    ) -> ApiResponse {
        let started = self.clock.monotonic();
        let target = Target::parse(&request.method, &request.path, &request.query);
        let verb = match &target {
            Target::Resource(target) => target.verb,
            Target::Path { .. } => Verb::Get,
        };
        let result = self.dispatch(view, user, target, &request, recheck).await;
        let response = result.unwrap_or_else(|status| {
            let format =
                Format::choose(&request.headers, request.query.get("pretty"), Offer::Objects);
            let format = format.unwrap_or(Format::JSON);
            respond::status(&status, Format { transform: Transform::None, ..format })
        });
        let took = self.clock.monotonic().saturating_sub(started);
        self.metrics.answered(verb.as_str(), response.status().as_u16(), took);
        response
    }

    async fn dispatch(
        &self,
        view: Arc<dyn View>,
        user: Arc<User>,
        target: Target,
        request: &ApiRequest,
        recheck: Recheck,
    ) -> Result<ApiResponse, Status> {
        refuse_impersonation(&request.headers)?;
        authorize(&*view, &user, &target)?;
        match target {
            Target::Path { path, .. } => {
                let (query, headers) = (&request.query, &request.headers);
                let found = paths::get(view.catalog(), &self.health, &path, query, headers)?;
                if matches!(request.method, Method::GET | Method::HEAD) {
                    return Ok(found);
                }
                Err(Status::method_not_allowed())
            }
            Target::Resource(target) if target.verb == Verb::Watch => {
                self.watch(&view, &user, &target, request, recheck).await
            }
            Target::Resource(target) => {
                let _permit = self.enter(target.verb.reads(), &user)?;
                let timeout = request.query.timeout()?.unwrap_or(REQUEST_TIMEOUT);
                let work = self.objects(view, user, target, request);
                match tokio::time::timeout(timeout.min(REQUEST_TIMEOUT), work).await {
                    Ok(result) => result,
                    Err(_) => Err(Status::timeout(
                        "request did not complete within the allotted timeout",
                        1,
                    )),
                }
            }
        }
    }

    /// Takes one of the places for requests being answered; the hub itself needs none.
    fn enter(&self, reads: bool, user: &User) -> Result<Option<Place>, Status> {
        if user.is_master() {
            return Ok(None);
        }
        let places = if reads { &self.reads } else { &self.writes };
        let Ok(permit) = places.clone().try_acquire_owned() else {
            self.metrics.rejected_of(reads).inc();
            return Err(Status::too_many_requests("too many requests, please try again later", 1));
        };
        let gauge = self.metrics.inflight_of(reads);
        gauge.inc();
        Ok(Some(Place { _permit: permit, gauge }))
    }

    async fn watch(
        &self,
        view: &Arc<dyn View>,
        user: &Arc<User>,
        target: &ResourceTarget,
        request: &ApiRequest,
        recheck: Recheck,
    ) -> Result<ApiResponse, Status> {
        let resource = view.catalog().find(&target.group, &target.version, &target.resource)?;
        if !resource.serves("watch") || !target.subresource.is_empty() {
            return Err(Status::method_not_allowed());
        }
        let cluster = cluster_of(&**view);
        let call = call(&**view, resource, &cluster, target, user)?;
        let keeper =
            Keeper { recheck, shutdown: self.shutdown.clone(), metrics: self.metrics.clone() };
        watch::watch(&self.registry, &call, view, (&request.query, &request.headers), keeper).await
    }

    /// Requests about objects, watches aside. Writes run to their end even if the client
    /// leaves.
    async fn objects(
        &self,
        view: Arc<dyn View>,
        user: Arc<User>,
        target: ResourceTarget,
        request: &ApiRequest,
    ) -> Result<ApiResponse, Status> {
        let resource =
            view.catalog().find(&target.group, &target.version, &target.resource)?.clone();
        check_verb(&resource, &target)?;
        if target.verb.reads() {
            return self.read(&*view, &user, &resource, &target, request).await;
        }
        if matches!(view.reach(), Reach::All) {
            return Err(Status::method_not_allowed());
        }
        let (registry, query, headers, body) = (
            self.registry.clone(),
            request.query.clone(),
            request.headers.clone(),
            request.body.clone(),
        );
        let work = async move {
            let request = write::Request { query: &query, headers: &headers, body: &body };
            change(&registry, &*view, &user, &resource, &target, &request).await
        };
        let (done, result) = tokio::sync::oneshot::channel();
        self.tasks.spawn("api-write", async move {
            let _ = done.send(work.await);
        });
        result.await.unwrap_or_else(|_| Err(Status::internal("the write did not finish")))
    }

    async fn read(
        &self,
        view: &dyn View,
        user: &User,
        resource: &Arc<Resource>,
        target: &ResourceTarget,
        request: &ApiRequest,
    ) -> Result<ApiResponse, Status> {
        let cluster = cluster_of(view);
        let call = call(view, resource, &cluster, target, user)?;
        match target.verb {
            Verb::Get if matches!(view.reach(), Reach::All) => Err(Status::method_not_allowed()),
            Verb::Get => {
                get::get(&self.registry, &call, &target.name, &request.query, &request.headers)
                    .await
            }
            _ => list::list(&self.registry, &call, &request.query, &request.headers).await,
        }
    }
}

/// A place among the requests being answered, given back when dropped.
struct Place {
    _permit: tokio::sync::OwnedSemaphorePermit,
    gauge: prometheus_client::metrics::gauge::Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Refuses requests in the name of somebody else. Answering them in the name of who asked would
/// do with one's rights what was meant to be tried with another's.
///
/// # Errors
/// 403 where there is such a header.
pub fn refuse_impersonation(headers: &HeaderMap) -> Result<(), Status> {
    if headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Err(Status::forbidden(
            &strait_types::GroupResource::new("", ""),
            "",
            "impersonation is not served by this release",
        ));
    }
    Ok(())
}

/// Refuses what the view does not allow, before anybody looks whether it exists.
fn authorize(view: &dyn View, user: &User, target: &Target) -> Result<(), Status> {
    let attributes = target.attributes();
    let why = match view.authorize(user, &attributes) {
        Decision::Allow(_) => return Ok(()),
        Decision::Deny(why) | Decision::NoOpinion(why) => why,
    };
    Err(forbidden(user, &attributes, &why))
}

/// The 403 for a request, in Kubernetes' words.
#[must_use]
pub fn forbidden(user: &User, attributes: &Attributes<'_>, why: &str) -> Status {
    match attributes {
        Attributes::Resource(request) => {
            let text = request.refusal(&user.name, why);
            Status::forbidden(&request.group_resource(), request.name, &text)
        }
        Attributes::NonResource(request) => {
            let mut text =
                format!("User {:?} cannot {} path {:?}", user.name, request.verb, request.path);
            if !why.is_empty() {
                text.push_str(": ");
                text.push_str(why);
            }
            Status::forbidden(&strait_types::GroupResource::new("", ""), "", &text)
        }
    }
}

fn check_verb(resource: &Resource, target: &ResourceTarget) -> Result<(), Status> {
    if !resource.is_stored() && target.names_object {
        return Err(Status::unknown_path());
    }
    if target.subresource.is_empty() {
        let names_object =
            matches!(target.verb, Verb::Get | Verb::Update | Verb::Patch | Verb::Delete);
        if resource.serves(target.verb.as_str()) && names_object == target.names_object {
            return Ok(());
        }
        return Err(Status::method_not_allowed());
    }
    match resource.subresource_serves(&target.subresource, target.verb.as_str()) {
        Some(true) => Ok(()),
        Some(false) => Err(Status::method_not_allowed()),
        None => Err(Status::unknown_path()),
    }
}

fn cluster_of(view: &dyn View) -> ClusterName {
    match view.reach() {
        Reach::Cluster(cluster) => cluster.clone(),
        // Lists and watches over everything look at no single one.
        Reach::All => ClusterName::root(),
    }
}

fn call<'a>(
    view: &'a dyn View,
    resource: &'a Arc<Resource>,
    cluster: &'a ClusterName,
    target: &'a ResourceTarget,
    user: &'a User,
) -> Result<Call<'a>, Status> {
    // The namespace of a namespace is itself.
    let itself = resource.id.resource() == "namespaces"
        && resource.is_builtin()
        && (target.names_object && target.namespace == target.name);
    let namespace = (!target.namespace.is_empty() && !itself).then_some(&*target.namespace);
    if namespace.is_some() && !resource.is_namespaced() {
        return Err(Status::unknown_path());
    }
    if namespace.is_some() && matches!(view.reach(), Reach::All) {
        return Err(Status::bad_request("a namespace cannot be combined with all workspaces"));
    }
    if namespace.is_none() && resource.is_namespaced() {
        // Without a namespace objects are only read, and only all of them.
        if target.names_object {
            return Err(Status::unknown_path());
        }
        if !target.verb.reads() {
            return Err(Status::method_not_allowed());
        }
    }
    Ok(Call { view, resource, cluster, namespace, user, subresource: &target.subresource })
}

async fn change(
    registry: &Registry,
    view: &dyn View,
    user: &User,
    resource: &Arc<Resource>,
    target: &ResourceTarget,
    request: &write::Request<'_>,
) -> Result<ApiResponse, Status> {
    let cluster = cluster_of(view);
    let call = call(view, resource, &cluster, target, user)?;
    match target.verb {
        Verb::Create if !target.subresource.is_empty() => {
            let body =
                decode::object(content_type(request.headers), request.body, resource.kind())?;
            let value = resource
                .behaviour
                .connect(&call.admission(registry, false), &target.name, body.value)
                .await?;
            Ok(respond::value(StatusCode::CREATED, &value, Format::JSON))
        }
        Verb::Create if !resource.is_stored() => {
            let format =
                Format::choose(request.headers, request.query.get("pretty"), Offer::Plain)?;
            let options = WriteOptions::parse(request.query, "CreateOptions")?;
            let incoming =
                decode::object(content_type(request.headers), request.body, resource.kind())?;
            let written = registry.review(&call, incoming, &options)?;
            let mut response =
                respond::value(StatusCode::CREATED, &written.object.to_value(), format);
            respond::warn(&mut response, &written.warnings);
            Ok(response)
        }
        Verb::Create => write::create(registry, &call, request).await,
        Verb::Update => write::update(registry, &call, &target.name, request).await,
        Verb::Patch => write::patch(registry, &call, &target.name, request).await,
        Verb::Delete => write::delete(registry, &call, &target.name, request).await,
        Verb::DeleteCollection => write::delete_collection(registry, &call, request).await,
        Verb::Get | Verb::List | Verb::Watch | Verb::Unknown => Err(Status::method_not_allowed()),
    }
}
