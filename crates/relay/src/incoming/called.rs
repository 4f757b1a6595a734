//! One stream to the hub: written down before it is opened, and told of when it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use strait_auth::groups;
use strait_net::traced::{FAILS_SERVER, conclude};
use strait_runtime::Span;
use strait_tunnel::{Code, End, EndedBy, Tlvs};

use super::listener::{Listener, To};
use super::metrics::Counted;
use crate::ask::Meter;
use crate::credential::Subjects;
use crate::dial::Chosen;
use crate::link::Sender;
use crate::message::{Aborter, Failure, ServiceName};
use crate::record::{Ended, Kind, Recorded};
use crate::services::HUB;

/// A stream; dropped, it is over.
pub(super) struct Called {
    listener: Arc<Listener>,
    to: Arc<To>,
    place: u64,
    recorded: Recorded,
    began: Duration,
    opened: AtomicBool,
    status: AtomicU16,
    bytes: [AtomicU64; 2],
    code: Mutex<Option<Code>>,
    /// Of the request, once it is answered.
    span: Span,
    _open: Counted,
}

impl Called {
    /// For a request; bytes are of the method CONNECT.
    pub(super) fn new(
        listener: &Arc<Listener>,
        to: &Arc<To>,
        (id, trace): (&str, &str),
        (method, path, upgrade): (&Method, &str, bool),
    ) -> Self {
        let setup = &listener.setup;
        let subjects = Subjects {
            credential: format!("incoming/{}", to.listener).into(),
            key: None,
            user: setup.user.as_str().into(),
            cluster: setup.cluster.as_str().into(),
            agent: HUB.into(),
            service: to.service.as_str().into(),
            issued: jiff::Timestamp::MIN,
        };
        let recorded = Recorded {
            user: subjects.user.clone(),
            groups: vec![groups::AGENTS.into()],
            subjects: Arc::new(subjects),
            client: None,
            method: method.clone(),
            path: path.to_owned(),
            kind: Kind::of(method == Method::CONNECT, upgrade),
            id: id.to_owned(),
            trace: trace.to_owned(),
        };
        Self {
            to: to.clone(),
            place: listener.enter(),
            recorded,
            began: listener.context.clock.monotonic(),
            opened: AtomicBool::new(false),
            status: AtomicU16::new(0),
            bytes: Default::default(),
            code: Mutex::default(),
            span: Span::default(),
            _open: listener.metrics.opened(&to.listener),
            listener: listener.clone(),
        }
    }

    /// Writes down that something is about to go out.
    ///
    /// # Errors
    /// It cannot be written: nothing may.
    pub(super) async fn record(&self) -> Result<(), Failure> {
        self.listener.setup.recorder.opens(&self.recorded, "").await?;
        self.opened.store(true, Relaxed);
        Ok(())
    }

    /// What its opening says beside the message.
    pub(super) fn tlvs(&self) -> Tlvs<'_> {
        Tlvs {
            service_type: self.to.kind.as_str(),
            service: &self.to.service,
            request_id: &self.recorded.id,
            plain: true,
            ..Tlvs::default()
        }
    }

    /// A connection for the next try.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn choose(&self, tried: &mut Vec<u64>) -> Result<Chosen, Failure> {
        let chosen = self.listener.setup.tunnel.choose(tried).ok_or(Failure::HubAway)?;
        tried.push(chosen.number);
        Ok(chosen)
    }

    /// The answer begins; its span ends with the stream.
    pub(super) fn traced(&mut self, span: Span) {
        self.span = span;
    }

    /// A connection takes the stream: how a try before this one ended does not count any more.
    pub(super) fn taken(&self, sender: &Sender) {
        *self.code.lock() = None;
        self.listener.taken(self.place, sender.canceller());
    }

    /// How long it has taken.
    pub(super) fn age(&self) -> Duration {
        self.listener.context.clock.monotonic().saturating_sub(self.began)
    }
}

/// The hub's service, as messages name it.
pub(super) fn name_of(to: &To) -> ServiceName {
    ServiceName { agent: HUB.to_owned(), service: to.service.clone() }
}

/// What a program is told of a stream that ended before its answer.
pub(super) fn failure_of(end: &End) -> Failure {
    match end.code {
        // The agent's own file took the listener away or changed it.
        Code::Revoked if end.by == EndedBy::Us => Failure::Aborted(Aborter::Listener),
        Code::NoService | Code::Revoked => Failure::NotOffered,
        _ => Failure::of(end),
    }
}

impl Meter for Called {
    fn answered(&self, status: StatusCode, _: Option<Duration>) {
        self.status.store(status.as_u16(), Relaxed);
    }

    fn brought(&self, bytes: usize) {
        self.bytes[1].fetch_add(bytes as u64, Relaxed);
    }

    fn took(&self, bytes: u64) {
        self.bytes[0].store(bytes, Relaxed);
    }

    fn ended(&self, broken: Option<&End>) {
        self.code.lock().get_or_insert(broken.map_or(Code::None, |end| end.code));
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        self.listener.leave(self.place);
        let code = self.code.lock().unwrap_or(Code::Cancel);
        let bytes = [self.bytes[0].load(Relaxed), self.bytes[1].load(Relaxed)];
        self.listener.metrics.ended(&self.to.listener, code.as_str(), bytes);
        let broken = if code == Code::None { "" } else { code.as_str() };
        conclude(&mut self.span, FAILS_SERVER, self.status.load(Relaxed), broken);
        if *self.opened.get_mut() {
            let (recorder, took) = (&self.listener.setup.recorder, self.age());
            let status = self.status.load(Relaxed);
            recorder.ended(&self.recorded, Ended { code, status, bytes, took, instance: "" });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_a_stream_away_is_told_apart() {
        for (code, by, reason) in [
            (Code::Revoked, EndedBy::Us, "Aborted"),
            (Code::Revoked, EndedBy::Peer, "NotOffered"),
            (Code::NoService, EndedBy::Peer, "NotOffered"),
            // Nobody but a program with half a body is there to be told.
            (Code::Cancel, EndedBy::Us, "BadBody"),
            (Code::Aborted, EndedBy::Peer, "Aborted"),
        ] {
            let failure = failure_of(&End::broken(code, by));
            assert_eq!(failure.reason(), reason, "{code} {by:?}");
        }
    }
}
