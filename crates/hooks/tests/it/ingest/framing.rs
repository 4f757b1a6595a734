//! Requests that two programs could read differently: refused, and nothing behind them is read.

use tokio::io::AsyncWriteExt;

use super::scene::{Options, Scene, hex_mac, one_answer, signed, until_closed};

const BODY: &str = "{\"a\":1}";

/// A signed head without framing.
fn head(version: &str) -> String {
    let mac = hex_mac(BODY.as_bytes());
    format!(
        "POST /hook HTTP/{version}\r\nHost: hooks\r\nContent-Type: application/json\r\n\
         X-Hub-Signature-256: sha256={mac}\r\n"
    )
}

#[tokio::test]
async fn what_is_framed_twice_or_oddly_is_refused_with_all_that_follows() {
    let scene = Scene::new(Options::default()).await;
    let length = BODY.len();
    let chunks = format!("{length:x}\r\n{BODY}\r\n0\r\n\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let sized = format!("Content-Length: {length}\r\n");
    for rest in [
        format!("{sized}{chunked}\r\n{chunks}"),
        format!("{chunked}{sized}\r\n{chunks}"),
        format!("{sized}{sized}\r\n{BODY}"),
        format!("Content-Length: {length}, {length}\r\n\r\n{BODY}"),
        format!("Content-Length: +{length}\r\n\r\n{BODY}"),
        format!("Content-Length: {length} 0\r\n\r\n{BODY}"),
        format!("Content-Length : {length}\r\n\r\n{BODY}"),
        format!("Transfer-Encoding: gzip, chunked\r\n\r\n{chunks}"),
        format!("Transfer-Encoding: identity\r\n\r\n{chunks}"),
        format!("{chunked}{chunked}\r\n{chunks}"),
        format!("X: a\r\n b\r\n{sized}\r\n{BODY}"),
        format!("X: a\n{sized}\r\n{BODY}"),
        format!("{sized}\n{BODY}"),
        format!("X: a\0b\r\n{sized}\r\n{BODY}"),
        format!("{chunked}\r\n{length:x};a=b\r\n{BODY}\r\n0\r\n\r\n"),
        format!("{chunked}\r\n{length:x}\n{BODY}\r\n0\r\n\r\n"),
        format!("{chunked}\r\n0{length:x} \r\n{BODY}\r\n0\r\n\r\n"),
        format!("{chunked}\r\n{length:x}\r\n{BODY}x\r\n0\r\n\r\n"),
        format!("{chunked}\r\n10000000000000007\r\n{BODY}\r\n0\r\n\r\n"),
        format!("{chunked}\r\n-1\r\n{BODY}\r\n0\r\n\r\n"),
        format!("{chunked}\r\n{length:x}\r\n{BODY}\r\n0\r\nX: y\n\r\n"),
    ] {
        let behind = String::from_utf8(signed("/hook", BODY.as_bytes(), "")).unwrap();
        let said = scene.say(format!("{}{rest}{behind}", head("1.1"))).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{rest:?}: {said}");
        assert_eq!(said.matches("HTTP/1.").count(), 1, "{rest:?}: {said}");
    }
    let old = format!("{}{chunked}\r\n{chunks}", head("1.0"));
    assert!(scene.say(old).await.contains(" 400 "));
    assert!(scene.log.events.lock().is_empty());
    let refused = "strait_net_connection_failures_total{reason=\"framing\"}";
    assert_eq!(scene.metric(refused), "22");
}

#[tokio::test]
async fn what_is_framed_well_is_taken_one_behind_the_other() {
    let scene = Scene::new(Options::default()).await;
    let length = BODY.len();
    let chunks = format!("3\r\n{}\r\n{:X}\r\n{}\r\n0\r\n", &BODY[..3], length - 3, &BODY[3..]);
    let mut stream = scene.connect().await;
    for rest in [
        format!("Content-Length: {length}\r\n\r\n{BODY}"),
        format!("content-length:{length}\r\n\r\n{BODY}\r\n"),
        format!("Transfer-Encoding: Chunked\r\n\r\n{chunks}\r\n"),
        format!("Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n{chunks}X: y\r\n\r\n"),
        format!("Expect: 100-Continue\r\nContent-Length: {length}\r\n\r\n{BODY}"),
    ] {
        let request = format!("{}{rest}", head("1.1"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = one_answer(&mut stream).await;
        if said == "HTTP/1.1 100 Continue\r\n\r\n" {
            said = one_answer(&mut stream).await;
        }
        assert!(said.contains("HTTP/1.1 202 "), "{rest:?}: {said}");
    }
    let two = [signed("/hook", b"{}", ""), signed("/hook", b"{}", "")];
    let first = String::from_utf8(two[0].clone()).unwrap().replace("Connection: close\r\n", "");
    stream.write_all(&[first.as_bytes(), &two[1]].concat()).await.unwrap();
    let said = until_closed(stream).await;
    assert_eq!(said.matches("HTTP/1.1 202 ").count(), 2, "{said}");
    assert_eq!(scene.log.events.lock().len(), 7);
}

#[tokio::test]
async fn a_signature_in_a_trailer_signs_nothing() {
    let scene = Scene::new(Options::default()).await;
    let mac = hex_mac(BODY.as_bytes());
    let request = format!(
        "POST /hook HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{BODY}\r\n0\r\nX-Hub-Signature-256: sha256={mac}\r\n\r\n",
        BODY.len()
    );
    assert!(scene.say(request).await.starts_with("HTTP/1.1 401 "));
}
