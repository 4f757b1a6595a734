//! What moves on one stream, and the body that a client sends.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use strait_runtime::Clock;

use crate::carried::fields_of;
use crate::http::trailers::clean_request;
use crate::link::{Part, Receiver};
use crate::message::Failure;
use crate::services::ServiceLimits;

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// It waits for 100.
    Held,
    Running,
    /// All of it was handed over.
    Done,
    /// Its client broke off.
    Broken,
    /// It is larger than it may be.
    TooLarge,
}

/// What both directions of a stream tell of themselves.
pub(super) struct Flow {
    clock: Arc<dyn Clock>,
    began: Duration,
    /// When something moved last, milliseconds of the clock.
    moved: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    upload: AtomicU8,
    answered: AtomicBool,
    /// Whether events follow.
    events: AtomicBool,
    /// Of the service's answer; 0 before there is one.
    status: AtomicU16,
    gate: AtomicWaker,
}

/// What has passed on a stream that is served, for whoever lists it.
#[derive(Clone)]
pub(crate) struct Progress(pub(super) Arc<Flow>);

impl Progress {
    /// Bytes to the service, and from it.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        self.0.bytes().into()
    }

    /// The status of the service's answer; 0 before there is one.
    pub(crate) fn status(&self) -> u16 {
        self.0.status.load(Ordering::Relaxed)
    }

    /// How long nothing has moved.
    pub(crate) fn idle(&self) -> Duration {
        let moved = self.0.moved.load(Ordering::Relaxed);
        self.0.now().saturating_sub(Duration::from_millis(moved))
    }
}

impl Flow {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let began = clock.monotonic();
        Arc::new(Self {
            clock,
            began,
            moved: AtomicU64::new(millis(began)),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            upload: AtomicU8::new(Upload::Done as u8),
            answered: AtomicBool::new(false),
            events: AtomicBool::new(false),
            status: AtomicU16::new(0),
            gate: AtomicWaker::new(),
        })
    }

    /// When the stream came.
    pub(super) const fn began(&self) -> Duration {
        self.began
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Something moved.
    pub(super) fn touch(&self) {
        self.moved_at(self.now());
    }

    fn moved_at(&self, now: Duration) {
        self.moved.store(millis(now), Ordering::Relaxed);
    }

    /// Bytes went to the service.
    pub(super) fn sent(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    /// Bytes came from it.
    pub(super) fn received(&self, bytes: usize) {
        self.down.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    /// Bytes to the service and from it.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }

    /// The service has answered by `now`, with a status if it speaks HTTP: from here on only
    /// silence is too long.
    pub(super) fn answered(&self, status: u16, now: Duration) {
        self.status.store(status, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
        self.moved_at(now);
    }

    /// Events follow the answer's head: silence is no mistake of theirs.
    pub(super) fn expect_events(&self) {
        self.events.store(true, Ordering::Relaxed);
    }

    pub(super) fn upload(&self) -> Upload {
        match self.upload.load(Ordering::Acquire) {
            0 => Upload::Held,
            1 => Upload::Running,
            2 => Upload::Done,
            3 => Upload::Broken,
            _ => Upload::TooLarge,
        }
    }

    fn set_upload(&self, to: Upload) {
        self.upload.store(to as u8, Ordering::Release);
        self.touch();
    }

    /// Lets a body that waits go.
    pub(super) fn release(&self) {
        if self.upload() == Upload::Held {
            self.set_upload(Upload::Running);
            self.gate.wake();
        }
    }

    /// Waits until nothing has moved for too long.
    pub(super) async fn watch(&self, limits: &ServiceLimits) -> Failure {
        let shortest = match (limits.head, limits.idle) {
            (Some(head), Some(idle)) => head.min(idle),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return std::future::pending().await,
        };
        loop {
            let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
            let quiet = self.clock.monotonic().saturating_sub(moved);
            // What the service owes is an answer once it has the whole request.
            let owed = !self.answered.load(Ordering::Relaxed) && self.upload() == Upload::Done;
            let limit = match self.events.load(Ordering::Relaxed) {
                _ if owed => limits.head,
                true => limits.events,
                false => limits.idle,
            };
            match limit {
                Some(limit) if quiet >= limit && owed => return Failure::HeadTimeout(limit),
                Some(limit) if quiet >= limit => return Failure::IdleTimeout(limit),
                // Whatever the limit becomes meanwhile, it is not met before this is over.
                Some(limit) => tokio::time::sleep(shortest.min(limit - quiet)).await,
                None => tokio::time::sleep(shortest).await,
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The body of a request, as it comes through the tunnel.
#[derive(Default)]
pub(super) struct Incoming(Option<Box<Source>>);

struct Source {
    receiver: Receiver,
    /// What was taken to see whether there is a body.
    first: Option<Part>,
    flow: Arc<Flow>,
    /// As it was told.
    length: Option<u64>,
    limit: u64,
    read: u64,
}

/// The client broke off, or sent too much.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off")]
pub(super) struct BrokenOff;

impl Incoming {
    /// A body whose first part was taken already, if it was there.
    pub(super) fn new(
        receiver: Receiver,
        first: Option<Part>,
        flow: &Arc<Flow>,
        length: Option<u64>,
        (limit, held): (Option<u64>, bool),
    ) -> Self {
        flow.set_upload(if held { Upload::Held } else { Upload::Running });
        let limit = limit.unwrap_or(u64::MAX);
        let flow = flow.clone();
        Self(Some(Box::new(Source { receiver, first, flow, length, limit, read: 0 })))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(source) = &mut self.0 else { return Poll::Ready(None) };
        if source.flow.upload() == Upload::Held {
            source.flow.gate.register(context.waker());
            if source.flow.upload() == Upload::Held {
                return Poll::Pending;
            }
        }
        let part = match source.first.take() {
            Some(part) => Poll::Ready(part),
            None => source.receiver.poll_next(context),
        };
        part.map(|part| source.frame(part))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.as_deref() {
            None => SizeHint::with_exact(0),
            Some(Source { length: Some(length), read, .. }) => {
                SizeHint::with_exact(length.saturating_sub(*read))
            }
            Some(_) => SizeHint::default(),
        }
    }
}

impl Source {
    /// Whether as much came as was told of.
    fn is_whole(&self) -> bool {
        self.length.is_none_or(|length| length == self.read)
    }

    fn frame(&mut self, part: Part) -> Option<Result<Frame<Bytes>, BrokenOff>> {
        match part {
            Part::Data(bytes) => {
                self.read += bytes.len() as u64;
                if self.read > self.limit.min(self.length.unwrap_or(u64::MAX)) {
                    self.flow.set_upload(Upload::TooLarge);
                    return Some(Err(BrokenOff));
                }
                self.flow.sent(bytes.len());
                if Some(self.read) == self.length {
                    self.flow.set_upload(Upload::Done);
                }
                Some(Ok(Frame::data(bytes)))
            }
            Part::Trailers(trailers) if self.is_whole() => {
                self.flow.set_upload(Upload::Done);
                let mut fields = fields_of(trailers.fields(), trailers.block());
                clean_request(&mut fields);
                Some(Ok(Frame::trailers(fields.to_map())))
            }
            Part::End if self.is_whole() => {
                self.flow.set_upload(Upload::Done);
                None
            }
            Part::Trailers(_) | Part::End | Part::Head(_) | Part::Broken(_) => {
                self.flow.set_upload(Upload::Broken);
                Some(Err(BrokenOff))
            }
        }
    }
}
