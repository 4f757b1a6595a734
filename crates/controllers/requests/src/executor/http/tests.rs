//! Requests as they are built, and what every kind of answer means, against a real socket.

use std::path::PathBuf;

use http::{HeaderName, Method};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use strait_machinery::json::parse;
use strait_net::{Body, Server, ServerMetrics, handler};
use strait_runtime::{Metrics, Shutdown, SystemClock, TaskSet};
use tokio::net::TcpListener;

use super::*;
use crate::config::{BodyRule, ResultRule};
use crate::testing::class;

const PARAMS: &str =
    r#"{"digest":"a b&c","n":7,"on":true,"list":[1],"crlf":"a\r\nX: y","none":null}"#;

fn http_config() -> HttpConfig {
    HttpConfig {
        method: Method::POST,
        url: "http://127.0.0.1:1/sign".parse().unwrap(),
        headers: Vec::new(),
        query: Vec::new(),
        body: Vec::new(),
        bearer_file: None,
        authorities: None,
        networks: vec!["127.0.0.0/8".parse().unwrap()],
        success: vec![200, 201],
        connect_timeout: Duration::from_secs(10),
        response_bytes_max: 1000,
    }
}

fn param(pointer: &str) -> TextRule {
    Source::Param(pointer.parse().unwrap())
}

fn key() -> ExecutionId {
    ExecutionId::of_journal("k1")
}

fn built(config: &HttpConfig) -> Result<Request<Bytes>, Box<str>> {
    let params = parse(PARAMS.as_bytes()).unwrap();
    request(config, &key(), &params).map_err(|failure| failure.message)
}

#[test]
fn parameters_are_encoded_for_their_place() {
    let mut config = http_config();
    config.query = vec![
        ("d".into(), param("/digest")),
        ("absent".into(), param("/x")),
        ("none".into(), param("/none")),
        ("a&b".into(), Source::Value("é".into())),
    ];
    config.headers = vec![
        (HeaderName::from_static("x-n"), param("/n")),
        (HeaderName::from_static("x-on"), param("/on")),
    ];
    config.body = vec![
        BodyRule {
            to: "/a/digest".parse().unwrap(),
            source: Source::Param("/digest".parse().unwrap()),
        },
        BodyRule { to: "/list".parse().unwrap(), source: Source::Param("/list".parse().unwrap()) },
        BodyRule { to: "/gone".parse().unwrap(), source: Source::Param("/x".parse().unwrap()) },
        BodyRule { to: "/fixed".parse().unwrap(), source: Source::Value(1.into()) },
    ];
    let request = built(&config).unwrap();
    assert_eq!(request.uri(), "http://127.0.0.1:1/sign?d=a%20b%26c&a%26b=%C3%A9");
    assert_eq!(request.headers()["x-n"], "7");
    assert_eq!(request.headers()["x-on"], "true");
    assert_eq!(request.headers()["idempotency-key"], "k1");
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.body(), r#"{"a":{"digest":"a b&c"},"fixed":1,"list":[1]}"#);
    assert!(built(&http_config()).unwrap().body().is_empty());
}

#[test]
fn what_does_not_fit_its_place_is_refused() {
    let mut config = http_config();
    config.headers = vec![(HeaderName::from_static("x-a"), param("/crlf"))];
    let refused = built(&config).unwrap_err();
    assert_eq!(&*refused, "a parameter has characters that a header cannot carry");
    config.headers = vec![(HeaderName::from_static("x-a"), param("/list"))];
    assert_eq!(&*built(&config).unwrap_err(), "a parameter is no text, number or boolean");
    config.headers = Vec::new();
    config.query = vec![("q".into(), param("/list"))];
    assert!(built(&config).is_err());
    // In a body and in a query, the same text is harmless.
    config.query = vec![("q".into(), param("/crlf"))];
    assert!(built(&config).unwrap().uri().to_string().ends_with("q=a%0D%0AX%3A%20y"));
}

#[test]
fn refusals_are_sorted_into_certain_passing_and_unknown() {
    for (code, expected) in [
        (400, "failed HTTP400 false"),
        (404, "failed HTTP404 false"),
        (302, "failed HTTP302 false"),
        (408, "failed HTTP408 true"),
        (429, "failed HTTP429 true"),
        (500, "failed HTTP500 true"),
        (503, "failed HTTP503 true"),
        (502, "unknown"),
        (504, "unknown"),
    ] {
        assert_eq!(short(&refused(code)), expected);
    }
}

fn short(ended: &Ended) -> String {
    match ended {
        Ended::Done(value) => format!("done {value}"),
        Ended::Failed(failure) => format!("failed {} {}", failure.code, failure.retryable),
        Ended::NotBegun(failure) => format!("not begun {} {}", failure.code, failure.retryable),
        Ended::Unknown(_) => "unknown".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A service that answers with the status and body of its path, `/201/text`, and notes what it
/// was asked.
struct Service {
    url: String,
    asked: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let metrics = Metrics::new();
        let tasks = TaskSet::new(&metrics);
        let server = Server::plain(ServerMetrics::new(&metrics), tasks.clone(), Shutdown::new());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = asked.clone();
        let answer = handler(move |_, request| {
            let notes = notes.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                notes.lock().push((head.headers, body));
                let path = head.uri.path().to_owned();
                let (code, text) = path[1..].split_once('/').unwrap();
                if code == "hang" {
                    std::future::pending::<()>().await;
                }
                let mut response = Response::new(Body::from(text.replace('_', "\"")));
                *response.status_mut() = code.parse().unwrap();
                response
            }
        });
        tasks.spawn_daemon("service", server.serve(listener, answer));
        Self { url, asked }
    }

    async fn call(&self, path: &str, change: impl FnOnce(&mut HttpConfig)) -> String {
        let mut config = http_config();
        config.url = format!("{}{path}", self.url).parse().unwrap();
        change(&mut config);
        let mut class = class();
        class.results = vec![ResultRule {
            name: "s".into(),
            from: "/s".parse().unwrap(),
            bytes_max: 100,
            required: false,
        }];
        class.executor = ExecutorConfig::Http(Box::new(config));
        let http = HttpExecutor::new(Arc::new(class), Arc::new(SystemClock)).unwrap();
        let limit = if path.starts_with("/hang") { 200 } else { 60_000 };
        short(&http.call(&key(), &Value::Null, Duration::from_millis(limit)).await)
    }
}

#[tokio::test]
async fn answers_become_ends() {
    let service = Service::start().await;
    for (path, expected) in [
        ("/200/{_s_:1}", "done {\"s\":1}"),
        ("/201/{}", "done {}"),
        ("/202/{}", "failed HTTP202 false"),
        ("/200/text", "failed ResultNotJSON false"),
        ("/403/no", "failed HTTP403 false"),
        ("/hang/x", "unknown"),
    ] {
        assert_eq!(service.call(path, |_| {}).await, expected, "{path}");
    }
    let small = |config: &mut HttpConfig| config.response_bytes_max = 5;
    assert_eq!(service.call("/200/{_s_:1}", small).await, "failed AnswerTooLarge false");
    assert_eq!(service.call("/500/{_s_:1}", small).await, "failed HTTP500 true");
}

#[tokio::test]
async fn what_never_reached_the_service_is_certain() {
    let service = Service::start().await;
    let unlisted = |config: &mut HttpConfig| config.networks.clear();
    assert_eq!(service.call("/200/{}", unlisted).await, "not begun ServiceNotAllowed false");
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed = |config: &mut HttpConfig| config.url = format!("http://{port}/").parse().unwrap();
    assert_eq!(service.call("/200/{}", closed).await, "not begun ServiceUnreachable true");
    assert!(service.asked.lock().is_empty());
}

#[tokio::test]
async fn the_bearer_is_read_for_each_call_and_nothing_is_sent_without_it() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file: PathBuf = dir.path().join("token");
    let call = || service.call("/200/{}", |config| config.bearer_file = Some(file.clone()));
    assert_eq!(call().await, "not begun CredentialUnavailable true");
    for bad in ["", "\n", "a\nb"] {
        std::fs::write(&file, bad).unwrap();
        assert_eq!(call().await, "not begun CredentialUnavailable true", "{bad:?}");
    }
    assert!(service.asked.lock().is_empty());
    for token in ["first", "second"] {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        assert_eq!(call().await, "done {}");
        let asked = service.asked.lock().pop().unwrap();
        assert_eq!(asked.0["authorization"], format!("Bearer {token}"));
    }
}
