//! Backends that come and go.

use http::{Method, StatusCode};
use strait_hooks::admin::Backends;
use strait_hooks::config::DynamicBackends;

use super::scene::{Scene, sources};

#[tokio::test]
async fn backends_come_and_go_with_sprayproxys_answers() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    for (method, body, status, text) in [
        (Method::POST, r#"{"url":"https://b.example"}"#, 200, "registered the backend server"),
        (Method::POST, r#"{"url":"https://b.example/"}"#, 302, "backend server already registered"),
        (Method::POST, r#"{"url":"https://c.example/x"}"#, 200, "registered the backend server"),
        (
            Method::POST,
            r#"{"url":"https://one.example/hook?secret=x"}"#,
            302,
            "backend server already registered",
        ),
        (Method::POST, "{}", 400, "please provide a valid json body"),
        (Method::POST, r#"["https://b.example"]"#, 400, "please provide a valid json body"),
        (Method::POST, "", 400, "please provide a valid json body"),
        (Method::POST, r#"{"url":""}"#, 400, "url: "),
        (Method::POST, r#"{"url":"ht!tp://%%%"}"#, 400, "url: "),
        (Method::POST, r#"{"url":"http://d.example"}"#, 400, "url: "),
        (Method::POST, r#"{"url":"https://169.254.169.254/"}"#, 400, "url: "),
        (Method::POST, r#"{"url":"https://127.0.0.1/"}"#, 400, "url: "),
        (Method::POST, r#"{"url":"https://fails.example/"}"#, 503, "backends cannot be changed"),
        (
            Method::GET,
            "",
            200,
            "Backend urls: https://one.example/hook?secret=x, https://two.example/hook?secret=x, https://b.example, https://c.example/x",
        ),
        (Method::DELETE, r#"{"url":"https://b.example/"}"#, 200, "backend server unregistered"),
        (
            Method::DELETE,
            r#"{"url":"https://b.example"}"#,
            404,
            "backend server not found in the list",
        ),
        (
            Method::DELETE,
            r#"{"url":"https://one.example/hook?secret=x"}"#,
            409,
            "the backend server is one of the configuration",
        ),
        (Method::DELETE, "x", 400, "please provide a valid json body"),
        (Method::PUT, "", 405, "only GET"),
    ] {
        let response = api.call("registrar", method.clone(), "/backends", body).await;
        let told = String::from_utf8_lossy(response.body());
        assert_eq!(response.status().as_u16(), status, "{method} {body}: {told}");
        assert!(told.starts_with(text), "{method} {body}: {told}");
        assert!(!response.headers().contains_key("location"));
    }
    let hosts = |scene: &Scene| {
        let backends = scene.fake.backends.lock().clone();
        backends
            .iter()
            .map(|one| one.address.url().unwrap().host().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(hosts(&scene), ["one.example", "two.example", "c.example"]);
    let audited = scene.audited();
    assert_eq!(audited.len(), 4, "{audited:?}");
    assert!(audited[0].starts_with("token:registrar started: backends b-example-"));
    assert!(audited.last().unwrap().ends_with(" remove"));
}

#[tokio::test]
async fn what_was_added_is_there_after_a_restart() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    let body = r#"{"url":"https://b.example"}"#;
    assert_eq!(api.call("registrar", Method::POST, "/backends", body).await.status(), 200);
    let open = || {
        let dynamic = DynamicBackends { networks: Vec::new(), timeout: None, insecure: false };
        Backends::open(dynamic, Some(scene.directory.path()), scene.fake.clone(), None)
    };
    open().unwrap().apply(sources(), Vec::new()).await.unwrap();
    let backends = scene.fake.backends.lock().clone();
    let dynamic = DynamicBackends { networks: Vec::new(), timeout: None, insecure: false };
    let known = Backends::known(&dynamic, scene.directory.path(), sources(), Vec::new()).unwrap();
    assert_eq!(*known, *backends);
    assert_eq!(backends.len(), 1);
    assert_eq!(backends[0].address.to_string(), "https://b.example/");
    assert!(!backends[0].allow_private);
    std::fs::write(scene.directory.path().join("backends.json"), "{").unwrap();
    assert!(open().unwrap_err().to_string().contains("cannot understand"));
}

#[tokio::test]
async fn a_long_body_is_not_kept() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    let long: &'static str =
        Box::leak(format!(r#"{{"url":"https://b.example/{}"}}"#, "x".repeat(60_000)).into());
    let response = api.call("registrar", Method::POST, "/backends", long).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(scene.fake.backends.lock().len(), 2);
}

#[tokio::test]
async fn requests_for_other_paths_are_left_to_others() {
    let scene = Scene::new().await;
    let authorizer = scene.authorizer().await;
    let backends = scene.backends.clone();
    let handler = strait_net::handler(move |connection, request| {
        let (backends, authorizer) = (backends.clone(), authorizer.clone());
        async move {
            let answered = backends.answer(&authorizer, &connection, request).await;
            answered.unwrap_or_else(|| http::Response::new("other".into()))
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = super::scene::Api { address: listener.local_addr().unwrap() };
    tokio::spawn(scene.server().serve(listener, handler));
    for (token, path, status, text) in [
        ("registrar", "/backends", 200, "Backend urls: "),
        ("viewer", "/backends", 403, ""),
        ("", "/backends", 401, ""),
        ("", "/backends/", 200, "other"),
        ("", "/", 200, "other"),
    ] {
        let response = api.call(token, Method::GET, path, "").await;
        assert_eq!(response.status(), status, "{path}");
        assert!(String::from_utf8_lossy(response.body()).starts_with(text), "{path}");
    }
}
