//! Tunnels inside WebSockets: the request for one, and the bytes after it.
//!
//! Nothing of the request is believed. Who is there, the TLS inside proves.

use std::io;

use http::StatusCode;
use strait_net::fields::Fields;
use strait_net::fields::names::UPGRADE;
use strait_net::{Body, OnUpgrade, RequestParts, Response, Upgraded};

use crate::http::fields::remove_connection;
use crate::http::upgrade::{Protocol, asked};
use crate::http::{BadHead, framing};
use crate::websocket::{Answer, Pipe, Role, Subprotocol, judge, offers};

/// Answers a request for a tunnel. What comes after a 101 is for [`bytes`].
pub fn take(mut request: RequestParts) -> (Response, Option<OnUpgrade>) {
    match judged(&mut request) {
        Err(bad) => (refusal(StatusCode::BAD_REQUEST, &bad.to_string()), None),
        Ok(None) => {
            let text = "agents come here, by a WebSocket with the subprotocol strait-tunnel.v1";
            let mut response = refusal(StatusCode::UPGRADE_REQUIRED, text);
            response.set(UPGRADE, b"websocket");
            (response, None)
        }
        Ok(Some(answer)) => {
            let mut fields = Fields::new();
            answer.put(&mut fields);
            let switching = StatusCode::SWITCHING_PROTOCOLS;
            (Response::new(switching, fields, Body::empty()), Some(request.on_upgrade))
        }
    }
}

fn judged(request: &mut RequestParts) -> Result<Option<Answer>, BadHead> {
    let RequestParts { version, method, fields, .. } = request;
    let length = framing::of_request(*version, fields)?;
    let connection = remove_connection(fields);
    let upgrade = asked(*version, method, &connection, length)?;
    let websocket = upgrade.as_ref().is_some_and(Protocol::is_websocket);
    if !websocket || !offers(fields, Subprotocol::Tunnel) {
        return Ok(None);
    }
    judge(fields, Subprotocol::Tunnel).map(Some).map_err(BadHead::WebSocket)
}

fn refusal(status: StatusCode, text: &str) -> Response {
    Response::new(status, Fields::new(), Body::from(format!("{text}\n")))
}

/// The bytes of a connection that was answered with 101.
///
/// # Errors
/// The connection ended.
pub async fn bytes(on_upgrade: OnUpgrade) -> io::Result<Pipe<Upgraded>> {
    let upgraded = on_upgrade.await?;
    Ok(Pipe::new(upgraded, Role::Server).await)
}
