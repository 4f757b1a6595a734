//! Bytes both ways: raw streams, and connections that another protocol was agreed on.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strait_runtime::units::format_duration;
use strait_tunnel::{Code, Directions, RawHead};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, split};
use tokio::time::timeout;

use super::dial::Io;
use super::flow::Flow;
use super::live::{Live, Way};
use super::postgres;
use super::seen::{RULES, Seen};
use super::trust::Offered;
use super::until;
use crate::link::{FAREWELL, Part, Receiver, Sender, Stream};
use crate::message::Failure;
use crate::services::{ServiceLimits, StartTls};
use strait_net::http1::Intake;

/// The least that a connection may be silent for.
pub(super) const SILENCE: Duration = Duration::from_secs(60 * 60);

/// Serves a raw stream to its end.
pub(super) async fn serve(live: Arc<Live>, stream: Stream, head: RawHead, mut seen: Box<Seen>) {
    let (mut receiver, mut sender) = stream.split();
    match connect(&live, &mut sender, &head, &mut seen).await {
        Err(Refusal(code, text)) => {
            seen.code = code;
            sender.reset(Directions::Both, code, &text);
        }
        Ok(io) => {
            sender.accept();
            let (flow, limits) = (seen.flow.clone(), &live.service.limits);
            seen.code = match begin(&live, &mut receiver, &mut sender, io, &flow).await {
                Ok(Some(io)) => pump(receiver, sender, io, Bytes::new(), &flow, limits).await,
                Ok(None) => {
                    // Over already is as good as ended now.
                    let _ = sender.finish();
                    Code::None
                }
                Err(code) => {
                    sender.reset(Directions::Both, code, "");
                    code
                }
            };
        }
    }
}

/// What comes before bytes pass as they are: where the agent itself saw to TLS, what the client asks
/// about it. None where the client left with that.
async fn begin(
    live: &Live,
    receiver: &mut Receiver,
    sender: &mut Sender,
    mut io: Io,
    flow: &Flow,
) -> Result<Option<Io>, Code> {
    if live.dialer().starttls != Some(StartTls::Postgres) {
        return Ok(Some(io));
    }
    let time = live.service.limits.idle.unwrap_or(Duration::MAX);
    let Some(first) = postgres::greet(receiver, sender, time).await? else { return Ok(None) };
    let written = async {
        io.write_all(&first).await?;
        io.flush().await
    };
    let written = timeout(time.min(SILENCE), written).await.map_err(|_| Code::Timeout)?;
    written.map_err(|_| Code::UpstreamReset)?;
    flow.sent(first.len());
    Ok(Some(Box::new(postgres::Unbound::new(io))))
}

/// Why a stream is not accepted, and what the hub is told of it: which rule, how many run, why there is
/// no connection.
struct Refusal(Code, String);

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self(code, String::new())
    }
}

async fn connect(
    live: &Live,
    sender: &mut Sender,
    head: &RawHead,
    seen: &mut Seen,
) -> Result<Io, Refusal> {
    let tlvs = head.tlvs();
    seen.told(&tlvs);
    let identity = seen.by(tlvs.identity)?;
    let now = live.context.clock.now();
    if let Some(rule) = identity.refused_by(&live.service, &live.policy, now) {
        (seen.reason, seen.rule) = (RULES[0], (rule, None));
        return Err(Refusal(Code::Forbidden, rule.to_owned()));
    }
    let full = || Refusal(Code::Overloaded, live.running());
    // Bytes are accepted once there is a connection for them, which may take its time.
    let _waits = live.wait(&identity).ok_or_else(full)?;
    seen.turn = Some(until(sender, live.turn(&identity)).await?.ok_or_else(full)?);
    until(sender, seen.record()).await?.map_err(|failure| {
        seen.reason = failure.reason();
        Code::Internal
    })?;
    let Way::Tcp(dialer) = &live.kept.way else { return Err(Code::Internal.into()) };
    let dialled = Box::pin(dialer.dial(Offered::Nothing, live.service.limits.dial));
    let (io, _) = until(sender, seen.dials(dialled)).await?.map_err(|failure| {
        seen.reason = failure.reason();
        match failure {
            Failure::ConnectTimeout(_) => Code::ConnectTimeout.into(),
            Failure::UpstreamTls { why } => Refusal(Code::UpstreamTls, why),
            Failure::ConnectFailed(why) => Refusal(Code::ConnectFailed, why.text().to_owned()),
            _ => Refusal::from(Code::Internal),
        }
    })?;
    Ok(io)
}

/// Why it ended, unless both sides did in order.
type Ended = Result<(), Code>;

/// Passes bytes on until both directions ended, each in its own time, or one broke. `early` came
/// from the service already.
pub(super) async fn pump(
    mut receiver: Receiver,
    mut sender: Sender,
    io: Io,
    early: Bytes,
    flow: &Flow,
    limits: &ServiceLimits,
) -> Code {
    let (mut from, mut to) = split(io);
    let limits = ServiceLimits { head: None, ..*limits };
    flow.answered(0, flow.now());
    let ended = {
        let both = async {
            let mut inward = pin!(inward(&mut receiver, &mut to, flow));
            let mut outward = pin!(outward(&mut sender, &mut from, early, flow));
            tokio::select! {
                ended = &mut inward => {
                    ended?;
                    outward.await
                }
                ended = &mut outward => match ended {
                    Ok(()) => inward.await,
                    Err(Code::UpstreamReset) => ended,
                    // Who hears no more may have said something before.
                    Err(_) => timeout(FAREWELL, inward).await.map_or(ended, |inward| inward.and(ended)),
                },
            }
        };
        tokio::select! {
            ended = both => ended,
            _ = flow.watch(&limits) => Err(Code::Timeout),
        }
    };
    match ended {
        Ok(()) => Code::None,
        Err(Code::UpstreamReset) => {
            // What the service said before leaves before.
            sender.abort(Code::UpstreamReset, "");
            let _ = timeout(FAREWELL, sender.stopped()).await;
            Code::UpstreamReset
        }
        Err(code) => {
            // The hub is told how long nothing passed.
            let idle = limits.idle.filter(|_| code == Code::Timeout);
            sender.reset(Directions::Both, code, &idle.map(format_duration).unwrap_or_default());
            code
        }
    }
}

async fn inward(receiver: &mut Receiver, to: &mut (impl AsyncWrite + Unpin), flow: &Flow) -> Ended {
    loop {
        match receiver.next().await {
            Part::Data(bytes) => {
                let length = bytes.len();
                let written = async {
                    to.write_all(&bytes).await?;
                    to.flush().await
                };
                written.await.map_err(|_| Code::UpstreamReset)?;
                flow.sent(length);
            }
            Part::End => {
                // The service sees the end of what the client says, and may go on itself.
                return to.shutdown().await.map_err(|_| Code::UpstreamReset);
            }
            Part::Broken(end) => return Err(end.code),
            Part::Head(_) | Part::Trailers(_) => return Err(Code::Protocol),
        }
    }
}

async fn outward(
    sender: &mut Sender,
    from: &mut (impl AsyncRead + Unpin),
    early: Bytes,
    flow: &Flow,
) -> Ended {
    let mut next = early;
    let mut intake = Intake::default();
    loop {
        if !next.is_empty() {
            flow.received(next.len());
            sender.write(next).await.map_err(|stopped| stopped.0)?;
        }
        let read = poll_fn(|context| intake.poll_read(from, context));
        match until(sender, read).await? {
            Ok(0) => {
                // Over already is as good as ended now.
                let _ = sender.finish();
                return Ok(());
            }
            Ok(_) => next = intake.take(),
            Err(_) => return Err(Code::UpstreamReset),
        }
    }
}
