//! Backends: they count what they get, answer like a pipeline's controller, or hang.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::webhook::number;
use crate::stopwatch::Stopwatch;

/// What it answers: as long as a real one's.
const ANSWER: &str = r#"{"status":202,"message":"accepted"}    "#;

/// A backend. Dropping it closes its port.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    /// Ends with the sink.
    _accepts: JoinSet<()>,
}

#[derive(Debug)]
struct Seen {
    stopwatch: Stopwatch,
    connections: AtomicU64,
    /// Requests whose whole body came.
    requests: AtomicU64,
    changed: Notify,
    hangs: AtomicBool,
    /// When each delivery came first, if that is asked for.
    times: Option<Mutex<BTreeMap<u64, Duration>>>,
}

impl Sink {
    /// Opens a port. With `timed` it remembers when each delivery came, by `stopwatch`.
    pub(crate) async fn start(stopwatch: Stopwatch, timed: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen {
            stopwatch,
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            changed: Notify::new(),
            hangs: AtomicBool::new(false),
            times: timed.then(Mutex::default),
        });
        let mut accepts = JoinSet::new();
        accepts.spawn(accept(listener, seen.clone()));
        Ok(Self { address, seen, _accepts: accepts })
    }

    /// From now on it reads and never answers.
    pub(crate) fn hang(&self) {
        self.seen.hangs.store(true, Ordering::Relaxed);
    }

    /// Connections that it has accepted.
    pub(crate) fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Requests that it has read.
    pub(crate) fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// Waits until it has read so many requests.
    ///
    /// # Errors
    /// It did not in time.
    pub(crate) async fn wait(&self, requests: u64, limit: Duration) -> Result<()> {
        let all = async {
            loop {
                let changed = self.seen.changed.notified();
                if self.requests() >= requests {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            bail!("a backend got {} of {requests} in {limit:?}", self.requests());
        }
        Ok(())
    }

    /// When each delivery came first.
    pub(crate) fn times(&self) -> Result<BTreeMap<u64, Duration>> {
        let times = self.seen.times.as_ref().context("the backend takes no times")?;
        Ok(times.lock().clone())
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        seen.connections.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_nodelay(true);
        let seen = seen.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(seen.clone(), request));
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    seen: Arc<Seen>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let delivery = request.headers().get("x-github-delivery").and_then(number);
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return Ok(status(StatusCode::BAD_REQUEST));
        }
    }
    if let (Some(times), Some(delivery)) = (&seen.times, delivery) {
        times.lock().entry(delivery).or_insert_with(|| seen.stopwatch.elapsed());
    }
    seen.requests.fetch_add(1, Ordering::Relaxed);
    seen.changed.notify_waiters();
    if seen.hangs.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    Ok(status(StatusCode::ACCEPTED))
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())));
    *response.status_mut() = status;
    response
}
