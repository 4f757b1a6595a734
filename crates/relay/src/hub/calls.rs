//! Streams that agents opened to services of the hub's own, while they are open: seen and cut
//! with those that clients opened, and numbered with them.
//!
//! There are as many as those services take (`concurrent`), and as connections carry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::Method;
use parking_lot::Mutex;
use strait_auth::groups;
use strait_net::traced::trace_id;
use strait_pki::AgentIdentity;
use strait_runtime::Clock;
use strait_tunnel::{OpenHead, Tlvs};
use tokio::sync::watch;

use super::metrics::RelayMetrics;
use crate::credential::Subjects;
use crate::record::{Kind, Recorded};
use crate::serve::{Progress, clipped};
use crate::services::HUB;

/// The numbers of streams, whoever opened them: a hub gives each once.
pub(super) type Numbers = Arc<AtomicU64>;

/// All that are open.
pub(super) struct Calls {
    clock: Arc<dyn Clock>,
    metrics: Arc<RelayMetrics>,
    numbers: Numbers,
    open: Mutex<BTreeMap<u64, Arc<Calling>>>,
}

/// One that is open.
pub(super) struct Calling {
    pub(super) recorded: Recorded,
    /// The agent that opened it.
    pub(super) agent: String,
    pub(super) instance: Arc<str>,
    pub(super) since: Duration,
    pub(super) progress: Progress,
    /// Since when it is to end, and why.
    cut: watch::Sender<Option<(Duration, &'static str)>>,
}

/// A stream's place among those that are open; dropped, the stream is over.
pub(super) struct Place {
    calls: Arc<Calls>,
    id: u64,
    calling: Arc<Calling>,
}

impl Calls {
    pub(super) fn new(clock: Arc<dyn Clock>, metrics: Arc<RelayMetrics>) -> Arc<Self> {
        Arc::new(Self { clock, metrics, numbers: Numbers::default(), open: Mutex::default() })
    }

    pub(super) const fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Enters a stream that an agent opened.
    pub(super) fn enter(
        self: &Arc<Self>,
        identity: &AgentIdentity,
        head: &OpenHead,
        progress: Progress,
    ) -> Place {
        let calling = Arc::new(Calling {
            recorded: recorded(identity, head),
            agent: identity.name().to_owned(),
            instance: identity.instance().as_str().into(),
            since: self.clock.monotonic(),
            progress,
            cut: watch::Sender::new(None),
        });
        let id = self.numbers.fetch_add(1, Relaxed) + 1;
        self.open.lock().insert(id, calling.clone());
        Place { calls: self.clone(), id, calling }
    }

    pub(super) fn all(&self) -> Vec<(u64, Arc<Calling>)> {
        self.open.lock().iter().map(|(id, calling)| (*id, calling.clone())).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.lock().is_empty()
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Calling>> {
        self.open.lock().get(&id).cloned()
    }
}

impl Calling {
    /// Since when it is to end, if it is.
    pub(super) fn cut_since(&self) -> Option<Duration> {
        self.cut.borrow().map(|(since, _)| since)
    }

    /// Ends the stream; the agent is told why.
    pub(super) fn cut(&self, now: Duration, why: &'static str) {
        self.cut.send_if_modified(|cut| {
            let is_first = cut.is_none();
            cut.get_or_insert((now, why));
            is_first
        });
    }
}

impl Place {
    /// Resolves once the stream is to end; says why.
    pub(super) async fn cut(&self) -> &'static str {
        let mut cut = self.calling.cut.subscribe();
        // The sender is here: waiting does not fail.
        let found = cut.wait_for(Option::is_some).await;
        found.ok().and_then(|cut| *cut).map_or("", |(_, why)| why)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.calls.open.lock().remove(&self.id);
        if let Some(since) = self.calling.cut_since() {
            self.calls.metrics.cut(self.calls.clock.monotonic().saturating_sub(since));
        }
    }
}

/// What it is, for lists and the audit log. An agent says what it asks, not who it is.
fn recorded(identity: &AgentIdentity, head: &OpenHead) -> Recorded {
    let (method, path, tlvs) = match head {
        OpenHead::Http(request) => {
            let parts = request.parts();
            (Method::from_bytes(parts.method.as_str().as_bytes()).ok(), parts.path, parts.tlvs)
        }
        OpenHead::Raw(raw) => (None, "", raw.tlvs()),
        OpenHead::Control => (None, "", Tlvs::default()),
    };
    let subjects = Subjects {
        credential: identity.instance().as_str().into(),
        key: None,
        user: identity.user().into(),
        cluster: identity.cluster().as_str().into(),
        agent: HUB.into(),
        service: tlvs.service.into(),
        issued: jiff::Timestamp::MIN,
    };
    Recorded {
        user: subjects.user.clone(),
        groups: vec![groups::AGENTS.into()],
        client: None,
        kind: Kind::of(method.is_none(), !tlvs.upgrade.is_empty()),
        method: method.unwrap_or(Method::CONNECT),
        path: clipped(path.split('?').next().unwrap_or_default()),
        id: clipped(tlvs.request_id),
        trace: trace_id(tlvs.trace).to_owned(),
        subjects: Arc::new(subjects),
    }
}
