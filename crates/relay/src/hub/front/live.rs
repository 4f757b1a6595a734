//! The streams that are open: who has them, what passed, and how they are cut.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use strait_net::traced::{FAILS_SERVER, conclude};
use strait_runtime::Span;
use strait_tunnel::{Code, Directions, End};

use super::rates::Rates;
use super::who::Caller;
use super::{Crossing, Front};
use crate::access::Streams;
use crate::ask::Meter;
use crate::credential::{self, Revocation, Subjects};
use crate::hub::calls::Numbers;
use crate::hub::metrics::{By, Series};
use crate::hub::tunnels::Chosen;
use crate::link::{Canceller, Sender};
use crate::map::Map;
use crate::message::{Aborter, Failure};
use crate::record::{Ended, Recorded};

/// Streams that clients by one credential may give up beyond as many as end in order, and at once all
/// that it may have open: a gateway that ends does. Who does so more often waits. An agent bears ten
/// times that on a connection.
const CANCELS_PER_SECOND: u32 = 50;

/// A stream that its client ends sooner has been of no use to it, answered or not.
const AT_ONCE: Duration = Duration::from_secs(1);

/// All streams of this hub.
pub struct Live {
    limits: [usize; 3],
    numbers: Numbers,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: BTreeMap<u64, Arc<Open>>,
    by: credential::Live,
    counts: Map<Of, usize>,
    rates: Rates<Of>,
    /// Streams that clients gave up, by credential.
    cancels: Rates<Arc<str>>,
    /// When those are decided again that are not over at once.
    again: Streams,
    /// The streams up to this one were looked at for that.
    looked_at: u64,
}

/// What streams are counted of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Of {
    Credential(Arc<str>),
    /// Logical cluster and name.
    Agent(Arc<str>, Arc<str>),
    /// Logical cluster, agent and name.
    Service(Arc<str>, Arc<str>, Arc<str>),
}

/// An open stream.
pub(super) struct Open {
    pub(super) recorded: Recorded,
    pub(super) caller: Arc<Caller>,
    /// What it is counted of.
    of: [Of; 3],
    since: Duration,
    way: Mutex<Way>,
    series: OnceLock<Arc<Series>>,
    status: AtomicU16,
    down: AtomicU64,
    up: AtomicU64,
    /// When bytes passed last, milliseconds.
    passed: AtomicU64,
    /// Whether it is to be decided again.
    again: AtomicBool,
}

/// How a stream goes.
#[derive(Default)]
struct Way {
    /// The installation and the stream of the last try.
    taken: Option<(Arc<str>, Canceller)>,
    /// Since when, and why, it is to end.
    cut: Option<Box<(Duration, Failure)>>,
}

/// A stream's place among those that are open; dropped, the stream is over.
pub(super) struct Entry {
    front: Arc<Front>,
    id: u64,
    open: Arc<Open>,
    opened: AtomicBool,
    end: Mutex<Option<(Code, By)>>,
    /// Of the request, once it is answered.
    span: Span,
}

impl Live {
    pub(super) fn new(limits: [usize; 3], numbers: Numbers) -> Arc<Self> {
        Arc::new(Self { limits, numbers, state: Mutex::default() })
    }

    /// Enters a stream, before anything of it is sent.
    ///
    /// # Errors
    /// There are as many as may be.
    pub(super) fn enter(&self, crossing: &Crossing<'_>) -> Result<Entry, Failure> {
        let recorded = crossing.recorded();
        let now = crossing.began;
        let open = Arc::new(Open {
            caller: crossing.caller.clone(),
            of: Of::all(&recorded.subjects),
            since: now,
            way: Mutex::default(),
            series: OnceLock::new(),
            status: AtomicU16::new(0),
            down: AtomicU64::new(0),
            up: AtomicU64::new(0),
            passed: AtomicU64::new(millis(now)),
            again: AtomicBool::new(false),
            recorded,
        });
        let mut state = self.state.lock();
        state.check(&open, self.limits, now)?;
        // Under the lock: they grow in the order in which streams are entered.
        let id = self.numbers.fetch_add(1, Relaxed) + 1;
        for key in &open.of {
            match state.counts.get_mut(key) {
                Some(count) => *count += 1,
                None => drop(state.counts.insert(key.clone(), 1)),
            }
        }
        state.by.open(&open.recorded.subjects, id);
        state.streams.insert(id, open.clone());
        drop(state);
        let (front, end) = (crossing.front.clone(), Mutex::new(None));
        Ok(Entry { front, id, open, opened: AtomicBool::new(false), end, span: Span::default() })
    }

    fn leave(&self, id: u64, open: &Open, left: Left, now: Duration) {
        let mut state = self.state.lock();
        let credential = &open.recorded.subjects.credential;
        match left {
            Left::GivenUp => state.cancels.add(credential.clone(), CANCELS_PER_SECOND, now),
            Left::InOrder => state.cancels.forgive(credential, CANCELS_PER_SECOND, now),
            Left::Else => {}
        }
        state.streams.remove(&id);
        if open.again.load(Relaxed) {
            state.again.ended(id);
        }
        state.by.close(&open.recorded.subjects, id);
        for key in &open.of {
            if let Some(count) = state.counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    state.counts.remove(key);
                }
            }
        }
    }

    /// Cuts what lives by a credential that was revoked.
    pub(super) fn revoke(&self, revocation: &Revocation, now: Duration) {
        let state = self.state.lock();
        let ended = state.by.cut_by(revocation);
        let open: Vec<_> = ended.iter().filter_map(|id| state.streams.get(id).cloned()).collect();
        drop(state);
        for stream in open {
            let why = Failure::CredentialRevoked { ago: Duration::ZERO, by: None };
            stream.cut(now, why, "revoked");
        }
    }

    /// The streams that are to be decided again at `now`, at most `limit`.
    pub(super) fn due(&self, now: Duration, limit: usize) -> Vec<(u64, Arc<Open>)> {
        let mut state = self.state.lock();
        let State { streams, again, looked_at, .. } = &mut *state;
        for (id, open) in streams.range(*looked_at + 1..) {
            open.again.store(true, Relaxed);
            again.decided(*id, open.since, open.caller.ends);
        }
        *looked_at = self.numbers.load(Relaxed);
        let due = again.due(now, limit);
        due.into_iter().filter_map(|id| Some((id, streams.get(&id)?.clone()))).collect()
    }

    /// A stream was decided and goes on, or ends soon.
    pub(super) fn decided(&self, id: u64, now: Duration) {
        let mut state = self.state.lock();
        if let Some(open) = state.streams.get(&id).cloned() {
            let ends = open.caller.ends.filter(|ends| *ends > now);
            state.again.decided(id, now, ends);
        }
    }

    pub(super) fn all(&self) -> Vec<(u64, Arc<Open>)> {
        self.state.lock().streams.iter().map(|(id, open)| (*id, open.clone())).collect()
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Open>> {
        self.state.lock().streams.get(&id).cloned()
    }

    /// Whether there are none but those that were cut before then.
    pub(super) fn are_cut(&self, then: Duration) -> bool {
        let state = self.state.lock();
        state.streams.values().all(|open| open.cut_since().is_some_and(|since| since <= then))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.lock().streams.len()
    }
}

impl Of {
    fn all(subjects: &Subjects) -> [Self; 3] {
        let [cluster, agent, service] =
            [&subjects.cluster, &subjects.agent, &subjects.service].map(Arc::clone);
        [
            Self::Credential(subjects.credential.clone()),
            Self::Agent(cluster.clone(), agent.clone()),
            Self::Service(cluster, agent, service),
        ]
    }
}

impl State {
    /// Whether there is room for one more.
    fn check(
        &mut self,
        open: &Open,
        [of_credential, of_agent, all]: [usize; 3],
        now: Duration,
    ) -> Result<(), Failure> {
        let full = |running, of: &str| Err(Failure::Overloaded { running, of: of.to_owned() });
        let (subjects, limits) = (&open.recorded.subjects, open.caller.limits());
        let at_once = Duration::from_secs(of_credential as u64) / CANCELS_PER_SECOND;
        let cancels = self.cancels.check(&subjects.credential, at_once, now);
        cancels.map_err(Failure::TooManyRequests)?;
        let count = |key| self.counts.get(key).copied().unwrap_or(0);
        let [credential, agent, service] = &open.of;
        if self.streams.len() >= all {
            return full(all, "this hub");
        }
        if count(credential) >= of_credential {
            return full(of_credential, "this credential");
        }
        if count(agent) >= of_agent {
            return full(of_agent, &format!("agent {}", subjects.agent));
        }
        if let Some(concurrent) = limits.concurrent
            && count(service) >= concurrent
        {
            return full(concurrent, &subjects.service);
        }
        if let Some(per_second) = limits.per_second {
            let taken = self.rates.take(service.clone(), per_second, now);
            taken.map_err(Failure::TooManyRequests)?;
        }
        Ok(())
    }
}

impl Open {
    /// Ends the stream, wherever it is.
    pub(super) fn cut(&self, now: Duration, why: Failure, text: &str) {
        let mut way = self.way.lock();
        let (_, why) = &**way.cut.get_or_insert_with(|| Box::new((now, why)));
        let code = code_of(why);
        if let Some((_, canceller)) = &way.taken {
            canceller.reset(Directions::Both, code, text);
        }
    }

    /// Since when it is to end, if it is.
    pub(super) fn cut_since(&self) -> Option<Duration> {
        self.way.lock().cut.as_ref().map(|cut| cut.0)
    }

    /// The installation that serves it; empty before there is one.
    pub(super) fn instance(&self) -> Arc<str> {
        let way = self.way.lock();
        way.taken.as_ref().map(|(instance, _)| instance.clone()).unwrap_or_default()
    }

    /// Bytes that the hub holds of it, either way.
    pub(super) fn buffered(&self) -> usize {
        let way = self.way.lock();
        way.taken.as_ref().map_or(0, |(_, canceller)| canceller.buffered())
    }

    /// How long it has been open, and how long nothing passed.
    pub(super) fn times(&self, now: Duration) -> [Duration; 2] {
        let idle = millis(now).saturating_sub(self.passed.load(Relaxed));
        [now.saturating_sub(self.since), Duration::from_millis(idle)]
    }

    pub(super) fn status(&self) -> u16 {
        self.status.load(Relaxed)
    }

    /// Bytes to the service, and from it.
    pub(super) fn bytes(&self) -> [u64; 2] {
        [self.up.load(Relaxed), self.down.load(Relaxed)]
    }
}

impl Entry {
    /// The stream is about to be opened, and that is recorded.
    pub(super) fn opened(&self) {
        self.opened.store(true, Relaxed);
    }

    /// The answer begins; its span ends with the stream.
    pub(super) fn traced(&mut self, span: Span) {
        self.span = span;
    }

    /// A connection takes the stream: how a try before this one ended does not count any more.
    ///
    /// # Errors
    /// It was cut meanwhile.
    pub(super) fn taken(&self, chosen: &Chosen, sender: &Sender) -> Result<(), Failure> {
        let mut way = self.open.way.lock();
        if let Some(cut) = &way.cut {
            return Err(cut.1.clone());
        }
        way.taken = Some((chosen.instance.clone(), sender.canceller()));
        drop(way);
        *self.end.lock() = None;
        self.open.series.get_or_init(|| {
            chosen.series.opened(self.open.recorded.kind);
            chosen.series.clone()
        });
        Ok(())
    }

    /// What is recorded of it.
    pub(super) fn recorded(&self) -> &Recorded {
        &self.open.recorded
    }

    /// The hub gives it up.
    pub(super) fn given_up(&self, code: Code) {
        self.end.lock().get_or_insert((code, By::Hub));
    }

    /// Why it was cut, if it was.
    pub(super) fn why_cut(&self) -> Option<Failure> {
        self.open.way.lock().cut.as_ref().map(|cut| cut.1.clone())
    }

    fn passed(&self) {
        self.open.passed.store(millis(self.front.context.clock.monotonic()), Relaxed);
    }
}

impl Meter for Entry {
    /// What an agent says of its service's time can make the rest nothing or all of the time,
    /// and no more.
    fn answered(&self, status: StatusCode, inner: Option<Duration>) {
        let status = status.as_u16();
        self.open.status.store(status, Relaxed);
        if let (Some(inner), Some(series)) = (inner, self.open.series.get()) {
            let now = self.front.context.clock.monotonic();
            series.added(status, now.saturating_sub(self.open.since).saturating_sub(inner));
        }
    }

    fn brought(&self, bytes: usize) {
        self.open.down.fetch_add(bytes as u64, Relaxed);
        self.passed();
    }

    fn took(&self, bytes: u64) {
        if self.open.up.swap(bytes, Relaxed) != bytes {
            self.passed();
        }
    }

    fn ended(&self, broken: Option<&End>) {
        let end = broken.map_or((Code::None, By::Agent), |end| (end.code, By::of(end)));
        self.end.lock().get_or_insert(end);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let now = self.front.context.clock.monotonic();
        let cut = self.open.way.lock().cut.clone();
        let (code, by) = match cut {
            Some(cut) => {
                self.front.tunnels.metrics().cut(now.saturating_sub(cut.0));
                (code_of(&cut.1), By::Hub)
            }
            None => self.end.lock().unwrap_or((Code::Cancel, By::Client)),
        };
        let took = now.saturating_sub(self.open.since);
        let (status, bytes) = (self.open.status(), self.open.bytes());
        let is_sent = self.open.series.get().is_some();
        let left = if is_sent { Left::of((code, by), status, took) } else { Left::Else };
        self.front.live.leave(self.id, &self.open, left, now);
        if !*self.opened.get_mut() {
            return;
        }
        let broken = if code == Code::None { "" } else { code.as_str() };
        conclude(&mut self.span, FAILS_SERVER, status, broken);
        if let Some(series) = self.open.series.get() {
            series.ended((self.open.recorded.kind, code, by), status, took, bytes);
        }
        let taken = self.open.way.lock().taken.take();
        let instance = taken.as_ref().map_or("", |(instance, _)| instance);
        let ended = Ended { code, status, bytes, took, instance };
        self.front.recorder.ended(&self.open.recorded, ended);
    }
}

/// How a client left a stream that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    InOrder,
    /// Before an answer, or at once behind its head: rather than that it had what it wanted.
    GivenUp,
    Else,
}

impl Left {
    fn of((code, by): (Code, By), status: u16, took: Duration) -> Self {
        match (code, by) {
            (Code::None, _) => Self::InOrder,
            (Code::Cancel, By::Client) if status == 0 || took < AT_ONCE => Self::GivenUp,
            _ => Self::Else,
        }
    }
}

/// What the other side is told of a cut.
const fn code_of(why: &Failure) -> Code {
    match why {
        Failure::Aborted(Aborter::Hub) => Code::Aborted,
        _ => Code::Revoked,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Crossing<'_> {
    pub(super) fn recorded(&self) -> Recorded {
        self.caller.recorded(&self.head, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_given_up_by_who_leaves_before_it_was_of_use() {
        let (cancel, ms) = ((Code::Cancel, By::Client), Duration::from_millis);
        for (end, status, took, expected) in [
            (cancel, 0, ms(1), Left::GivenUp),
            (cancel, 0, ms(600_000), Left::GivenUp),
            (cancel, 200, ms(999), Left::GivenUp),
            // A watch that its client needs no longer.
            (cancel, 200, ms(1_000), Left::Else),
            (cancel, 101, ms(600_000), Left::Else),
            ((Code::None, By::Agent), 200, ms(1), Left::InOrder),
            ((Code::Cancel, By::Agent), 0, ms(1), Left::Else),
            ((Code::Lost, By::Connection), 0, ms(1), Left::Else),
            ((Code::Revoked, By::Hub), 0, ms(1), Left::Else),
        ] {
            assert_eq!(Left::of(end, status, took), expected, "{end:?} {status} {took:?}");
        }
    }
}
