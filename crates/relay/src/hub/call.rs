//! Requests of the hub's own to a service, with a body that is in memory: webhooks, for one.

use std::sync::Arc;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use strait_net::traced::traceparent;
use strait_tunnel::{Class, Code, Field, OpenHead, RequestParts, Tlvs};
use strait_types::ClusterName;
use tokio::sync::watch;

use super::front::{outcome_of, outcome_of_error};
use super::tunnels::{Nobody, Tunnels};
use crate::ask::ending_of;
use crate::carried::fields_of;
use crate::choice::RETRIES_MAX;
use crate::http::fields::ERROR;
use crate::link::{Part, Receiver, Sender};

/// A service, as the hub calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallTarget {
    /// The logical cluster of the agent.
    pub cluster: ClusterName,
    /// The agent.
    pub agent: Arc<str>,
    /// Its service.
    pub service: String,
}

/// A request. Its fields are the caller's to choose: none of a client's is in them unseen.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query, in origin form.
    pub path: String,
    /// The fields.
    pub fields: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// In whose name it is made, JSON as agents read it.
    pub identity: Bytes,
    /// Its identifier in all logs.
    pub id: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Called {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub fields: HeaderMap,
    /// As much of its body as was wanted.
    pub body: Bytes,
}

/// There is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFailed {
    /// Nobody there takes it: it was not executed.
    #[error("no instance of the agent takes it")]
    Nobody,
    /// It cannot be carried.
    #[error("the request cannot be carried: {0}")]
    Malformed(strait_tunnel::HeadError),
    /// It may have been executed.
    #[error("the answer broke off ({0})")]
    Broken(Code),
}

impl Tunnels {
    /// Makes a request, and reads at most `answer_max` bytes of the answer's body. Repeated only
    /// where nothing was executed; where every instance has too much to do, the answer says so.
    /// There is no limit of time: drop it.
    ///
    /// # Errors
    /// See [`CallFailed`].
    ///
    /// # Cancel safety
    /// Dropped, the request is cancelled, and may have been executed.
    pub async fn call(
        &self,
        target: &CallTarget,
        call: &Call,
        answer_max: usize,
    ) -> Result<Called, CallFailed> {
        let at = (&target.cluster, &target.agent, &*target.service);
        let spec = self.spec(&target.cluster, &target.agent).ok_or(CallFailed::Nobody)?;
        let mut tried = Vec::new();
        let mut full = false;
        for _ in 0..=RETRIES_MAX {
            let chosen = match self.choose(at, &spec, None, &tried) {
                Err(Nobody::Exhausted) if full => return Ok(overloaded()),
                Err(Nobody::Exhausted) => self.choose(at, &spec, None, &[]),
                other => other,
            };
            let chosen = chosen.map_err(|_| CallFailed::Nobody)?;
            let head = OpenHead::Http(head(call, &chosen.service.r#type, &target.service)?);
            tried.push(chosen.instance.clone());
            let empty = call.body.is_empty();
            let opened = chosen.link.open_of(&chosen.share, &head, Class::Normal, empty);
            let stream = match opened {
                Ok(stream) => stream,
                Err(error) => {
                    full = ending_of(error).code == Code::Overloaded;
                    continue;
                }
            };
            let (mut receiver, mut sender) = stream.split();
            match exchange(&mut receiver, &mut sender, call, answer_max).await {
                Ok(called) => {
                    let error = called.fields.get(ERROR).map(|own| own.to_str().unwrap_or("?"));
                    self.ended(&chosen, outcome_of_error(error));
                    return Ok(called);
                }
                Err(end) if end.unexecuted => full = end.code == Code::Overloaded,
                Err(end) => {
                    self.ended(&chosen, outcome_of(end.code));
                    return Err(CallFailed::Broken(end.code));
                }
            }
        }
        if full { Ok(overloaded()) } else { Err(CallFailed::Nobody) }
    }

    /// Counts what agents offer and who is there: it changes where a call that nobody took may
    /// be taken now.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed().subscribe()
    }

    /// A number that is another one each time that an agent comes and offers a service, or offers
    /// it again; none while nobody does.
    #[must_use]
    pub fn offered(&self, target: &CallTarget) -> Option<u64> {
        let at = (&target.cluster, &target.agent, &*target.service);
        self.newest(at, &*self.spec(at.0, at.1)?)
    }
}

/// As clients are told it.
fn overloaded() -> Called {
    let fields = [
        (HeaderName::from_static(ERROR), HeaderValue::from_static("Overloaded")),
        (RETRY_AFTER, HeaderValue::from_static("1")),
    ];
    let fields = fields.into_iter().collect();
    Called { status: StatusCode::SERVICE_UNAVAILABLE, fields, body: Bytes::new() }
}

fn head(call: &Call, kind: &str, service: &str) -> Result<strait_tunnel::Request, CallFailed> {
    let fields =
        call.fields.iter().map(|(name, value)| Field::new(name.as_str(), value.as_bytes()));
    let parts = RequestParts {
        method: strait_tunnel::Method::new(call.method.as_str()).map_err(CallFailed::Malformed)?,
        authority: "",
        path: &call.path,
        tlvs: Tlvs {
            service_type: kind,
            service,
            identity: &call.identity,
            body_length: Some(call.body.len() as u64).filter(|length| *length > 0),
            request_id: &call.id,
            trace: traceparent(&call.fields),
            ..Tlvs::default()
        },
    };
    strait_tunnel::Request::new(&parts, fields).map_err(CallFailed::Malformed)
}

async fn exchange(
    receiver: &mut Receiver,
    sender: &mut Sender,
    call: &Call,
    answer_max: usize,
) -> Result<Called, strait_tunnel::End> {
    let upload = async {
        // Where nobody wants it, the answer says why.
        if !call.body.is_empty() && sender.write(call.body.clone()).await.is_ok() {
            let _ = sender.finish();
        }
    };
    let answer = async {
        let mut called =
            Called { status: StatusCode::OK, fields: HeaderMap::new(), body: Bytes::new() };
        let mut body = Vec::new();
        loop {
            match receiver.next().await {
                Part::Head(head) if head.is_informational() => {}
                Part::Head(head) => {
                    called.status =
                        StatusCode::from_u16(head.status()).unwrap_or(StatusCode::BAD_GATEWAY);
                    called.fields = fields_of(head.fields(), head.block()).to_map();
                }
                Part::Data(bytes) => {
                    let room = answer_max.saturating_sub(body.len());
                    body.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    if bytes.len() > room {
                        break;
                    }
                }
                Part::Trailers(_) | Part::End => break,
                Part::Broken(end) => return Err(end),
            }
        }
        called.body = body.into();
        Ok(called)
    };
    let mut answer = std::pin::pin!(answer);
    let mut upload = std::pin::pin!(upload);
    tokio::select! {
        called = &mut answer => return called,
        () = &mut upload => {}
    }
    answer.await
}
