//! What is told of a stream when it ends: a line of the access log, and its numbers.

use std::sync::Arc;

use http::Method;
use strait_net::fields::Fields;
use strait_net::traced::{FAILS_CLIENT, conclude, name_parent, trace_id};
use strait_runtime::{Span, SpanKind};
use strait_tunnel::{Code, OpenHead, Tlvs};
use tracing::Instrument as _;

use super::flow::Flow;
use super::identity::Identity;
use super::live::{Context, Live, Side};
use super::metrics::Counted;
use super::turns::Turn;
use crate::credential::Subjects;
use crate::http::trace::about;
use crate::message::Failure;
use crate::record::{Denial, Ended, Kind, Recorded, said};

/// Longest path that is logged, bytes.
const PATH_MAX: usize = 1024;

/// Reasons of refusals by rules of the agent's own.
pub(crate) const RULES: [&str; 4] = ["AgentRule", "IdentityUnmapped", NOT_OFFERED, "BadTarget"];

/// The reason of a refusal of what is not offered.
pub(crate) const NOT_OFFERED: &str = "NotOffered";

/// The reason where what a peer says of who asks is no identity.
const MALFORMED: &str = "IdentityMalformed";

/// The reason why fields were removed by which a request says itself who asks: no honest peer passes
/// them on.
const CLAIMED: &str = "IdentityField";

/// One stream, told when it is dropped: however its work ends, it is told once.
pub(super) struct Seen {
    live: Arc<Live>,
    pub(super) flow: Arc<Flow>,
    span: Span,
    /// As far as it is known.
    recorded: Recorded,
    /// That was written down before anything went in.
    is_recorded: bool,
    /// Of the answer, whoever made it.
    pub(super) status: u16,
    /// Why we answered in the service's place; empty if it did.
    pub(super) reason: &'static str,
    /// By which of our rules, and what that says, if it is to be told.
    pub(super) rule: (&'static str, Option<String>),
    /// What the stream ended with; aborted unless somebody says otherwise.
    pub(super) code: Code,
    /// Its turn among the streams of its service.
    pub(super) turn: Option<Turn>,
    _open: Counted,
}

impl Seen {
    pub(super) fn new(live: &Arc<Live>, flow: Arc<Flow>) -> Self {
        Self {
            live: live.clone(),
            flow,
            span: Span::default(),
            recorded: recorded(&live.context, live.name.clone(), live.kind),
            is_recorded: false,
            status: 0,
            reason: "",
            rule: ("", None),
            code: Code::Aborted,
            turn: None,
            _open: live.series.opened(),
        }
    }

    /// What the other side says of it.
    pub(super) fn told(&mut self, tlvs: &Tlvs<'_>) {
        let name = match self.live.context.side {
            Side::Agent(_) => "agent.relay",
            Side::Hub => "hub.relay",
        };
        self.span = self.live.context.tracer.follow(name, SpanKind::Client, || tlvs.trace);
        told(&mut self.recorded, tlvs);
    }

    /// It was for somebody to whom this is not offered.
    pub(super) fn not_offered(mut self, head: &OpenHead) {
        if let Some(tlvs) = head.tlvs() {
            self.told(&tlvs);
            describe(&mut self.recorded, &self.live.context, head, &tlvs);
        }
        (self.reason, self.code) = (NOT_OFFERED, Code::NoService);
    }

    /// What was asked for.
    pub(super) fn asks(&mut self, method: &str, path: &str) {
        asks(&mut self.recorded, method, path);
    }

    /// Makes a connection for it: what is logged of that says for which request, and it is a part
    /// of the span. Large work is to be boxed.
    pub(super) async fn dials<T>(
        &self,
        connect: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let name = match self.live.context.side {
            Side::Agent(_) => "agent.dial",
            Side::Hub => "hub.dial",
        };
        let mut span = self.span.child(name, SpanKind::Client);
        let trace = said(&self.recorded.trace);
        let logged = tracing::info_span!("agent.dial", id = self.recorded.id, trace);
        let done = connect.instrument(logged).await;
        if let Err(failure) = &done {
            span.fail(failure.reason());
        }
        done
    }

    /// Names its span to the service.
    pub(super) fn name_parent(&self, fields: &mut Fields) {
        name_parent(fields, &self.span);
    }

    /// Who asks, as the peer says it.
    ///
    /// # Errors
    /// That is no identity.
    pub(super) fn by(&mut self, said: &[u8]) -> Result<Arc<Identity>, Code> {
        let Ok(identity) = self.live.context.identities.read(said) else {
            self.reason = MALFORMED;
            return Err(Code::Identity);
        };
        by(&mut self.recorded, &identity);
        Ok(identity)
    }

    /// Writes down that the request itself said who asks, which was removed.
    pub(super) fn claimed(&self) {
        self.live.context.recorder.denies(&self.recorded, Denial::of(CLAIMED));
    }

    /// Writes down that something is about to go in.
    ///
    /// # Errors
    /// It cannot be written: nothing may.
    pub(super) async fn record(&mut self) -> Result<(), Failure> {
        self.live.context.recorder.opens(&self.recorded, "").await?;
        self.is_recorded = true;
        Ok(())
    }
}

/// Writes down that a peer asked for what there is not.
pub(super) fn unknown(context: &Context, head: &OpenHead) {
    let Some(tlvs) = head.tlvs() else { return };
    let mut recorded = recorded(context, clipped(tlvs.service).into(), head.kind());
    told(&mut recorded, &tlvs);
    describe(&mut recorded, context, head, &tlvs);
    context.recorder.denies(&recorded, Denial::of(NOT_OFFERED));
}

/// A stream of which nothing else is known yet.
fn recorded(context: &Context, service: Arc<str>, kind: strait_tunnel::Kind) -> Recorded {
    let subjects = Subjects {
        credential: Arc::default(),
        key: None,
        user: Arc::default(),
        cluster: Arc::default(),
        agent: context.side.shared_name(),
        service,
        issued: jiff::Timestamp::MIN,
    };
    Recorded {
        user: Arc::default(),
        groups: Vec::new(),
        subjects: Arc::new(subjects),
        // Bytes both ways, until a request says otherwise.
        method: Method::CONNECT,
        path: String::new(),
        client: None,
        kind: Kind::of(kind == strait_tunnel::Kind::Raw, false),
        id: String::new(),
        trace: String::new(),
    }
}

fn told(recorded: &mut Recorded, tlvs: &Tlvs<'_>) {
    let is_raw = recorded.kind == Kind::Raw;
    recorded.kind = Kind::of(is_raw, !tlvs.upgrade.is_empty());
    recorded.id = clipped(tlvs.request_id);
    recorded.trace = trace_id(tlvs.trace).to_owned();
}

/// What was asked for and by whom, as far as it can be understood.
fn describe(recorded: &mut Recorded, context: &Context, head: &OpenHead, tlvs: &Tlvs<'_>) {
    if let OpenHead::Http(request) = head {
        let parts = request.parts();
        asks(recorded, parts.method.as_str(), parts.path);
    }
    if let Ok(identity) = context.identities.read(tlvs.identity) {
        by(recorded, &identity);
    }
}

fn asks(recorded: &mut Recorded, method: &str, path: &str) {
    recorded.method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::CONNECT);
    recorded.path = clipped(path.split('?').next().unwrap_or_default());
}

fn by(recorded: &mut Recorded, identity: &Identity) {
    let Subjects { agent, service, .. } = &*recorded.subjects;
    let subjects = Subjects {
        credential: identity.cred.clone(),
        key: None,
        user: identity.user.clone(),
        cluster: identity.ws.clone(),
        agent: agent.clone(),
        service: service.clone(),
        issued: jiff::Timestamp::MIN,
    };
    recorded.user = subjects.user.clone();
    recorded.client = identity.ip;
    recorded.groups.clone_from(&identity.groups);
    recorded.subjects = Arc::new(subjects);
}

impl Seen {
    fn end_span(&mut self) {
        let Recorded { subjects, method, id, .. } = &self.recorded;
        let names = [&*subjects.agent, &subjects.service, &subjects.cluster];
        about(&mut self.span, names, method, id);
        let broken = if self.code == Code::None { "" } else { self.code.as_str() };
        let why = if self.reason.is_empty() { broken } else { self.reason };
        conclude(&mut self.span, FAILS_CLIENT, self.status, why);
        // It ends here, whatever is still done about the stream.
        drop(std::mem::take(&mut self.span));
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.end_span();
        let (up, down) = self.flow.bytes();
        let Self { live, status, .. } = &*self;
        live.series.ended(self.code, (up, down));
        let took = self.flow.now().saturating_sub(self.flow.began());
        let (recorder, recorded) = (&live.context.recorder, &self.recorded);
        if self.is_recorded {
            let (code, status, bytes) = (self.code, self.status, [up, down]);
            return recorder.ended(recorded, Ended { code, status, bytes, took, instance: "" });
        }
        if self.reason == MALFORMED || RULES.contains(&self.reason) {
            let (rule, detail) = (self.rule.0, self.rule.1.as_deref());
            recorder.denies(recorded, Denial { reason: self.reason, rule, detail });
        }
        tracing::debug!(
            target: "strait::access",
            user = &*recorded.user,
            service = &*live.name,
            method = %recorded.method,
            path = recorded.path,
            status,
            code = %self.code,
            reason = self.reason,
            rule = self.rule.0,
            took_ms = took.as_secs_f64() * 1e3,
            id = recorded.id,
            "refused"
        );
    }
}

/// As much of what a peer says as is kept.
pub(crate) fn clipped(text: &str) -> String {
    if text.len() <= PATH_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(PATH_MAX)])
}
