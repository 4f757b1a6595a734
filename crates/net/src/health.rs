//! A small HTTP listener for probes and metrics, on this machine only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use strait_runtime::{METRICS_CONTENT_TYPE, Metrics, Shutdown, TaskSet};
use tokio::net::TcpListener;

use crate::body::Body;
use crate::metrics::ServerMetrics;
use crate::server::{Limits, Server, handler};

/// Answers a GET. Called on the async runtime: it does not block.
pub type Probe = Box<dyn Fn() -> Response<Body> + Send + Sync>;

/// Answers with a process's metrics.
#[must_use]
pub fn metrics_probe(metrics: Metrics) -> Probe {
    Box::new(move || {
        let mut response = Response::new(Body::from(metrics.encode()));
        let media_type = HeaderValue::from_static(METRICS_CONTENT_TYPE);
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response
    })
}

/// A health listener's address can be reached from other machines.
#[derive(Debug, thiserror::Error)]
pub enum NotLoopback {
    /// It is this.
    #[error("{0} is not a loopback address; health is served to this machine only")]
    Address(SocketAddr),
    /// It cannot be told.
    #[error("cannot tell the address of the health listener")]
    Unknown(#[source] std::io::Error),
}

/// Serves `probes` by path over plain HTTP until asked to shut down.
///
/// # Errors
/// The listener is not on a loopback address.
pub async fn serve_health(
    listener: TcpListener,
    probes: BTreeMap<&'static str, Probe>,
    metrics: ServerMetrics,
    tasks: TaskSet,
    shutdown: Shutdown,
) -> Result<(), NotLoopback> {
    let address = listener.local_addr().map_err(NotLoopback::Unknown)?;
    if !address.ip().is_loopback() {
        return Err(NotLoopback::Address(address));
    }
    let probes = Arc::new(probes);
    let limits = Limits { connections: 64, ..Limits::default() };
    let server = Server { limits, ..Server::plain(metrics, tasks, shutdown) };
    let answer = handler(move |_, request| {
        let probes = probes.clone();
        async move { answer(&probes, request.method(), request.uri().path()) }
    });
    server.serve(listener, answer).await;
    Ok(())
}

fn answer(probes: &BTreeMap<&'static str, Probe>, method: &Method, path: &str) -> Response<Body> {
    let Some(probe) = probes.get(path) else {
        return status(StatusCode::NOT_FOUND, "not found\n");
    };
    if method != Method::GET && method != Method::HEAD {
        let mut response = status(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    probe()
}

fn status(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::testing::{Scene, call};

    fn probes() -> BTreeMap<&'static str, Probe> {
        let ok = || Response::new(Body::from("ok"));
        let down = || status(StatusCode::SERVICE_UNAVAILABLE, "no hub");
        let probes: [(_, Probe); 2] = [("/livez", Box::new(ok)), ("/readyz", Box::new(down))];
        probes.into_iter().collect()
    }

    #[tokio::test]
    async fn probes_answer_by_path() {
        let scene = Scene::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, shutdown) = (scene.tasks.clone(), scene.shutdown.clone());
        let served = serve_health(listener, probes(), scene.metrics.clone(), tasks, shutdown);
        let served = scene.tasks.spawn("health", served);

        for (method, path, code, body) in [
            (Method::GET, "/livez", 200, "ok"),
            (Method::GET, "/livez?verbose", 200, "ok"),
            (Method::HEAD, "/livez", 200, ""),
            (Method::GET, "/readyz", 503, "no hub"),
            (Method::GET, "/", 404, "not found\n"),
            (Method::POST, "/livez", 405, "only GET\n"),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(format!("http://{address}{path}"))
                .body(bytes::Bytes::new());
            let response = call(None, request.unwrap()).await.unwrap();
            assert_eq!(response.status(), code, "{path}");
            assert_eq!(response.body(), body, "{path}");
        }
        scene.shutdown.ask();
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn other_machines_are_not_served() {
        let scene = Scene::new();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let (tasks, shutdown) = (scene.tasks.clone(), scene.shutdown.clone());
        let served = serve_health(listener, probes(), scene.metrics, tasks, shutdown);
        assert!(matches!(served.await, Err(NotLoopback::Address(_))));
    }
}
