//! The way in by a path: a client's request to the hub, and the service's answer to it.
//!
//! ```text
//! head ─► Head ─► who ─► may ─► choose ─► recorded ─► OPEN ─► Upload ─┐
//!                                                       head ◄────────┤ retried where nothing
//!                                            Answer ◄── bytes ◄───────┘ was executed
//! ```

mod decided;
mod drain;
mod head;
mod live;
mod long;
mod rates;
mod raw;
mod streams;
mod unstored;
mod usage;
mod who;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_api::well_known::RELAY_EXPORT;
use strait_auth::User;
use strait_net::fields::Fields;
use strait_net::traced::{FAILS_SERVER, conclude, name_parent};
use strait_net::{Connection, OnUpgrade, RequestParts, Response};
use strait_runtime::{Context, Span};
use strait_store::ResourceId;
use strait_tunnel::{Class, Code, End};
use strait_workspaces::{Parsed, System};

use super::credentials::Credentials;
use super::tunnels::{Chosen, Nobody, Tunnels};
use crate::agents::Agents;
use crate::ask::{Meter as _, Question, STALLED, Upload, ending_of, respond};
use crate::choice::{Attempt, Decision, Ending, Outcome, decide};
use crate::http::answer::contain;
use crate::http::fields::DETAIL;
use crate::http::proxies::{Origin, TrustedProxies};
use crate::http::trace::about;
use crate::http::way::Way;
use crate::message::{Failure, Reader, ServiceName, prefers_json};
use crate::record::Denial;
pub use crate::record::{Recorded, Recorder};
use crate::serve::{OF_PEOPLE, RULES};

use decided::Decided;
use head::{Head, Named};
use live::Entry;
pub use live::Live;
pub use streams::STREAMS_PATH;
pub use unstored::LivePath;
use who::{Caller, Exposure, Granted};

/// Streams at once: of one credential, to one agent, of the hub.
const STREAMS_MAX: [usize; 3] = [512, 4_096, 100_000];

/// Says whose a connection's certificate is, as of now; none where it has none. The text says why
/// it proves nothing.
pub type Certified = Arc<dyn Fn() -> Result<Option<Certificate>, String> + Send + Sync>;

/// What a certificate proves.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Whose it is.
    pub user: Arc<User>,
    /// From when on it is valid.
    pub issued: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// Takes requests for services of agents.
pub struct Front {
    context: Context,
    system: Arc<System>,
    services: ResourceId,
    exposures: Parsed<Exposure>,
    decided: Decided<Granted>,
    credentials: Arc<Credentials>,
    tunnels: Arc<Tunnels>,
    live: Arc<Live>,
    recorder: Recorder,
    proxies: TrustedProxies,
}

/// One request, on its way.
struct Crossing<'a> {
    front: &'a Arc<Front>,
    head: Head,
    caller: Arc<Caller>,
    name: &'a ServiceName,
    id: &'a str,
    /// When its head was there, before anybody looked who asks.
    began: Duration,
}

impl Front {
    /// Takes requests with these parts of a hub.
    ///
    /// # Panics
    /// If the system was not started: then there is no such export.
    #[must_use]
    pub fn new(
        context: Context,
        agents: &Agents,
        credentials: Arc<Credentials>,
        tunnels: Arc<Tunnels>,
        recorder: Recorder,
        proxies: TrustedProxies,
    ) -> Arc<Self> {
        let live = Live::new(STREAMS_MAX, tunnels.calls().numbers().clone());
        let (cut, clock) = (Arc::downgrade(&live), context.clock.clone());
        credentials.on_revocation(Box::new(move |revocation| {
            if let Some(live) = cut.upgrade() {
                live.revoke(revocation, clock.monotonic());
            }
        }));
        let reads = recorder.reads();
        context.metrics.register("strait_relay_recorded_reads", "Reads in the audit log", reads);
        let system = agents.system.clone();
        let identity = system.own_identity(RELAY_EXPORT);
        let identity = identity.expect("the hub's exports are there once it started");
        Arc::new(Self {
            context,
            system,
            services: ResourceId::new(RELAY_EXPORT, "services", &identity),
            exposures: Parsed::new(Exposure::of),
            decided: Decided::new(),
            credentials,
            tunnels,
            live,
            recorder,
            proxies,
        })
    }

    /// Where a request comes from.
    #[must_use]
    pub fn origin(&self, connection: &Connection, fields: &Fields) -> Origin {
        // Whose connection it is its proxy did not say: nor do its requests.
        let nobody = TrustedProxies::default();
        let proxies = if connection.is_nobodys() { &nobody } else { &self.proxies };
        proxies.origin(connection.peer(), fields)
    }

    /// Whether a path is one of services.
    #[must_use]
    pub fn takes(path: &str) -> bool {
        !matches!(Way::of(path), Ok(None))
    }

    /// The streams that are open.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Answers a request. `certified` is asked where no token is shown; `id` names the request
    /// in all logs.
    pub async fn answer(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: RequestParts,
        certified: Certified,
        id: &str,
    ) -> Response {
        let json = prefers_json(&request.fields);
        let named = Named::of(request.uri.path());
        let mut span = Span::default();
        let origin = self.origin(&connection, &request.fields);
        let mut detail = None;
        let (client, told) = (origin.client, (named.as_ref(), id, &mut span, &mut detail));
        let proved = !connection.certificates().is_empty();
        let crossed = self.cross((origin, proved), request, &certified, told);
        match crossed.await {
            Ok(response) => response,
            Err(failure) => {
                conclude(&mut span, FAILS_SERVER, failure.status().as_u16(), failure.reason());
                self.tunnels.metrics().refused(failure.reason());
                let reader = Reader { request_id: id, json };
                let name = named.map_or_else(nameless, |named| named.name);
                tracing::debug!(
                    target: "strait::access",
                    agent = name.agent, service = name.service, status = failure.status().as_u16(),
                    reason = failure.reason(), peer = %client, id, "refused"
                );
                let mut told = failure.respond(&name, &reader);
                if let Some(detail) = detail {
                    told.fields.set(DETAIL, detail.as_bytes());
                }
                told.into()
            }
        }
    }

    async fn cross(
        self: &Arc<Self>,
        (origin, proved): (Origin, bool),
        request: RequestParts,
        certified: &Certified,
        (named, id, span, detail): (Option<&Named>, &str, &mut Span, &mut Option<String>),
    ) -> Result<Response, Failure> {
        let named = named.ok_or(Failure::NotFound)?;
        let (name, entropy) = (&named.name, &*self.context.entropy);
        let (mut head, incoming, upgrade) = Head::take(request, named, origin, proved, entropy)?;
        let began = self.context.clock.monotonic();
        let found = self.who(&head, name, certified, (began, span));
        name_parent(&mut head.message.fields, span);
        let caller = match found {
            Ok(caller) => Arc::new(caller),
            Err(failure) => {
                if let Some(denied) = self.denied(&head, name, certified, (&failure, id)) {
                    self.recorder.denies(&denied, Denial::of(failure.reason()));
                }
                if let Some(text) = failure.detail()
                    && self.administrator_asks(&head, name, certified)
                {
                    *detail = Some(text.to_owned());
                }
                return Err(failure);
            }
        };
        // Who may not know a service learns nothing of it from a trace either.
        let names = [&*name.agent, &name.service, caller.cluster.as_str()];
        about(span, names, &head.message.method, id);
        let crossing = Crossing { front: self, head, caller, name, id, began };
        let entry = self.live.enter(&crossing).inspect_err(|failure| {
            self.recorder.denies(&crossing.recorded(), Denial::of(failure.reason()));
        })?;
        let limit = crossing.caller.limits().max_body;
        let upload = Upload::new(incoming, &crossing.head.message, limit);
        crossing.carry(upload, upgrade, entry, span).await
    }
}

impl Crossing<'_> {
    async fn carry(
        &self,
        mut upload: Upload,
        upgrade: Option<OnUpgrade>,
        mut entry: Entry,
        span: &mut Span,
    ) -> Result<Response, Failure> {
        let mut tried = Vec::new();
        // What was revoked since it was looked at did not find this stream.
        let now = || self.front.context.clock.now();
        if let Some(failure) = self.front.credentials.revoked(&self.caller.subjects, now) {
            return Err(failure);
        }
        loop {
            let chosen = self.choose(&tried)?;
            self.check_offer(&chosen)?;
            let coming = chosen.link.expect();
            let open = self.head.open(&chosen.service, &self.caller, self.id)?;
            if tried.is_empty() {
                self.front.recorder.opens(entry.recorded(), &chosen.instance).await?;
                entry.opened();
            }
            tried.push(chosen.instance.clone());
            // What becomes another protocol goes on behind its head.
            let whole = upload.is_empty() && self.head.message.upgrade.is_none();
            let opened = chosen.link.open_of(&chosen.share, &open, Class::Normal, whole);
            drop(coming);
            let stream = match opened {
                Ok(stream) => stream,
                Err(error) => {
                    self.again(ending_of(error), &upload, &tried, &chosen, &entry)?;
                    continue;
                }
            };
            let (mut receiver, sender) = stream.split();
            entry.taken(&chosen, &sender)?;
            upload.begin(sender);
            let begun = match &self.head.raw {
                None => upload.until_head(&mut receiver).await.map(Some),
                Some(_) => receiver.accepted().await.map(|()| None),
            };
            entry.took(upload.sent());
            match begun {
                Ok(Some(head)) => {
                    let told = told_by_agent(&head);
                    self.front.tunnels.ended(&chosen, outcome_of_error(told));
                    self.note_rule(told);
                    let (head_of, detail) = (&self.head, self.detail(&head));
                    let contain = |fields: &mut Fields| {
                        contain(fields, &head_of.prefix, head_of.is_bare());
                        fields.remove(DETAIL);
                        if let Some(detail) = detail {
                            fields.set(DETAIL, detail.as_bytes());
                        }
                    };
                    let question = self.question();
                    entry.traced(std::mem::take(span));
                    return respond(&question, head, receiver, upload, entry, upgrade, contain);
                }
                Ok(None) => {
                    self.front.tunnels.ended(&chosen, Outcome::Reached);
                    entry.traced(std::mem::take(span));
                    return raw::respond(self, receiver, upload, entry, upgrade);
                }
                Err(end) => {
                    self.front.tunnels.ended(&chosen, outcome_of(end.code));
                    self.note_rule(match end.code {
                        Code::Forbidden => Some("AgentRule"),
                        Code::Identity => Some("IdentityUnmapped"),
                        _ => None,
                    });
                    self.again(end, &upload, &tried, &chosen, &entry)?;
                }
            }
        }
    }

    fn question(&self) -> Question<'_> {
        let (service, tasks) = (&*self.name.service, &self.front.context.tasks);
        Question { message: &self.head.message, service, id: self.id, tasks }
    }

    /// An instance that was not tried.
    fn choose_other(&self, tried: &[Arc<str>]) -> Result<Chosen, Nobody> {
        let Caller { cluster, subjects, .. } = &*self.caller;
        let at = (cluster, &subjects.agent, &*self.name.service);
        let affinity = self.caller.affinity(&self.head);
        self.front.tunnels.choose(at, self.caller.agent(), affinity.as_deref(), tried)
    }

    fn choose(&self, tried: &[Arc<str>]) -> Result<Chosen, Failure> {
        if self.front.context.shutdown.is_asked() {
            return Err(Failure::HubEnding);
        }
        // Where there is one instance alone it is tried again.
        let chosen = match self.choose_other(tried) {
            Err(Nobody::Exhausted) if !tried.is_empty() => self.choose_other(&[]),
            other => other,
        };
        chosen.map_err(|nobody| match nobody {
            Nobody::Offline(seen) => {
                let now = self.front.context.clock.now();
                let ago = |at| Duration::try_from(now.duration_since(at)).unwrap_or_default();
                Failure::AgentOffline { seen: seen.map(|(at, from)| (ago(at), from)) }
            }
            Nobody::Withdrawn(since) => Failure::ServiceWithdrawn { since },
            Nobody::Unknown => Failure::NotFound,
            Nobody::Exhausted => Failure::NotAccepted,
        })
    }

    /// What the hub can refuse by what was announced.
    fn check_offer(&self, chosen: &Chosen) -> Result<(), Failure> {
        match (chosen.service.raw, &self.head.raw) {
            (true, None) => return Err(Failure::RawOnly),
            (false, Some(_)) => return Err(Failure::NotRaw),
            (true, Some(_)) => return Ok(()),
            (false, None) => {}
        }
        let upgrades = chosen.service.protocols.iter().any(|own| own == "upgrade");
        if self.head.message.upgrade.is_some() && !upgrades {
            return Err(Failure::UpgradeNotAllowed);
        }
        Ok(())
    }

    /// What of an agent's refusal is for its administrators, if one of them asks.
    fn detail(&self, head: &strait_tunnel::Response) -> Option<String> {
        let rule = head.rule()?;
        let Caller { user, cluster, .. } = &*self.caller;
        let may_read =
            !self.caller.is_bound() && self.front.administers(user, cluster, &self.name.agent);
        may_read.then(|| rule.to_owned())
    }

    /// Records where the agent refused what the hub let pass.
    fn note_rule(&self, told: Option<&str>) {
        if let Some(rule) = RULES.into_iter().find(|rule| told == Some(rule)) {
            self.front.recorder.denies(&self.recorded(), Denial::of(rule));
        }
    }

    /// Whether a try that failed is to be repeated.
    fn again(
        &self,
        end: End,
        upload: &Upload,
        tried: &[Arc<str>],
        chosen: &Chosen,
        entry: &Entry,
    ) -> Result<(), Failure> {
        if let Some(why) = entry.why_cut() {
            return Err(why);
        }
        if let Some(limit) = upload.exceeded() {
            entry.given_up(Code::TooLarge);
            return Err(Failure::TooLarge { length: None, limit });
        }
        let now = self.front.context.clock.monotonic();
        let full = end.code == Code::Overloaded;
        let ending = match Ending::of(&end) {
            // Who has too much to do is not asked again at once.
            _ if full && self.choose_other(tried).is_err() => Ending::Told,
            ending => ending,
        };
        let earlier = u32::try_from(tried.len()).unwrap_or(u32::MAX).saturating_sub(1);
        let attempt = Attempt {
            method: &self.head.message.method,
            ending,
            has_head: false,
            retained: upload.is_retained(),
            upgrade: self.head.message.upgrade.is_some(),
            retries_safe: chosen.service.retry,
            earlier,
            since: now.saturating_sub(self.began),
        };
        // It counts, unless another try is begun.
        entry.ended(Some(&end));
        match decide(&attempt) {
            Decision::Again => {
                self.front.tunnels.metrics().retried(end.code.as_str());
                Ok(())
            }
            Decision::Tell => Err(self.failure_of(&end, chosen)),
        }
    }
}

impl Crossing<'_> {
    /// What a client is told of a stream that ended before its answer.
    fn failure_of(&self, end: &End, chosen: &Chosen) -> Failure {
        match end.code {
            Code::Overloaded if &*end.text == STALLED => {
                chosen.series.stalled();
                Failure::Stalled { waiting: chosen.share.waiting() }
            }
            // An agent says by which of its rules.
            Code::Forbidden => Failure::AgentRule {
                method: "a connection".to_owned(),
                path: format!("to {}", self.name.service),
                rule: OF_PEOPLE.into_iter().find(|rule| *rule == &*end.text).unwrap_or("a rule"),
                detail: None,
            },
            Code::Identity => Failure::IdentityUnmapped {
                user: self.caller.user.name.to_string(),
                groups: self.caller.user.groups.iter().map(ToString::to_string).collect(),
            },
            // An agent says how many run.
            Code::Overloaded => match end.text.parse() {
                Ok(running) => Failure::Overloaded { running, of: self.name.service.clone() },
                Err(_) => Failure::of(end),
            },
            _ => Failure::of(end),
        }
    }
}

/// What a stream's end means for the choice of instances.
pub(super) const fn outcome_of(code: Code) -> Outcome {
    match code {
        Code::ConnectFailed | Code::ConnectTimeout | Code::UpstreamTls => Outcome::NotReached,
        _ => Outcome::Untold,
    }
}

/// The same of what an answer says, which an agent makes in place of a service that it did not reach.
pub(super) fn outcome_of_error(error: Option<&str>) -> Outcome {
    match error {
        None => Outcome::Reached,
        Some("ConnectFailed" | "ConnectTimeout" | "UpstreamTLS") => Outcome::NotReached,
        Some(_) => Outcome::Untold,
    }
}

/// The reason why an agent answered in a service's place, if it did.
fn told_by_agent(head: &strait_tunnel::Response) -> Option<&str> {
    let mut fields = head.fields();
    let error = fields.find(|field| field.is(crate::http::fields::ERROR))?;
    Some(std::str::from_utf8(error.value).unwrap_or("?"))
}

/// For messages about a path without names, none of which says them.
fn nameless() -> ServiceName {
    ServiceName { agent: "agent".into(), service: "service".into() }
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("tunnels", &self.tunnels).finish_non_exhaustive()
    }
}
