//! One http stream: decided, sent to its service, answered.
//!
//! ACCEPT is queued once it is decided that the stream goes in, before its service is connected to;
//! where the answer is near it leaves with that.
//! Everything that a stream needs belongs to the one future that serves it: dropped, it closes its
//! connection or resets its place on a shared one. Until the head of its answer has left that is
//! much, and boxed; while the rest is passed on it is little, for as long as that takes.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{StatusCode, Version};
use strait_net::fields::Fields;
use strait_tunnel::{Code, Directions, Request, Response as Head};
use tokio::time::Instant;

use super::answer::{self, Question};
use super::dial::Io;
use super::flow::{Flow, Incoming, Upload};
use super::live::{Live, Side, Way};
use super::pool::{Inner, Lost, Pool, Said};
use super::request::{Asked, Offer, decide};
use super::rest::{Rest, over};
use super::seen::Seen;
use super::{events, heartbeat, raw, until};
use crate::carried::fields_of;
use crate::link::{Part, Receiver, Sender, Stream};
use crate::message::{ConnectError, Failure, Reader, ServiceName, Told, prefers_json};
use crate::services::{HttpTarget, ServiceLimits, Target};

/// How long a service may take to ask for a body that waits; then the agent does.
const CONTINUE: Duration = Duration::from_secs(1);
/// How long a client may take for a message of ours.
const TELL: Duration = Duration::from_secs(10);

/// Why there is no answer, or not all of it.
enum Stop {
    /// Told by a message: no head has left.
    Told(Failure),
    /// Nobody is told: the peer left, or half an answer has.
    Cut(Code),
    /// Nothing was accepted; the hub is told how many run.
    Full,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Told(failure)
    }
}

/// A code of the peer's.
impl From<Code> for Stop {
    fn from(code: Code) -> Self {
        Self::Cut(code)
    }
}

/// How far an exchange is, once its beginning is over.
enum Begun {
    Whole,
    Answering(Rest),
    Switched(Switched),
}

/// What became of one sending of a request.
enum Sent {
    Answered(Begun),
    /// Nothing of it was written; its body.
    Unsent(Incoming),
    /// It broke before an answer: the request may have been executed.
    Lost(Failure),
}

/// What follows the head of an answer.
enum Next {
    Nothing,
    Rest,
    Switched,
}

/// Why there was no answer.
enum Talk {
    Stop(Stop),
    Unsent(Incoming),
    Lost,
}

impl From<Failure> for Talk {
    fn from(failure: Failure) -> Self {
        Self::Stop(Stop::Told(failure))
    }
}

impl From<Code> for Talk {
    fn from(code: Code) -> Self {
        Self::Stop(Stop::Cut(code))
    }
}

/// A connection that speaks another protocol from here on.
struct Switched {
    receiver: Receiver,
    io: Io,
    early: Bytes,
}

/// Serves a stream to its end.
pub(super) async fn serve(live: Arc<Live>, stream: Stream, head: Request, mut seen: Box<Seen>) {
    let (receiver, mut sender) = stream.split();
    let begun = Box::pin(begin(&live, receiver, &mut sender, &head, &mut seen)).await;
    match begun {
        Ok(Begun::Whole) => seen.code = Code::None,
        Ok(Begun::Answering(rest)) => {
            drop(head);
            match rest.pass(&live, &mut sender, &seen.flow).await {
                Ok(()) => seen.code = Code::None,
                Err(code) => {
                    seen.code = code;
                    sender.reset(Directions::Both, code, "");
                }
            }
        }
        Ok(Begun::Switched(Switched { receiver, io, early })) => {
            let limits = &live.service.limits;
            let idle = limits.idle.map(|idle| idle.max(raw::SILENCE));
            let limits = ServiceLimits { idle, ..*limits };
            let flow = seen.flow.clone();
            seen.code = Box::pin(raw::pump(receiver, sender, io, early, &flow, &limits)).await;
        }
        Err(Stop::Cut(code)) => {
            seen.code = code;
            sender.reset(Directions::Both, code, "");
        }
        Err(Stop::Full) => {
            seen.code = Code::Overloaded;
            sender.reset(Directions::Both, Code::Overloaded, &live.running());
        }
        Err(Stop::Told(failure)) => {
            seen.status = failure.status().as_u16();
            seen.reason = failure.reason();
            if let Failure::AgentRule { rule, detail, .. } = &failure {
                seen.rule = (rule, detail.clone());
            }
            seen.code = Code::None;
            let told = Box::pin(tell(&live, &mut sender, &head, &failure));
            if tokio::time::timeout(TELL, told).await.is_err() {
                seen.code = Code::Timeout;
                sender.reset(Directions::Both, Code::Timeout, "");
            }
        }
    }
}

/// Serves one until the head of its answer was passed on, or there is to be none.
async fn begin(
    live: &Live,
    receiver: Receiver,
    sender: &mut Sender,
    head: &Request,
    seen: &mut Seen,
) -> Result<Begun, Stop> {
    let parts = head.parts();
    seen.told(&parts.tlvs);
    seen.asks(parts.method.as_str(), parts.path);
    let identity = seen.by(parts.tlvs.identity)?;
    if heartbeat::is_one(parts.path) {
        seen.status = heartbeat::answer(sender)?.as_u16();
        return Ok(Begun::Whole);
    }
    let (Way::Http(pool), Target::Http(http)) = (&live.kept.way, &live.service.target) else {
        return Err(Failure::Internal.into());
    };
    let offer = Offer {
        side: &live.context.side,
        service: &live.service,
        http,
        policy: &live.policy,
        now: live.context.clock.now(),
    };
    let mut asked = decide(&parts, fields_of(head.fields(), head.block()), &identity, &offer)?;
    if asked.claimed {
        seen.claimed();
    }
    let (prefix, deadline_ms) = (offer.prefix(parts.tlvs.prefix), parts.tlvs.deadline_ms);
    let waits = live.wait(&identity).ok_or(Stop::Full)?;
    seen.turn = Some(until(sender, live.turn(&identity)).await?.ok_or(Stop::Full)?);
    let credential = until(sender, live.kept.credential.read()).await?;
    credential.ok_or(Failure::Internal)?.add(&mut asked.fields);
    seen.name_parent(&mut asked.fields);
    until(sender, Box::pin(seen.record())).await??;
    // Before it is connected to: whatever that takes, the stream takes no place of those that wait.
    sender.accept_with_next();
    drop(waits);
    let question = Question::of(&asked, prefix);
    let flow = seen.flow.clone();
    let deadline = deadline_ms.map(|time| Instant::now() + Duration::from_millis(time.into()));
    let began = flow.now();
    let work = Work { live, http, pool, question: &question, flow: &flow, deadline, began };
    tokio::select! {
        biased;
        done = async {
            if asked.upgrade.is_some() {
                Box::pin(work.upgrade(receiver, sender, &asked, seen)).await
            } else {
                work.send(receiver, sender, &asked, seen).await
            }
        } => done,
        failure = flow.watch(&live.service.limits) => Err(failure.into()),
        () = over(deadline) => Err(Stop::Cut(Code::Timeout)),
    }
}

/// What serving one stream needs.
#[derive(Clone, Copy)]
struct Work<'a> {
    live: &'a Live,
    http: &'a HttpTarget,
    pool: &'a Pool,
    question: &'a Question<'a>,
    flow: &'a Arc<Flow>,
    deadline: Option<Instant>,
    /// When the service's own time began.
    began: Duration,
}

impl Work<'_> {
    fn limits(&self) -> &ServiceLimits {
        &self.live.service.limits
    }

    /// Sends an ordinary request, and passes the head of its answer on.
    async fn send(
        &self,
        receiver: Receiver,
        sender: &mut Sender,
        asked: &Asked,
        seen: &mut Seen,
    ) -> Result<Begun, Stop> {
        let (mut body, has_body) = self.body(asked, receiver);
        let repeat = self.http.retries_safe && asked.is_repeatable(has_body);
        let mut rested = until(sender, self.pool.rested()).await?;
        loop {
            let is_new = rested.is_none();
            let inner = match rested.take() {
                Some(inner) => inner,
                None => {
                    sender.push();
                    until(sender, seen.dials(self.connect(false))).await??
                }
            };
            match self.attempt(inner, asked, (body, has_body), sender, seen).await? {
                Sent::Answered(begun) => return Ok(begun),
                Sent::Unsent(_) if is_new => {
                    return Err(Failure::ConnectFailed(ConnectError::Failed).into());
                }
                Sent::Unsent(back) => body = back,
                // The other side closes a connection that rests when it likes to.
                Sent::Lost(_) if repeat && !is_new => body = Incoming::default(),
                Sent::Lost(failure) => return Err(failure.into()),
            }
        }
    }

    /// A new connection. Rare and large, so it is boxed.
    fn connect(
        &self,
        upgrade: bool,
    ) -> Pin<Box<dyn Future<Output = Result<Inner, Failure>> + Send + '_>> {
        Box::pin(self.pool.connect(upgrade, self.limits().dial))
    }

    /// The body, and whether there is one. That there is none is known when the stream opens.
    fn body(&self, asked: &Asked, mut receiver: Receiver) -> (Incoming, bool) {
        let first = receiver.next().now_or_never();
        // Where one was told of, its end is that of half a request.
        let ended = first == Some(Part::End) && asked.length.is_none();
        if asked.length == Some(0) || ended {
            return (Incoming::default(), false);
        }
        let limits = (self.limits().max_body, asked.expects);
        (Incoming::new(receiver, first, self.flow, asked.length, limits), true)
    }

    /// Sends a request over one connection.
    async fn attempt(
        &self,
        mut inner: Inner,
        asked: &Asked,
        (body, has_body): (Incoming, bool),
        sender: &mut Sender,
        seen: &mut Seen,
    ) -> Result<Sent, Stop> {
        inner.begin(asked, body, has_body).map_err(Failure::BadHead)?;
        // What has no body is mostly answered in a moment.
        if has_body {
            sender.push();
        }
        match self.talk(&mut inner, sender, seen).await {
            Err(Talk::Stop(stop)) => Err(stop),
            Err(Talk::Unsent(back)) => Ok(Sent::Unsent(back)),
            Err(Talk::Lost) => self.lost().map(Sent::Lost),
            Ok(Next::Switched) => Err(Failure::UpstreamProtocol.into()),
            Ok(Next::Rest) => Ok(Sent::Answered(self.answering(inner, true))),
            Ok(Next::Nothing) => {
                self.pool.keep(inner);
                Ok(Sent::Answered(Begun::Whole))
            }
        }
    }

    /// Asks for another protocol, over a connection of its own.
    async fn upgrade(
        &self,
        receiver: Receiver,
        sender: &mut Sender,
        asked: &Asked,
        seen: &mut Seen,
    ) -> Result<Begun, Stop> {
        sender.push();
        let mut inner = until(sender, seen.dials(self.connect(true))).await??;
        inner.begin(asked, Incoming::default(), false).map_err(Failure::BadHead)?;
        match self.talk(&mut inner, sender, seen).await {
            Err(Talk::Stop(stop)) => Err(stop),
            Err(Talk::Unsent(_)) => Err(Failure::ConnectFailed(ConnectError::Failed).into()),
            Err(Talk::Lost) => Err(self.lost()?.into()),
            Ok(Next::Rest) => Ok(self.answering(inner, false)),
            Ok(Next::Nothing) => Ok(Begun::Whole),
            Ok(Next::Switched) => {
                let (io, early) = inner.into_io().ok_or(Stop::Cut(Code::UpstreamReset))?;
                Ok(Begun::Switched(Switched { receiver, io, early }))
            }
        }
    }

    /// Why a connection broke before there was an answer.
    fn lost(&self) -> Result<Failure, Stop> {
        match self.flow.upload() {
            Upload::Broken => Err(Stop::Cut(Code::Cancel)),
            Upload::TooLarge => {
                let limit = self.limits().max_body.unwrap_or_default();
                Ok(Failure::TooLarge { length: None, limit })
            }
            _ => Ok(Failure::UpstreamReset),
        }
    }

    const fn answering(&self, inner: Inner, keeps: bool) -> Begun {
        Begun::Answering(Rest { inner, keeps, deadline: self.deadline })
    }

    /// Waits for the answer, and passes its head on.
    async fn talk(
        &self,
        inner: &mut Inner,
        sender: &mut Sender,
        seen: &mut Seen,
    ) -> Result<Next, Talk> {
        let (head, empty) = self.until_head(inner, sender).await?;
        Ok(match self.begin(head, empty, sender, seen)? {
            true => Next::Switched,
            false if empty => Next::Nothing,
            false => Next::Rest,
        })
    }

    /// Waits for the head of the answer.
    async fn until_head(
        &self,
        inner: &mut Inner,
        sender: &mut Sender,
    ) -> Result<((Version, StatusCode, Fields), bool), Talk> {
        let waits = self.flow.upload() == Upload::Held;
        let mut late = waits.then(|| Box::pin(tokio::time::sleep(CONTINUE)));
        loop {
            let held = self.flow.upload() == Upload::Held;
            let event = poll_fn(|context| match (inner.poll_next(context), &mut late) {
                (Poll::Pending, Some(late)) => late.as_mut().poll(context).map(|()| None),
                (said, _) => said.map(Some),
            });
            match until(sender, event).await? {
                Some(Ok(Said::Informed(status, fields))) => {
                    if let Some(head) = answer::informational(status, fields) {
                        self.inform(&head, held, sender);
                    }
                }
                Some(Ok(Said::Head { version, status, fields, empty })) => {
                    return Ok(((version, status, fields), empty));
                }
                // An answer begins with a head.
                Some(Ok(_) | Err(Lost::Malformed)) => return Err(Failure::UpstreamProtocol.into()),
                Some(Err(Lost::Unsent(body))) => return Err(Talk::Unsent(body)),
                Some(Err(Lost::Broken)) => return Err(Talk::Lost),
                None => {
                    // The service does not say whether it wants the body: it gets it.
                    late = None;
                    self.inform(&answer::proceed(), held, sender);
                }
            }
        }
    }

    /// Passes an informational head on. Of 100 one is enough, and only where it is waited for.
    fn inform(&self, head: &Head, held: bool, sender: &Sender) {
        let proceeds = head.status() == 100;
        if !proceeds || held {
            // A stream that is over says so where it is read.
            let _ = sender.send_head(head, false);
        }
        if proceeds {
            self.flow.release();
        }
        self.flow.touch();
    }

    /// Passes the head of an answer on; whether the connection is another protocol's from here on.
    fn begin(
        &self,
        (version, status, fields): (Version, StatusCode, Fields),
        empty: bool,
        sender: &Sender,
        seen: &mut Seen,
    ) -> Result<bool, Talk> {
        let name = &*self.live.name;
        let now = self.flow.now();
        let said = (status, now.saturating_sub(self.began));
        if events::follow(self.question.watches, status, &fields) {
            self.flow.expect_events();
        }
        let (head, switched) = answer::head(self.question, self.http, name, version, said, fields)?;
        let empty = !switched && empty;
        sender.send_head(&head, empty).map_err(|_| Talk::Stop(Stop::Cut(Code::Cancel)))?;
        seen.status = status.as_u16();
        self.flow.answered(status.as_u16(), now);
        Ok(switched)
    }
}

/// Says why there is no answer of the service's.
async fn tell(live: &Live, sender: &mut Sender, head: &Request, failure: &Failure) {
    let parts = head.parts();
    let name =
        ServiceName { agent: live.context.side.name().to_owned(), service: live.name.to_string() };
    let reader = Reader {
        request_id: parts.tlvs.request_id,
        json: prefers_json(&fields_of(head.fields(), head.block())),
    };
    let Told { status, fields, body } = failure.respond(&name, &reader);
    let empty = parts.method.as_str() == "HEAD";
    // Who asks a hub is a tenant's agent, and no administrator of its rules.
    let is_hubs = matches!(live.context.side, Side::Hub);
    let head = match failure.detail().filter(|_| !is_hubs) {
        Some(rule) => answer::refused(status, &fields, rule),
        None => answer::response(status, &fields),
    };
    let Ok(head) = head else { return };
    if sender.send_head(&head, empty).is_ok() && !empty && sender.write(body).await.is_ok() {
        // Over is as good as ended.
        let _ = sender.finish();
    }
}
