//! Tunnels inside WebSockets: the request for one, and the bytes after it.
//!
//! Nothing of the request is believed. Who is there, the TLS inside proves.

use std::io;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use strait_net::Body;

use crate::http::fields::remove_connection;
use crate::http::framing;
use crate::http::upgrade::{Protocol, asked};
use crate::websocket::{Pipe, Role, Subprotocol, judge, offers};

/// Answers a request for a tunnel; what comes after a 101 is [`bytes`]'.
///
/// # Errors
/// The answer to one that no WebSocket can be made of.
pub fn take(mut request: Request<Incoming>) -> Result<(Response<Body>, OnUpgrade), Response<Body>> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let mut fields = parts.headers;
    let refuse = |status, text: &str| {
        let mut response = Response::new(Body::from(format!("{text}\n")));
        *response.status_mut() = status;
        response
    };
    let bad = |error: &dyn std::error::Error| refuse(StatusCode::BAD_REQUEST, &error.to_string());
    let length = framing::of_request(parts.version, &fields).map_err(|error| bad(&error))?;
    let connection = remove_connection(&mut fields);
    let upgrade = asked(parts.version, &parts.method, &connection, length);
    let upgrade = upgrade.map_err(|error| bad(&error))?;
    let websocket = upgrade.as_ref().is_some_and(Protocol::is_websocket);
    if !websocket || !offers(&fields, Subprotocol::Tunnel) {
        let text = "agents come here, by a WebSocket with the subprotocol strait-tunnel.v1";
        let mut response = refuse(StatusCode::UPGRADE_REQUIRED, text);
        let upgrade = http::HeaderValue::from_static("websocket");
        response.headers_mut().insert(http::header::UPGRADE, upgrade);
        return Err(response);
    }
    let answer = judge(&fields, Subprotocol::Tunnel).map_err(|error| bad(&error))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.put(response.headers_mut());
    Ok((response, on_upgrade))
}

/// The bytes of a connection that was answered with 101.
///
/// # Errors
/// The connection ended.
pub async fn bytes(on_upgrade: OnUpgrade) -> io::Result<Pipe<TokioIo<Upgraded>>> {
    let upgraded = on_upgrade.await.map_err(io::Error::other)?;
    Ok(Pipe::new(TokioIo::new(upgraded), Role::Server).await)
}
