//! Who broke a stream off, as it is counted.

use strait_tunnel::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::credentials::SERVICES;
use crate::fake_agent::{Acme, CI};
use crate::harness::{PATIENCE, yaml};
use crate::joining::AGENTS;
use crate::streams::{assert_cut, stay};

/// Waits until one stream was counted so, and none of this code otherwise.
async fn assert_counted(acme: &Acme, code: &str, by: &str) {
    let root = acme.hub.admin().below("");
    let begin = format!("strait_relay_resets_total{{code=\"{code}\",");
    let counted = async {
        loop {
            let text = root.get("/metrics").await.text();
            let lines: Vec<_> = text.lines().filter(|line| line.starts_with(&begin)).collect();
            if !lines.is_empty() {
                assert_eq!(lines, [format!("{begin}by=\"{by}\"}} 1")]);
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap_or_else(|_| panic!("never {code}"));
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_body_broke_it_off() {
    for answers in [false, true] {
        let acme = Acme::new().await;
        let mut agent = acme.smith().await;
        let mut client = acme.alice.connect().await;
        let request = format!(
            "PUT /clusters/root:acme{CI} HTTP/1.1\r\nHost: hub\r\nContent-Length: 9\r\n\r\nsome"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let stream = agent.next().await;
        stream.sender.accept();
        if answers {
            stream.sender.send_head(&Response::new(200, []).unwrap(), false).unwrap();
        }
        drop(client);
        assert_counted(&acme, "CANCEL", "client").await;
    }
}

#[tokio::test]
async fn who_sends_no_whole_body_is_told_so() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    for (framing, body, half_closes) in [
        ("Content-Length: 9", "some", true),
        ("Transfer-Encoding: chunked", "4\r\nsome\r\n", true),
        ("Transfer-Encoding: chunked", "4\r\nsome\r\nfew\r\n", false),
    ] {
        let mut client = acme.alice.connect().await;
        let request =
            format!("PUT /clusters/root:acme{CI} HTTP/1.1\r\nHost: hub\r\n{framing}\r\n\r\n{body}");
        client.write_all(request.as_bytes()).await.unwrap();
        // What is broken from the start is not carried.
        let _stream = if half_closes {
            let stream = agent.next().await;
            stream.sender.accept();
            client.shutdown().await.unwrap();
            Some(stream)
        } else {
            None
        };
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let answer = answer.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 400 "), "{body:?}: {answer}");
        assert!(answer.contains("x-strait-error: badbody\r\n"), "{body:?}: {answer}");
    }
    let metrics = acme.hub.admin().below("").get("/metrics").await.text();
    let refused: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("strait_relay_refused_total{")).collect();
    assert_eq!(refused, ["strait_relay_refused_total{reason=\"BadBody\"} 3"]);
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_broken_off_by_the_hub() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let ci = format!("{SERVICES}/ci.smith");
    acme.alice.merge(&ci, &yaml("{spec: {limits: {maxBody: 8}}}")).await.expect(200);
    let mut client = acme.alice.connect().await;
    let request = format!(
        "PUT /clusters/root:acme{CI} HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let _stream = agent.answer(200).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    client.write_all(b"9\r\ntoo large\r\n").await.unwrap();
    assert_counted(&acme, "TOO_LARGE", "hub").await;
}

#[tokio::test]
async fn what_ends_with_a_tunnel_that_the_hub_cuts_is_broken_off_by_the_hub() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let open = stay(&acme.alice, &mut agent, CI).await;
    let suspended = yaml("{spec: {suspended: true}}");
    acme.alice.merge(&format!("{AGENTS}/smith"), &suspended).await.expect(200);
    assert_cut(open).await;
    assert_counted(&acme, "REVOKED", "hub").await;
}
