//! A client that asks for the bytes of a service.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use strait_relay::websocket::{Key, Pipe, Role, Subprotocol};
use strait_runtime::SystemEntropy;

use crate::harness::{Client, PATIENCE};

pub(crate) type Io = TokioIo<Upgraded>;

/// An answer that is no 101.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
    pub(crate) text: String,
    pub(crate) fields: HeaderMap,
}

/// Asks for an upgrade of a new connection.
pub(crate) async fn ask(
    client: &Client,
    path: &str,
    fields: HeaderMap,
) -> Result<(HeaderMap, Io), Refused> {
    let stream = client.connect().await;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::get(path).body(Empty::<Bytes>::new()).unwrap();
    *request.headers_mut() = fields;
    let host = HeaderValue::from_str(&client.address().to_string()).unwrap();
    request.headers_mut().insert(header::HOST, host);
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
    let mut answer = answer.expect("the hub answers in time").expect("the hub answers");
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upgraded = hyper::upgrade::on(&mut answer).await.unwrap();
        return Ok((answer.headers().clone(), TokioIo::new(upgraded)));
    }
    let (parts, body) = answer.into_parts();
    let reason =
        parts.headers.get("x-strait-error").map(|value| value.to_str().unwrap().to_owned());
    Err(Refused {
        status: parts.status,
        reason: reason.unwrap_or_default(),
        text: String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
        fields: parts.headers,
    })
}

/// The fields of a request for a raw service, by a token.
pub(crate) fn fields(key: &Key, token: Option<&str>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    key.put(&mut fields);
    if let Some(token) = token {
        fields.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    fields
}

pub(crate) fn key() -> Key {
    Key::new(Subprotocol::Raw, &SystemEntropy)
}

/// The bytes of a service, in the short form of the path.
pub(crate) async fn dial(client: &Client, service: &str, token: &str) -> Result<Pipe<Io>, Refused> {
    let key = key();
    let path = format!("/services/relay/smith/{service}");
    let (told, io) = ask(client, &path, fields(&key, Some(token))).await?;
    key.check(StatusCode::SWITCHING_PROTOCOLS, &told).unwrap();
    Ok(Pipe::new(io, Role::Client).await)
}
