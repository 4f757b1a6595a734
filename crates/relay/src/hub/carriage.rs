//! Tunnels inside WebSockets: the request for one, and the bytes after it.
//!
//! Nothing of the request is believed. Who is there, the TLS inside proves.

use std::io;

use http::header::UPGRADE;
use http::{HeaderValue, Request, Response, StatusCode};
use strait_net::{Body, Incoming, OnUpgrade, Upgraded};

use crate::http::fields::remove_connection;
use crate::http::upgrade::{Protocol, asked};
use crate::http::{BadHead, framing};
use crate::websocket::{Answer, Pipe, Role, Subprotocol, judge, offers};

/// Answers a request for a tunnel. What comes after a 101 is for [`bytes`].
pub fn take(mut request: Request<Incoming>) -> (Response<Body>, Option<OnUpgrade>) {
    let on_upgrade = OnUpgrade::of(&mut request);
    match judged(request) {
        Err(bad) => (refusal(StatusCode::BAD_REQUEST, &bad.to_string()), None),
        Ok(None) => {
            let text = "agents come here, by a WebSocket with the subprotocol strait-tunnel.v1";
            let mut response = refusal(StatusCode::UPGRADE_REQUIRED, text);
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            (response, None)
        }
        Ok(Some(answer)) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            answer.put(response.headers_mut());
            (response, Some(on_upgrade))
        }
    }
}

fn judged(request: Request<Incoming>) -> Result<Option<Answer>, BadHead> {
    let (parts, _) = request.into_parts();
    let mut fields = parts.headers;
    let length = framing::of_request(parts.version, &fields)?;
    let connection = remove_connection(&mut fields);
    let upgrade = asked(parts.version, &parts.method, &connection, length)?;
    let websocket = upgrade.as_ref().is_some_and(Protocol::is_websocket);
    if !websocket || !offers(&fields, Subprotocol::Tunnel) {
        return Ok(None);
    }
    judge(&fields, Subprotocol::Tunnel).map(Some).map_err(BadHead::WebSocket)
}

fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
}

/// The bytes of a connection that was answered with 101.
///
/// # Errors
/// The connection ended.
pub async fn bytes(on_upgrade: OnUpgrade) -> io::Result<Pipe<Upgraded>> {
    let upgraded = on_upgrade.await?;
    Ok(Pipe::new(upgraded, Role::Server).await)
}
