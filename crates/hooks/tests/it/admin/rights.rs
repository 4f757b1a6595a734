//! Who may do what.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use strait_hooks::admin::{Authorizer, Caller, Refusal};
use strait_hooks::config::{self, AdminListener, Cluster, Listener, Permission};
use strait_net::{Body, handler, read_body};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::scene::{Scene, TOKENS};

/// Every request, and what it takes.
const REQUESTS: [(Method, &str, Permission); 11] = [
    (Method::GET, "/events", Permission::View),
    (Method::GET, "/events/3", Permission::View),
    (Method::GET, "/status", Permission::View),
    (Method::GET, "/metrics", Permission::View),
    (Method::GET, "/payloads/3", Permission::Payload),
    (Method::POST, "/replay?id=6&dryRun=true", Permission::Replay),
    (Method::POST, "/purge?id=6&dryRun=true", Permission::Replay),
    (Method::GET, "/backends", Permission::Backends),
    (Method::POST, "/backends", Permission::Backends),
    (Method::DELETE, "/backends", Permission::Backends),
    (Method::GET, "/nothing", Permission::View),
];

#[tokio::test]
async fn each_permission_is_good_for_its_own_requests_alone() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    for (method, path, needed) in REQUESTS {
        for (token, may) in TOKENS {
            let status = api.call(token, method.clone(), path, "").await.status().as_u16();
            if may == needed {
                assert!(![401, 403].contains(&status), "{token} {path}: {status}");
            } else {
                let (status, why) = api.fails(token, method.clone(), path).await;
                assert_eq!(status, 403, "{token} {path}");
                assert!(why.contains(&format!("User \"token:{token}\" cannot ")), "{why}");
            }
        }
        for nobody in ["", "stranger"] {
            assert_eq!(api.fails(nobody, method.clone(), path).await.0, 401, "{path}");
        }
    }
    let tail = api.fails("registrar", Method::GET, "/tail").await;
    assert_eq!(tail.0, 403);
    for health in ["/livez", "/readyz"] {
        assert_eq!(api.call("", Method::GET, health, "").await.body(), "ok");
    }
    assert_eq!(api.fails("viewer", Method::DELETE, "/events").await.0, 405);
    assert!(scene.audited().iter().all(|line| line.ends_with("payloads 3 read")));
    assert!(scene.metrics().contains("strait_"));
}

#[tokio::test]
async fn who_may_use_the_socket_may_do_everything_there_and_nothing_elsewhere() {
    let scene = Scene::new().await;
    let path = scene.directory.path().join("admin.sock");
    let admin = config::Admin {
        listen: AdminListener::Unix(path.clone()),
        tokens: Vec::new(),
        cluster: None,
    };
    let authorizer = Arc::new(Authorizer::open(&admin, scene.clock.clone()).await.unwrap());
    let listener = UnixListener::from_std(strait_net::listen_unix(&path).unwrap()).unwrap();
    let handler = scene.admin.handler(authorizer.clone());
    tokio::spawn(scene.server().serve_unix(listener, handler));
    let stream = TokioIo::new(UnixStream::connect(&path).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (method, path, _) in REQUESTS {
        let request = Request::builder().method(method).uri(path).header("host", "x");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert!(![401, 403].contains(&response.status().as_u16()), "{path}");
        response.into_body().collect().await.unwrap();
    }
    let api = scene.serve_by(authorizer).await;
    assert_eq!(api.fails("", Method::GET, "/events").await.0, 401);
}

#[tokio::test]
async fn a_hub_decides_by_itself() {
    let scene = Scene::new().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = asked.clone();
    let authorizer = Authorizer::hub(Arc::new(move |_, what| {
        told.lock().push((what.path.clone(), what.verb));
        Box::pin(async move {
            match what.permission {
                Permission::View => Ok(Caller { user: "jo".into(), groups: Vec::new() }),
                Permission::Payload => Err(Refusal::Unavailable),
                Permission::Replay => Err(Refusal::Forbidden("jo".into())),
                Permission::Backends => Err(Refusal::Unauthenticated),
            }
        })
    }));
    let api = scene.serve_by(Arc::new(authorizer)).await;
    for (method, path, status) in [
        (Method::GET, "/events", 200),
        (Method::GET, "/payloads/1", 503),
        (Method::POST, "/replay?all", 403),
        (Method::DELETE, "/backends", 401),
    ] {
        assert_eq!(api.call("", method, path, "").await.status(), status, "{path}");
    }
    let expected = [
        ("/events", "get"),
        ("/payloads/1", "get"),
        ("/replay", "create"),
        ("/backends", "delete"),
    ];
    assert_eq!(*asked.lock(), expected.map(|(path, verb)| (path.to_owned(), verb)));
}

/// A cluster that knows `jo`, who may get below `/events`, and answers in words of Kubernetes.
struct FakeCluster {
    reviews: Mutex<Vec<Value>>,
    down: Mutex<bool>,
}

impl FakeCluster {
    fn answer(&self, path: &str, review: &Value) -> Response<Body> {
        self.reviews.lock().push(review.clone());
        let mut answer = review.clone();
        answer["metadata"] = json!({});
        answer["status"] = match path {
            "/apis/authentication.k8s.io/v1/tokenreviews" => match review["spec"]["token"].as_str()
            {
                Some("jo-token") => json!({
                    "authenticated": true,
                    "user": {
                        "username": "system:serviceaccount:ns:jo",
                        "uid": "1",
                        "groups": ["system:authenticated"],
                        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]},
                    },
                    "audiences": ["https://x"],
                }),
                _ => json!({"user": {}, "error": "[invalid bearer token]"}),
            },
            "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
                let asked = &review["spec"]["nonResourceAttributes"];
                let path = asked["path"].as_str().unwrap();
                let allowed = asked["verb"] == "get" && path.starts_with("/events");
                json!({"allowed": allowed, "reason": ""})
            }
            other => panic!("{other}"),
        };
        let mut response = Response::new(Body::from(answer.to_string()));
        *response.status_mut() = http::StatusCode::CREATED;
        if *self.down.lock() {
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        }
        response
    }
}

async fn serve_cluster(scene: &Scene) -> (Arc<FakeCluster>, config::Admin) {
    let cluster = Arc::new(FakeCluster { reviews: Mutex::default(), down: Mutex::default() });
    let answering = cluster.clone();
    let handler = handler(move |_, request| {
        let cluster = answering.clone();
        async move {
            let path = request.uri().path().to_owned();
            let limit = std::time::Duration::from_secs(60);
            let body = read_body(request.into_body(), 1 << 20, limit).await.unwrap();
            cluster.answer(&path, &serde_json::from_slice(&body).unwrap())
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(scene.server().serve(listener, handler));
    let kubeconfig = scene.directory.path().join("kubeconfig");
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{server}")}}],
        "users": [{"name": "u", "user": {"token": "own"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    });
    std::fs::write(&kubeconfig, text.to_string()).unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let admin = config::Admin {
        listen: AdminListener::Tcp(Listener { address, tls: None }),
        tokens: Vec::new(),
        cluster: Some(Cluster::Kubeconfig(kubeconfig)),
    };
    (cluster, admin)
}

#[tokio::test]
async fn a_cluster_says_who_a_token_is_and_what_it_may() {
    strait_pki::install_provider();
    let scene = Scene::new().await;
    let (cluster, admin) = serve_cluster(&scene).await;
    let authorizer = Authorizer::open(&admin, scene.clock.clone()).await.unwrap();
    let api = scene.serve_by(Arc::new(authorizer)).await;
    assert_eq!(api.ids_as("jo", "id=3").await, [3]);
    let reviews = cluster.reviews.lock().clone();
    assert_eq!(reviews.len(), 2);
    let info = json!({
        "user": "system:serviceaccount:ns:jo",
        "uid": "1",
        "groups": ["system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]},
        "nonResourceAttributes": {"path": "/events", "verb": "get"},
    });
    assert_eq!(reviews[1]["spec"], info);
    for (token, method, path, status) in [
        ("jo", Method::POST, "/replay?all", 403),
        ("jo", Method::GET, "/payloads/3", 403),
        ("jo", Method::DELETE, "/backends", 403),
        ("ann", Method::GET, "/events", 401),
        ("", Method::GET, "/events", 401),
    ] {
        assert_eq!(api.fails(token, method, path).await.0, status, "{token} {path}");
    }
    // Answers are kept for a moment; then a cluster that is down lets nobody in.
    let asked = cluster.reviews.lock().len();
    *cluster.down.lock() = true;
    assert_eq!(api.ids_as("jo", "id=4").await, [4]);
    assert_eq!(cluster.reviews.lock().len(), asked);
    scene.clock.advance(std::time::Duration::from_secs(10));
    for (token, path) in [("jo", "/events"), ("ann", "/events"), ("jo", "/payloads/3")] {
        assert_eq!(api.fails(token, Method::GET, path).await.0, 503, "{token} {path}");
    }
    *cluster.down.lock() = false;
    assert_eq!(api.ids_as("jo", "id=4").await, [4]);
}
