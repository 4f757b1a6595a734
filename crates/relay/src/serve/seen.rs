//! What is told of a stream when it ends: a line of the access log, and its numbers.

use std::sync::Arc;
use std::time::Duration;

use strait_tunnel::{Code, Tlvs};
use tokio::sync::OwnedSemaphorePermit;

use super::flow::Flow;
use super::identity::Identity;
use super::live::Live;
use super::metrics::Counted;

/// Longest path that is logged, bytes.
const PATH_MAX: usize = 1024;

/// One stream, told when it is dropped: however its work ends, it is told once.
pub(super) struct Seen {
    live: Arc<Live>,
    pub(super) flow: Arc<Flow>,
    kind: &'static str,
    began: Duration,
    request_id: String,
    user: String,
    credential: String,
    method: String,
    /// Without its query.
    path: String,
    /// Of the answer, whoever made it.
    pub(super) status: u16,
    /// Why we answered in the service's place; empty if it did.
    pub(super) reason: &'static str,
    /// What the stream ended with; aborted unless somebody says otherwise.
    pub(super) code: Code,
    /// Its turn among the streams of its service.
    pub(super) turn: Option<OwnedSemaphorePermit>,
    _open: Counted,
}

impl Seen {
    pub(super) fn new(
        live: &Arc<Live>,
        flow: Arc<Flow>,
        kind: &'static str,
        tlvs: &Tlvs<'_>,
    ) -> Self {
        Self {
            live: live.clone(),
            kind,
            began: flow.now(),
            flow,
            request_id: clipped(tlvs.request_id),
            user: String::new(),
            credential: String::new(),
            method: String::new(),
            path: String::new(),
            status: 0,
            reason: "",
            code: Code::Aborted,
            turn: None,
            _open: live.context.metrics.opened(&live.name, kind),
        }
    }

    /// What was asked for.
    pub(super) fn asks(&mut self, method: &str, path: &str) {
        self.method = method.to_owned();
        self.path = clipped(path.split('?').next().unwrap_or_default());
    }

    /// Who asks.
    pub(super) fn by(&mut self, identity: &Identity) {
        self.user = clipped(&identity.user);
        self.credential = clipped(&identity.cred);
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let (up, down) = self.flow.bytes();
        let Self { live, kind, status, .. } = self;
        live.context.metrics.ended(&live.name, kind, self.code.as_str(), (up, down));
        let took = self.flow.now().saturating_sub(self.began);
        tracing::debug!(
            target: "strait::access",
            id = self.request_id,
            service = &*live.name,
            kind,
            user = self.user,
            credential = self.credential,
            method = self.method,
            path = self.path,
            status,
            reason = self.reason,
            code = self.code.as_str(),
            up,
            down,
            took_ms = took.as_secs_f64() * 1e3,
            "served"
        );
    }
}

fn clipped(text: &str) -> String {
    match text.char_indices().find(|(at, one)| at + one.len_utf8() > PATH_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
