//! A backend: a server that counts, keeps what came, and answers as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use strait_runtime::TaskSet;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) uri: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Hit {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Status(u16),
    With(u16, &'static str, &'static str),
    /// Nothing, for ever.
    Hang,
    /// A status, once the gate is open.
    Held(watch::Receiver<bool>, u16),
}

type Script = Box<dyn Fn(usize, &Hit) -> Reply + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    script: Script,
    hits: Mutex<Vec<Hit>>,
    count: watch::Sender<usize>,
    connections: AtomicUsize,
}

impl Server {
    /// `script` gets how many came before, and what came.
    pub(crate) async fn start(
        tasks: &TaskSet,
        script: impl Fn(usize, &Hit) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(tasks, TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    /// At an address that was free a moment ago.
    pub(crate) async fn start_at(tasks: &TaskSet, address: SocketAddr) -> Self {
        Self::listen(tasks, TcpListener::bind(address).await.unwrap(), |_, _| Reply::Status(202))
    }

    fn listen(
        tasks: &TaskSet,
        listener: TcpListener,
        script: impl Fn(usize, &Hit) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            script: Box::new(script),
            hits: Mutex::default(),
            count: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        });
        let server = Self { address, inner };
        let (accepting, connections) = (server.clone(), tasks.clone());
        tasks.spawn_daemon("backend", async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepting.inner.connections.fetch_add(1, Ordering::Relaxed);
                let server = accepting.clone();
                let service = service_fn(move |request| server.clone().answer(request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                connections.spawn_daemon("backend-connection", async {
                    drop(connection.await);
                });
            }
        });
        server
    }

    pub(crate) async fn ok(tasks: &TaskSet) -> Self {
        Self::start(tasks, |_, _| Reply::Status(202)).await
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let hit = Hit { uri: head.uri.to_string(), headers: head.headers, body };
        let reply = {
            let mut hits = self.inner.hits.lock();
            let reply = (self.inner.script)(hits.len(), &hit);
            hits.push(hit);
            self.inner.count.send_replace(hits.len());
            reply
        };
        let mut response = Response::new(Full::from("an answer with a body"));
        let status = match reply {
            Reply::Hang => std::future::pending().await,
            Reply::Status(status) => status,
            Reply::Held(mut gate, status) => {
                drop(gate.wait_for(|open| *open).await);
                status
            }
            Reply::With(status, name, value) => {
                response.headers_mut().insert(name, value.parse().unwrap());
                status
            }
        };
        *response.status_mut() = status.try_into().unwrap();
        Ok(response)
    }

    pub(crate) fn hits(&self) -> Vec<Hit> {
        self.inner.hits.lock().clone()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.hits().iter().map(Hit::text).collect()
    }

    /// Waits until so many came.
    pub(crate) async fn came(&self, count: usize) {
        let mut counted = self.inner.count.subscribe();
        let came = counted.wait_for(|came| *came >= count);
        tokio::time::timeout(super::scene::LONG, came).await.unwrap().unwrap();
    }

    pub(crate) fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }
}
