//! From a connection's request to a response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Method, StatusCode};
use strait_apiserver::decode::BODY_MAX;
use strait_apiserver::negotiate::Format;
use strait_apiserver::{ApiRequest, ApiResponse, Query, Server, forbidden, respond};
use strait_auth::{Attributes, NonResource, User};
use strait_hooks::admin::{Admin, Authorizer};
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_net::fields::Fields;
use strait_net::fields::names::{AUDIT_ID, CONNECTION};
use strait_net::{
    Body, BodyError, Connection, Incoming, Inside, Io, Request, RequestParts, Response, read_body,
};
use strait_relay::hub::carriage;
use strait_relay::hub::{
    Accepted, Answer, Certified, Credentials, Front, JoinRequest, Joining, LivePath, RenewRequest,
    Tunnels,
};
use strait_relay::link::Carriage;
use strait_relay::{JOIN_PATH, RENEW_PATH, REVOCATIONS_PATH};
use strait_runtime::{METRICS_CONTENT_TYPE, Metrics, RequestIds, Span, TaskSet, Tracer};
use strait_workspaces::System;

use crate::authenticate::Authenticator;
use crate::{operators, traced};

/// Time for a request body to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Most bytes of a request to join or renew.
const JOIN_MAX: usize = 64 << 10;

/// Longest audit id taken from a client.
const AUDIT_ID_MAX: usize = 64;

/// Where the process's metrics are: also where kubeconfigs of the workspace `root` look for them.
const METRICS_PATHS: [&str; 2] = ["/metrics", "/clusters/root/metrics"];

/// Answers everything that the hub's port is asked.
pub(crate) struct Service {
    pub(crate) authenticator: Authenticator,
    pub(crate) system: Arc<System>,
    pub(crate) server: Server,
    pub(crate) joining: Arc<Joining>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) front: Arc<Front>,
    pub(crate) tunnels: Arc<Tunnels>,
    pub(crate) metrics: Metrics,
    pub(crate) ids: Arc<RequestIds>,
    pub(crate) tracer: Tracer,
    /// Webhooks' operators, if webhooks are taken.
    pub(crate) hooks: ArcSwapOption<Admin>,
}

impl Service {
    /// Answers a request.
    pub(crate) async fn answer(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request,
    ) -> Response {
        let id = self.audit_id(&request);
        if let Some(hooks) = self.hooks.load_full()
            && let Some(inner) = operators::inner(request.uri())
        {
            let mut request = request.into_http();
            *request.uri_mut() = inner;
            let authorizer = Arc::new(Authorizer::hub(operators::decide(&self)));
            let mut response: Response =
                hooks.answer(&authorizer, &connection, request).await.into();
            response.set(AUDIT_ID, id.as_bytes());
            return response;
        }
        if Front::takes(request.uri().path()) {
            let service = self.clone();
            let asked = connection.clone();
            let certified: Certified = Arc::new(move || match asked.certificates().is_empty() {
                true => Ok(None),
                false => service.authenticator.proved(&asked).map(Some).map_err(|e| e.to_string()),
            });
            let front = self.front.clone();
            let request = request.into_parts();
            let mut response = front.answer(connection, request, certified, &id).await;
            response.set(AUDIT_ID, id.as_bytes());
            return response;
        }
        self.api(&connection, request.into_http(), &id).await
    }

    /// Answers a request inside a WebSocket, where agents are that reach the hub by no other way: who
    /// joins or renews, and what agents ask of the API. Everybody else has better ways.
    pub(crate) async fn answer_inside(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request,
    ) -> Response {
        let (id, path) = (self.audit_id(&request), request.uri().path());
        let open = path == JOIN_PATH || path == RENEW_PATH;
        let is_agent = self.authenticator.agent(&connection).is_some();
        // A certificate that proves nothing may be an agent's that has ended: the API says why.
        let may_ask = || is_agent || self.authenticator.user(&connection).is_err();
        let mut response = if open || (!Front::takes(path) && may_ask()) {
            self.api(&connection, request.into_http(), &id).await
        } else {
            let message = "inside a WebSocket agents join, renew and ask the API, and nobody else";
            whole(refused(403, "NotServedHere", message), Span::default(), &id)
        };
        if !is_agent {
            // Nobody else keeps one of the places that there are.
            response.set(CONNECTION, b"close");
        }
        response
    }

    async fn api(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        request: http::Request<Incoming>,
        id: &str,
    ) -> Response {
        let mut span = Span::default();
        let response = self.route(connection, request, &mut span).await;
        whole(response, span, id)
    }

    /// Speaks the tunnel's protocol with an agent.
    pub(crate) async fn tunnel(
        self: Arc<Self>,
        connection: Arc<Connection>,
        carriage: Carriage,
        io: Box<dyn Io>,
    ) {
        let peer = connection.peer();
        let Some((identity, not_after)) = self.authenticator.agent(&connection) else {
            tracing::info!(%peer, "a tunnel without an agent's certificate");
            return;
        };
        let accepted = Accepted { identity, not_after, peer, carriage };
        let (service, asked) = (self.clone(), connection.clone());
        let honoured = Arc::new(move || {
            service.authenticator.user(&asked).map(drop).map_err(|error| error.to_string())
        });
        self.tunnels.clone().serve(accepted, honoured, io).await;
    }

    fn audit_id(&self, request: &Request) -> String {
        let given = request.get(AUDIT_ID).and_then(|id| std::str::from_utf8(id).ok());
        let fit = given.filter(|id| {
            let printable = id.bytes().all(|byte| byte.is_ascii_graphic());
            (1..=AUDIT_ID_MAX).contains(&id.len()) && printable
        });
        fit.map_or_else(|| self.ids.next().to_string(), str::to_owned)
    }

    async fn route(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        request: http::Request<Incoming>,
        span: &mut Span,
    ) -> ApiResponse {
        let path = request.uri().path().to_owned();
        if is_health(&path) {
            let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
            let query = Query::parse(request.uri().query().unwrap_or_default());
            return self.server.health().answer(&segments, &query);
        }
        if path == JOIN_PATH || path == RENEW_PATH {
            return self.join_or_renew(connection, request, path == JOIN_PATH).await;
        }
        let user = match self.authenticator.requester(connection, request.headers()) {
            Ok(user) => user,
            Err(error) => {
                let mut status = Status::unauthorized();
                status.message = format!("Unauthorized: {error}");
                return respond::status(&status, Format::JSON);
            }
        };
        if METRICS_PATHS.contains(&&*path) {
            return self.metrics(&user, request.method());
        }
        if !connection.certificates().is_empty() {
            *span = traced::begin(&self.tracer, &request);
        }
        if path == REVOCATIONS_PATH {
            return self.revoke_everywhere(&user, request).await;
        }
        if path == "/version" || path == "/version/" {
            return self.outside(&user, request).await;
        }
        match self.system.route(&user, &path) {
            Ok(routed) => {
                let query = Query::parse(request.uri().query().unwrap_or_default());
                traced::about(span, &*routed.view, (request.method(), &routed.path), &query);
                let live = LivePath::of(&routed.path);
                let request = match read(request, routed.path).await {
                    Ok(request) => request,
                    Err(status) => return respond::status(&status, Format::JSON),
                };
                if let Some(live) = live {
                    let answer = self.front.live_objects(&*routed.view, &user, &live, &request);
                    let answer = answer.await;
                    return answer.unwrap_or_else(|status| respond::status(&status, Format::JSON));
                }
                let recheck = self.recheck(connection, &path, query);
                self.server.answer(routed.view, user, request, recheck).await
            }
            Err(status) => respond::status(&status, Format::JSON),
        }
    }

    /// Whether whoever opened a watch may still have it: the certificate, the workspace.
    fn recheck(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        path: &str,
        query: Query,
    ) -> strait_apiserver::Recheck {
        let (service, connection, path) = (self.clone(), connection.clone(), path.to_owned());
        Arc::new(move || {
            let Ok(user) = service.authenticator.user(&connection) else {
                return false;
            };
            let Ok(routed) = service.system.route(&user, &path) else {
                return false;
            };
            // A selector of one name counts: rights may be for that object alone.
            let target = strait_apiserver::Target::parse(&Method::GET, &routed.path, &query);
            routed.view.authorize(&user, &target.attributes()).is_allowed()
        })
    }

    /// What is asked of no workspace but open to everybody.
    async fn outside(&self, user: &User, request: http::Request<Incoming>) -> ApiResponse {
        let attributes = Attributes::NonResource(NonResource { verb: "get", path: "/version" });
        if !self.system.policies.everywhere().decide(user, &attributes).is_allowed() {
            return respond::status(&forbidden(user, &attributes, ""), Format::JSON);
        }
        let query = Query::parse(request.uri().query().unwrap_or_default());
        strait_apiserver::version(&query, request.headers())
    }

    /// Whether a user may do this to a path, as the workspace `root` says.
    fn may(&self, user: &User, verb: &str, path: &str) -> Result<(), Status> {
        let attributes = Attributes::NonResource(NonResource { verb, path });
        let root = strait_types::ClusterName::root();
        let allowed = user.is_master()
            || self.system.policies.of(&root).decide(user, &attributes).is_allowed();
        if allowed { Ok(()) } else { Err(forbidden(user, &attributes, "")) }
    }

    /// Revokes credentials in all workspaces, for whoever may post to that path.
    async fn revoke_everywhere(
        &self,
        user: &User,
        request: http::Request<Incoming>,
    ) -> ApiResponse {
        let answer = async {
            self.may(user, "post", REVOCATIONS_PATH)?;
            if request.method() != Method::POST {
                return Err(Status::method_not_allowed());
            }
            let body = read_body(request.into_body(), JOIN_MAX, BODY_TIME).await;
            let body = body.map_err(|error| unread(&error, JOIN_MAX))?;
            let value = parse(&body).map_err(|_| Status::bad_request("the body is not JSON"))?;
            self.credentials.revoke_everywhere(user, &value).await
        };
        match answer.await {
            Ok(value) => respond::value(StatusCode::CREATED, &value, Format::JSON),
            Err(status) => respond::status(&status, Format::JSON),
        }
    }

    /// The process's metrics, for whoever may read the path `/metrics` in the workspace `root`.
    fn metrics(&self, user: &User, method: &Method) -> ApiResponse {
        if let Err(status) = self.may(user, "get", "/metrics") {
            return respond::status(&status, Format::JSON);
        }
        if method != Method::GET {
            return respond::status(&Status::method_not_allowed(), Format::JSON);
        }
        let text = self.metrics.encode().into_bytes();
        respond::bytes_of(StatusCode::OK, METRICS_CONTENT_TYPE, text.into())
    }

    async fn join_or_renew(
        &self,
        connection: &Arc<Connection>,
        request: http::Request<Incoming>,
        joins: bool,
    ) -> ApiResponse {
        if request.method() != Method::POST {
            return respond::status(&Status::method_not_allowed(), Format::JSON);
        }
        let body = match read_body(request.into_body(), JOIN_MAX, BODY_TIME).await {
            Ok(body) => body,
            Err(error) => return respond::status(&unread(&error, JOIN_MAX), Format::JSON),
        };
        let Ok(value) = parse(&body) else {
            return refused(400, "BadRequest", "the body is not JSON");
        };
        let text = |key: &str| value.str_at(&[key]).unwrap_or_default().to_owned();
        let answer = if joins {
            let request = JoinRequest {
                token: text("token"),
                csr: text("csr"),
                instance: text("instance"),
                version: text("version"),
                host: text("host"),
                ephemeral: value.get("ephemeral").and_then(Value::as_bool) == Some(true),
            };
            self.joining.join(&request, connection.peer().ip()).await
        } else {
            match self.authenticator.renewing(connection) {
                Ok(identity) => {
                    self.joining.renew(&identity, &RenewRequest { csr: text("csr") }).await
                }
                Err(error) => return refused(403, "CertificateRefused", &error.to_string()),
            }
        };
        match answer {
            Ok(Answer::Granted(value)) => respond::value(StatusCode::OK, &value, Format::JSON),
            Ok(Answer::Waiting(request, again)) => {
                let value = object! {"request": request, "retryAfter": again.as_secs()};
                respond::value(StatusCode::ACCEPTED, &value, Format::JSON)
            }
            Ok(Answer::Refused(code, reason, message)) => refused(code, reason, &message),
            Err(status) => respond::status(&status, Format::JSON),
        }
    }
}

/// A response as it is sent, with the request's id.
fn whole(response: ApiResponse, span: Span, id: &str) -> Response {
    let (parts, body) = response.into_parts();
    let body = traced::end(span, parts.status, body);
    let mut response: Response = http::Response::from_parts(parts, body).into();
    response.set(AUDIT_ID, id.as_bytes());
    response
}

/// Answers a request for a WebSocket of an agent, and serves what comes in it.
pub(crate) fn carry(
    peer: SocketAddr,
    request: RequestParts,
    inside: Inside,
    tasks: &TaskSet,
) -> Response {
    let (response, on_upgrade) = carriage::take(request);
    let Some(on_upgrade) = on_upgrade else { return response };
    let Some(place) = inside.place() else {
        let text = "too many agents are connected\n";
        return Response::new(StatusCode::SERVICE_UNAVAILABLE, Fields::new(), Body::from(text));
    };
    tasks.spawn("carriage", async move {
        inside.serve(place, carriage::bytes(on_upgrade), peer).await;
    });
    response
}

/// Whether a path is a probe's.
fn is_health(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "livez" | "readyz" | "healthz")
}

fn refused(code: u16, reason: &str, message: &str) -> ApiResponse {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::FORBIDDEN);
    respond::value(code, &object! {"reason": reason, "message": message}, Format::JSON)
}

fn unread(error: &BodyError, limit: usize) -> Status {
    match error {
        BodyError::TooLarge { .. } => Status::too_large(limit),
        BodyError::TimedOut => Status::timeout("the request body did not arrive in time", 1),
        BodyError::Broken(_) => Status::bad_request("the request body broke off"),
    }
}

/// Reads a request whole, with the path that its view begins at.
async fn read(request: http::Request<Incoming>, path: String) -> Result<ApiRequest, Status> {
    let (parts, body) = request.into_parts();
    let body = match parts.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => {
            read_body(body, BODY_MAX, BODY_TIME).await.map_err(|error| unread(&error, BODY_MAX))?
        }
    };
    Ok(ApiRequest {
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        method: parts.method,
        headers: parts.headers,
        path,
        body,
    })
}
