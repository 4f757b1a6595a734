//! The streams that are open: who has them, what passed, and how they are cut.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use strait_tunnel::{Code, Directions};

use super::{Crossing, Front, cluster_of};
use crate::credential::{self, Revocation};
use crate::hub::tunnels::Chosen;
use crate::link::{Canceller, Sender};
use crate::message::Failure;
use crate::record::Recorded;

/// All streams of this hub.
pub struct Live {
    limits: [usize; 3],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    streams: BTreeMap<u64, Arc<Open>>,
    by: credential::Live,
    /// Streams of each credential and to each agent.
    counts: HashMap<String, usize>,
}

/// An open stream.
struct Open {
    recorded: Recorded,
    instance: String,
    since: Duration,
    canceller: Canceller,
    status: AtomicU16,
    down: AtomicU64,
    up: AtomicU64,
    keys: [String; 2],
}

/// What people see of an open stream.
#[derive(Clone, Debug)]
pub struct LiveStream {
    /// Its number.
    pub id: u64,
    /// Who has it, and what for.
    pub recorded: Recorded,
    /// The installation that serves it.
    pub instance: String,
    /// How long it has been open.
    pub age: Duration,
    /// The status of its answer; 0 before there is one.
    pub status: u16,
    /// Bytes to the service, and from it.
    pub bytes: [u64; 2],
}

/// A stream's place among those that are open; dropped, the stream is over.
pub(super) struct Entry {
    front: Arc<Front>,
    id: u64,
    open: Arc<Open>,
    code: Mutex<Option<Code>>,
}

impl Live {
    pub(super) fn new(limits: [usize; 3]) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// Enters a stream.
    ///
    /// # Errors
    /// There are as many as may be.
    pub(super) fn enter(
        &self,
        crossing: &Crossing<'_>,
        chosen: &Chosen,
        sender: &Sender,
    ) -> Result<Entry, Failure> {
        let recorded = crossing.recorded();
        let agent = format!("agent {}/{}", recorded.cluster, recorded.agent);
        let keys = [format!("credential {}", recorded.subjects.credential), agent];
        let open = Arc::new(Open {
            instance: chosen.instance.clone(),
            since: crossing.front.context.clock.monotonic(),
            canceller: sender.canceller(),
            status: AtomicU16::new(0),
            down: AtomicU64::new(0),
            up: AtomicU64::new(0),
            keys,
            recorded,
        });
        let [of_credential, of_agent, all] = self.limits;
        let mut state = self.state.lock();
        let count = |key| state.counts.get(key).copied().unwrap_or(0);
        let full = |running, of: &str| Failure::Overloaded { running, of: of.to_owned() };
        if state.streams.len() >= all {
            return Err(full(all, "this hub"));
        }
        if count(&open.keys[0]) >= of_credential {
            return Err(full(of_credential, "this credential"));
        }
        if count(&open.keys[1]) >= of_agent {
            return Err(full(of_agent, &format!("agent {}", open.recorded.agent)));
        }
        state.next += 1;
        let id = state.next;
        for key in &open.keys {
            *state.counts.entry(key.clone()).or_default() += 1;
        }
        state.by.open(&open.recorded.subjects, id);
        state.streams.insert(id, open.clone());
        drop(state);
        Ok(Entry { front: crossing.front.clone(), id, open, code: Mutex::new(None) })
    }

    fn leave(&self, id: u64, open: &Open) {
        let mut state = self.state.lock();
        state.streams.remove(&id);
        state.by.close(&open.recorded.subjects, id);
        for key in &open.keys {
            if let Some(count) = state.counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    state.counts.remove(key);
                }
            }
        }
    }

    /// Cuts what lives by a credential that was revoked.
    pub(super) fn revoke(&self, revocation: &Revocation) {
        let state = self.state.lock();
        let ended = state.by.cut_by(revocation);
        let open: Vec<_> = ended.iter().filter_map(|id| state.streams.get(id).cloned()).collect();
        drop(state);
        for stream in open {
            stream.canceller.reset(Directions::Both, Code::Revoked, "revoked");
        }
    }

    /// Cuts a stream; whether there was one.
    pub fn cut(&self, id: u64) -> bool {
        let open = self.state.lock().streams.get(&id).cloned();
        if let Some(open) = &open {
            open.canceller.reset(Directions::Both, Code::Revoked, "cut by an operator");
        }
        open.is_some()
    }

    /// The streams, in the order in which they were opened.
    #[must_use]
    pub fn list(&self, now: Duration) -> Vec<LiveStream> {
        let state = self.state.lock();
        let shown = |(id, open): (&u64, &Arc<Open>)| LiveStream {
            id: *id,
            recorded: open.recorded.clone(),
            instance: open.instance.clone(),
            age: now.saturating_sub(open.since),
            status: open.status.load(Relaxed),
            bytes: [open.up.load(Relaxed), open.down.load(Relaxed)],
        };
        state.streams.iter().map(shown).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.lock().streams.len()
    }
}

impl Entry {
    /// The head of the answer came.
    pub(super) fn answered(&self, status: StatusCode) {
        self.open.status.store(status.as_u16(), Relaxed);
    }

    /// Bytes from the service.
    pub(super) fn brought(&self, bytes: usize) {
        self.open.down.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes to the service.
    pub(super) fn took(&self, bytes: usize) {
        self.open.up.fetch_add(bytes as u64, Relaxed);
    }

    /// How the stream ended. Dropped without it, the client left.
    pub(super) fn ended(&self, code: Code) {
        self.code.lock().get_or_insert(code);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.front.live.leave(self.id, &self.open);
        let code = self.code.lock().unwrap_or(Code::Cancel);
        let now = self.front.context.clock.monotonic();
        let took = now.saturating_sub(self.open.since);
        let status = self.open.status.load(Relaxed);
        let bytes = [self.open.up.load(Relaxed), self.open.down.load(Relaxed)];
        self.front.recorder.ended(&self.open.recorded, code, status, bytes, took);
    }
}

impl Crossing<'_> {
    pub(super) fn recorded(&self) -> Recorded {
        Recorded {
            user: self.caller.user.name.clone(),
            groups: self.caller.user.groups.clone(),
            subjects: self.caller.subjects.clone(),
            cluster: cluster_of(self).to_string(),
            agent: self.name.agent.clone(),
            service: self.name.service.clone(),
            method: self.head.method.clone(),
            path: self.head.path().to_owned(),
            upgrade: self.head.upgrade.is_some(),
            id: self.id.to_owned(),
        }
    }
}
