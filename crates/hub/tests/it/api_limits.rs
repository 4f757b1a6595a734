//! What is too large, too deep, too slow or broken off, and that nothing comes of it.

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{TestHub, names, yaml};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A map of this name that is this large, about.
fn map_of(name: &str, bytes: usize) -> String {
    format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"k":"{}"}}}}"#, "x".repeat(bytes))
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    for (body, code, reason, part) in [
        (map_of("a", 3_200_000), 413, "RequestEntityTooLarge", "limit is 3145728"),
        (map_of("a", 6_000_000), 413, "RequestEntityTooLarge", "limit is 3145728"),
        (map_of("a", 1_100_000), 422, "Invalid", "may not be more than 1048576 bytes"),
    ] {
        let answer = client.send_bytes(Method::POST, MAPS, body.into()).await;
        let message = answer.refused(code, reason);
        assert!(message.contains(part), "{message}");
    }
    let notes = "x".repeat(270_000);
    let map = format!(r#"{{"metadata":{{"name":"a","annotations":{{"k":"{notes}"}}}}}}"#);
    let message = client.send_bytes(Method::POST, MAPS, map.into()).await.refused(422, "Invalid");
    assert!(message.contains("metadata.annotations: Too long"), "{message}");
    assert_eq!(names(&client.get(MAPS).await.expect(200)), ["kube-root-ca.crt"]);
}

#[tokio::test]
async fn what_is_nested_too_deep_is_refused() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    for (method, media_type, path) in [
        (Method::POST, "application/json", MAPS),
        (Method::POST, "application/yaml", MAPS),
        (Method::PATCH, "application/merge-patch+json", "/api/v1/namespaces/default"),
        (Method::PATCH, "application/strategic-merge-patch+json", "/api/v1/namespaces/default"),
    ] {
        let client = client.header("content-type", media_type);
        let answer = client.send_bytes(method, path, deep.clone().into()).await;
        answer.refused(400, "BadRequest");
    }
}

/// The head of a request that makes an object out of a body of this length.
fn head(length: usize) -> String {
    format!(
        "POST /clusters/root{MAPS} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_body_may_come_in_pieces() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let mut stream = client.connect().await;
    let body = map_of("a", 10);
    stream.write_all(head(body.len()).as_bytes()).await.unwrap();
    for byte in body.bytes() {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answer = String::new();
    // Some servers end without the notice of TLS; what was read counts.
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    client.get(&format!("{MAPS}/a")).await.expect(200);
}

#[tokio::test]
async fn a_body_that_breaks_off_makes_nothing() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let mut stream = client.connect().await;
    let body = map_of("a", 10);
    stream.write_all(head(body.len() + 1).as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    client.get(&format!("{MAPS}/a")).await.refused(404, "NotFound");
    client.post(MAPS, &yaml("{metadata: {name: b}}")).await.expect(201);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_its_write() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let mut events =
        client.watch(&format!("{MAPS}?watch=true&fieldSelector=metadata.name=a")).await;
    let mut stream = client.connect().await;
    let body = map_of("a", 10);
    stream.write_all((head(body.len()) + &body).as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    drop(stream);
    // It was stored whole or not at all; had it not been read, making it again succeeds.
    let again = client.send_bytes(Method::POST, MAPS, body.into()).await;
    assert!(matches!(again.status.as_u16(), 201 | 409), "{}", again.text());
    assert_eq!(events.next().await.str_at(&["type"]), Some("ADDED"));
}
