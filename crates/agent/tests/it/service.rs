//! A private service that notes what it was asked, and answers when it is let.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use strait_net::{Body, Server, ServerMetrics, handler};
use strait_runtime::{Metrics, Shutdown, TaskSet};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// A running service.
#[derive(Clone)]
pub(crate) struct Service(Arc<Inner>);

struct Inner {
    url: String,
    asked: Mutex<Vec<String>>,
    answers: Semaphore,
}

impl Service {
    /// Starts one that answers at once.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Self(Arc::new(Inner {
            url: format!("http://{}/sign", listener.local_addr().unwrap()),
            asked: Mutex::default(),
            answers: Semaphore::new(Semaphore::MAX_PERMITS),
        }));
        let metrics = Metrics::new();
        let tasks = TaskSet::new(&metrics);
        let server = Server::plain(ServerMetrics::new(&metrics), tasks.clone(), Shutdown::new());
        let answering = service.clone();
        let answer = handler(move |_, request| {
            let service = answering.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                service.answer(&body).await
            }
        });
        tasks.spawn_daemon("service", server.serve(listener, answer));
        service
    }

    async fn answer(&self, body: &Bytes) -> Response<Body> {
        let asked = String::from_utf8_lossy(body).into_owned();
        self.0.asked.lock().push(asked);
        self.0.answers.acquire().await.unwrap().forget();
        let answer = r#"{"signature":"c2lnbmVk","publicKey":"a2V5","secret":"inside"}"#;
        Response::new(Body::from(answer.to_owned()))
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    /// From now on it answers only as often as it is let.
    pub(crate) fn hold(&self) {
        self.0.answers.forget_permits(usize::MAX);
    }

    pub(crate) fn let_answer(&self) {
        self.0.answers.add_permits(1);
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.asked.lock().clone()
    }
}
