//! Raw services: bytes both ways inside a WebSocket, to a service that is connected to.

use http::StatusCode;
use strait_net::fields::Fields;
use strait_net::{Body, OnUpgrade, Response};

use super::Crossing;
use super::live::Entry;
use crate::ask::{Broken, Meter as _, Upload, pump};
use crate::http::fields::REQUEST_ID;
use crate::link::{Receiver, Sender};
use crate::message::{Failure, ServiceName};
use crate::websocket::{Pipe, Role};

/// Close codes that are ours are this, and the status that the failure would have had.
const FAILED: u16 = 4_000;
/// Both directions ended (RFC 6455 §7.4.1).
const DONE: u16 = 1_000;

/// The answer to a client whose service is connected to: the connection is a WebSocket from here
/// on.
pub(super) fn respond(
    crossing: &Crossing<'_>,
    receiver: Receiver,
    mut upload: Upload,
    live: Entry,
    on_upgrade: Option<OnUpgrade>,
) -> Result<Response, Failure> {
    let (on_upgrade, sender) = on_upgrade.zip(upload.take_sender()).ok_or(Failure::Internal)?;
    live.answered(StatusCode::SWITCHING_PROTOCOLS, None);
    let answer = crossing.head.raw.clone().ok_or(Failure::Internal)?;
    let mut fields = Fields::new();
    let status = if crossing.head.message.accept.is_some() {
        answer.put_extended(&mut fields);
        StatusCode::OK
    } else {
        answer.put(&mut fields);
        StatusCode::SWITCHING_PROTOCOLS
    };
    fields.set(REQUEST_ID, crossing.id.as_bytes());
    let carried = carry(crossing.name.clone(), on_upgrade, receiver, sender, live);
    crossing.front.context.tasks.spawn("raw", carried);
    Ok(Response::new(status, fields, Body::empty()))
}

async fn carry(
    name: ServiceName,
    on_upgrade: OnUpgrade,
    receiver: Receiver,
    sender: Sender,
    live: Entry,
) {
    let Ok(upgraded) = on_upgrade.await else { return };
    let pipe = Pipe::new(upgraded, Role::Server).await;
    let (pipe, ended) = pump(pipe, receiver, sender, &live).await;
    let (close, reason) = match &ended {
        Ok(()) | Err(Broken::Client) => (DONE, String::new()),
        Err(Broken::Stream(end)) => {
            let failure = live.why_cut().unwrap_or_else(|| Failure::of(end));
            let close = FAILED + failure.status().as_u16();
            (close, reason(&failure, &name))
        }
    };
    drop(live);
    pipe.close(close, &reason).await;
}

/// As `X-Strait-Error` and the body of an answer would have said.
fn reason(failure: &Failure, name: &ServiceName) -> String {
    format!("{}: {}", failure.reason(), failure.text(name))
}
