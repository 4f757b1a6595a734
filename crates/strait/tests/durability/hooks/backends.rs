//! Three backends that outlive the gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Time for a backend to have everything.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a backend got: how often each delivery came.
type Got = BTreeMap<String, usize>;

#[derive(Debug)]
struct Backend {
    address: SocketAddr,
    got: Arc<watch::Sender<Got>>,
}

/// The backends.
#[derive(Debug)]
pub(crate) struct Backends {
    all: Vec<Backend>,
    hang: Arc<AtomicBool>,
    /// How much came more than once when that was last asked.
    repeated: Vec<usize>,
}

impl Backends {
    /// Opens three ports.
    pub(crate) async fn start() -> Self {
        let hang = Arc::new(AtomicBool::new(false));
        let mut all = Vec::new();
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let got = Arc::new(watch::Sender::new(Got::new()));
            tokio::spawn(accept(listener, got.clone(), hang.clone()));
            all.push(Backend { address, got });
        }
        Self { all, hang, repeated: vec![0; 3] }
    }

    /// Where they are.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.all.iter().map(|backend| backend.address)
    }

    /// From now on they take nothing.
    pub(crate) fn hang(&self) {
        self.hang.store(true, Ordering::Relaxed);
    }

    /// Waits until each has all of these.
    pub(crate) async fn have_all(&self, wanted: &BTreeSet<String>) {
        for (number, backend) in self.all.iter().enumerate() {
            let mut got = backend.got.subscribe();
            let all = got.wait_for(|got| wanted.iter().all(|one| got.contains_key(one)));
            if tokio::time::timeout(PATIENCE, all).await.is_err() {
                let got = backend.got.borrow();
                let missing: Vec<_> = wanted.iter().filter(|one| !got.contains_key(*one)).collect();
                panic!("backend {number} lacks {missing:?}");
            }
        }
    }

    /// Whether each lacks one of these.
    pub(crate) fn lack_some(&self, wanted: &BTreeSet<String>) -> bool {
        let lacks = |backend: &Backend| {
            let got = backend.got.borrow();
            wanted.iter().any(|one| !got.contains_key(one))
        };
        self.all.iter().all(lacks)
    }

    /// For each backend, how much came again since the last call.
    pub(crate) fn count_repeated(&mut self) -> Vec<usize> {
        let again = |backend: &Backend| backend.got.borrow().values().map(|times| times - 1).sum();
        let now: Vec<usize> = self.all.iter().map(again).collect();
        let before = std::mem::replace(&mut self.repeated, now.clone());
        now.iter().zip(before).map(|(now, before)| now - before).collect()
    }
}

async fn accept(listener: TcpListener, got: Arc<watch::Sender<Got>>, hang: Arc<AtomicBool>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (got, hang) = (got.clone(), hang.clone());
        let service = service_fn(move |request| take(got.clone(), hang.clone(), request));
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}

async fn take(
    got: Arc<watch::Sender<Got>>,
    hang: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let delivery = request.headers()["x-github-delivery"].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await;
    if hang.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    // The sender was killed in the middle of it.
    let whole = body.is_ok_and(|body| body.to_bytes().ends_with(super::senders::END));
    if whole {
        got.send_modify(|got| *got.entry(delivery).or_default() += 1);
    }
    let mut response = Response::new(Full::new(Bytes::from_static(b"accepted")));
    *response.status_mut() =
        if whole { http::StatusCode::ACCEPTED } else { http::StatusCode::BAD_REQUEST };
    Ok(response)
}
