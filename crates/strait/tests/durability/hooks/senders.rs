//! Senders that remember what was acknowledged.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::gateway::{Gateway, SECRET};

/// Senders at once.
const SENDERS: usize = 8;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How every body ends.
pub(crate) const END: &[u8] = b"\"end\":true}";

/// What became of a load.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The deliveries that were answered with 202.
    pub(crate) acknowledged: BTreeSet<String>,
}

/// An answer that is no acknowledgement; status 0 is none at all.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
}

/// Sends until so much was acknowledged, kills the gateway while more is under way, and ends
/// when the senders have noticed.
pub(crate) async fn until_gone(gateway: Gateway, round: usize, wanted: usize) -> Sent {
    let count = Arc::new(watch::Sender::new(0_usize));
    let mut counted = count.subscribe();
    let sender = |number: usize| {
        let (address, count) = (gateway.address, count.clone());
        tokio::spawn(async move {
            let mut acknowledged = BTreeSet::new();
            let Some(mut connection) = connect(address).await else { return acknowledged };
            for nth in 0.. {
                let delivery = format!("{round}-{number}-{nth}");
                match send(&mut connection, &delivery).await {
                    Ok(()) => {
                        acknowledged.insert(delivery);
                        count.send_modify(|count| *count += 1);
                    }
                    Err(Refused { status: 0, .. }) => break,
                    Err(refused) => panic!("{refused:?}"),
                }
            }
            acknowledged
        })
    };
    let senders: Vec<_> = (0..SENDERS).map(sender).collect();
    drop(counted.wait_for(|count| *count >= wanted).await.unwrap());
    gateway.kill();
    let mut sent = Sent::default();
    for sender in senders {
        sent.acknowledged.extend(sender.await.unwrap());
    }
    sent
}

/// Sends one webhook; its delivery, if it was acknowledged.
pub(crate) async fn one(gateway: &Gateway, number: usize) -> Result<String, Refused> {
    let delivery = format!("one-{number}");
    let mut connection = connect(gateway.address).await.expect("a connection");
    send(&mut connection, &delivery).await.map(|()| delivery)
}

/// The status of a GET.
pub(crate) async fn get(address: SocketAddr, path: &str) -> u16 {
    let mut connection = connect(address).await.expect("a connection");
    let request = Request::get(path).header("host", "hooks").body(Full::default()).unwrap();
    connection.send_request(request).await.unwrap().status().as_u16()
}

async fn connect(address: SocketAddr) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

async fn send(connection: &mut SendRequest<Full<Bytes>>, delivery: &str) -> Result<(), Refused> {
    let mut body =
        format!("{{\"delivery\":\"{delivery}\",\"text\":\"{:x<3000}\",", "").into_bytes();
    body.extend_from_slice(END);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, &body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = Request::post("/github")
        .header("host", "hooks")
        .header("content-type", "application/json")
        .header("x-github-event", "push")
        .header("x-github-delivery", delivery)
        .header("x-hub-signature-256", format!("sha256={hex}"))
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let gone = Refused { status: 0, retry_after: None };
    let answered = async {
        connection.ready().await.ok()?;
        let response = connection.send_request(request).await.ok()?;
        let (head, body) = response.into_parts();
        // Half an answer acknowledges nothing.
        body.collect().await.ok()?;
        Some(head)
    };
    let answered = tokio::time::timeout(PATIENCE, answered).await.expect("an answer, or the end");
    let head = answered.ok_or(gone)?;
    if head.status == 202 {
        return Ok(());
    }
    let retry_after = head.headers.get("retry-after").map(|at| at.to_str().unwrap().to_owned());
    Err(Refused { status: head.status.as_u16(), retry_after })
}
