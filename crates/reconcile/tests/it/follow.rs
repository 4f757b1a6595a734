//! Following what stands and what changes, whatever happens to the connection.

use std::sync::Arc;

use http::Method;
use strait_reconcile::{Change, Endpoint, Endpoints, FeedMetrics, Index, Object};
use strait_runtime::{Metrics, SeededEntropy, Shutdown, SystemClock, TaskSet};
use strait_types::GroupVersionResource;
use tokio::sync::mpsc::Receiver;

use crate::fake_hub::{FakeHub, KIND, PlainClients, spec};

/// A follower of a hub's kind, with an index.
pub(crate) struct Follower {
    events: Receiver<strait_reconcile::Event>,
    pub(crate) index: Index<()>,
    shutdown: Shutdown,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shutdown.ask();
    }
}

impl Follower {
    pub(crate) fn new(hub: &FakeHub) -> Self {
        let metrics = Metrics::new();
        let endpoint = Endpoint {
            name: "hub".into(),
            hub: hub.uri(),
            workspace: "root:provider".into(),
            slice: "export".into(),
        };
        let endpoints = Endpoints::new(
            endpoint,
            Arc::new(PlainClients),
            Arc::new(SystemClock),
            Arc::new(SeededEntropy::new(1)),
            FeedMetrics::new(&metrics),
            TaskSet::new(&metrics),
        );
        let shutdown = Shutdown::new();
        let kind = GroupVersionResource::new(KIND.0, KIND.1, KIND.2);
        let events = endpoints.follow(vec![kind], &shutdown);
        Self { events, index: Index::new(100), shutdown }
    }

    /// The next changes, in short: `+cluster/name=spec` and `-cluster/name`.
    pub(crate) async fn changes(&mut self, count: usize) -> Vec<String> {
        let mut changes = Vec::new();
        while changes.len() < count {
            match self.index.take(self.events.recv().await.unwrap()) {
                Change::None | Change::Full(_) => {}
                Change::Applied(key, object) => {
                    let n = object.value.str_at(&["spec", "n"]).unwrap_or_default();
                    changes.push(format!("+{}/{}={n}", key.cluster, key.name));
                }
                Change::Gone(keys) => {
                    changes.extend(keys.iter().map(|key| format!("-{}/{}", key.cluster, key.name)));
                }
            }
        }
        changes
    }

    pub(crate) async fn object(&mut self) -> Box<Object> {
        loop {
            if let Change::Applied(_, object) = self.index.take(self.events.recv().await.unwrap()) {
                return object;
            }
        }
    }
}

fn numbered(n: &str) -> strait_machinery::json::Value {
    spec(&format!("{{\"n\":\"{n}\"}}"))
}

#[tokio::test]
async fn what_stands_comes_page_by_page_and_then_what_changes() {
    let hub = FakeHub::start().await;
    for (cluster, n) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")] {
        hub.create((cluster, "ns", "same"), numbered(n));
    }
    let mut follower = Follower::new(&hub);
    let mut first = follower.changes(5).await;
    first.sort();
    assert_eq!(first, ["+a/same=1", "+b/same=2", "+c/same=3", "+d/same=4", "+e/same=5"]);
    assert_eq!(hub.calls("continue=2"), 1);
    assert_eq!(hub.calls("continue=4"), 1);

    hub.edit(("b", "ns", "same"), |value| value.set(&["spec", "n"], "20"));
    hub.delete(("c", "ns", "same"));
    hub.create(("c", "ns", "same"), numbered("30"));
    assert_eq!(follower.changes(3).await, ["+b/same=20", "-c/same", "+c/same=30"]);
    assert_eq!(follower.index.len(), 5);
}

#[tokio::test]
async fn objects_come_without_what_nobody_reads() {
    let hub = FakeHub::start().await;
    hub.create(("a", "ns", "x"), numbered("1"));
    let object = Follower::new(&hub).object().await;
    assert!(object.value.at(&["metadata", "managedFields"]).is_none());
    assert!(object.annotation("requests.strait.dev/requester").is_some());
}

#[tokio::test]
async fn a_cut_watch_goes_on_where_it_was() {
    let hub = FakeHub::start().await;
    hub.create(("a", "ns", "x"), numbered("1"));
    let mut follower = Follower::new(&hub);
    assert_eq!(follower.changes(1).await, ["+a/x=1"]);
    hub.cut_watches();
    hub.edit(("a", "ns", "x"), |value| value.set(&["spec", "n"], "2"));
    assert_eq!(follower.changes(1).await, ["+a/x=2"]);
    assert_eq!(
        hub.calls("GET /services/one/clusters/*/apis/s.dev/v1alpha1/signingrequests?limit"),
        1
    );
}

#[tokio::test]
async fn after_lost_history_only_real_changes_come() {
    let hub = FakeHub::start().await;
    for name in ["keeps", "changes", "goes"] {
        hub.create(("a", "ns", name), numbered("1"));
    }
    let mut follower = Follower::new(&hub);
    follower.changes(3).await;
    hub.edit(("a", "ns", "changes"), |value| value.set(&["spec", "n"], "2"));
    assert_eq!(follower.changes(1).await, ["+a/changes=2"]);

    // Nothing of this reaches the watch.
    hub.fail(Method::GET, "clusters/*/apis/s.dev/v1alpha1/signingrequests?watch", 410);
    hub.cut_watches();
    hub.delete(("a", "ns", "goes"));
    hub.expire();
    hub.create(("a", "ns", "comes"), numbered("1"));
    let mut changes = follower.changes(2).await;
    changes.sort();
    assert_eq!(changes, ["+a/comes=1", "-a/goes"]);
}

#[tokio::test]
async fn failures_are_tried_again() {
    let hub = FakeHub::start().await;
    hub.create(("a", "ns", "x"), numbered("1"));
    for status in [403, 500] {
        hub.fail(Method::GET, "clusters/*/apis/s.dev", status);
    }
    hub.fail(Method::GET, "apiexportendpointslices?limit", 503);
    let mut follower = Follower::new(&hub);
    assert_eq!(follower.changes(1).await, ["+a/x=1"]);
    assert!(hub.failed());
}

#[tokio::test]
async fn every_url_of_the_slice_is_followed_and_a_move_is_no_deletion() {
    let hub = FakeHub::start().await;
    hub.create(("a", "ns", "x"), numbered("1"));
    hub.create_in("two", ("b", "ns", "x"), numbered("2"));
    let mut follower = Follower::new(&hub);
    assert_eq!(follower.changes(1).await, ["+a/x=1"]);
    hub.set_urls(&["one", "two"]);
    assert_eq!(follower.changes(1).await, ["+b/x=2"]);

    hub.copy_to("two", ("a", "ns", "x"));
    assert_eq!(follower.changes(1).await, ["+a/x=1"]);
    hub.drop_from("one", ("a", "ns", "x"));
    hub.set_urls(&["two"]);
    hub.delete(("b", "ns", "x"));
    assert_eq!(follower.changes(1).await, ["-b/x"]);
    assert_eq!(follower.index.len(), 1);
}
