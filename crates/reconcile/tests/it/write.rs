//! Writes under the condition that the object is still the one that was meant.

use std::sync::Arc;

use http::Method;
use strait_machinery::object;
use strait_reconcile::{Api, HubPaths, HubTime, ObjectKey, PathSource, Writer};
use strait_runtime::{Clock, ManualClock, SystemClock};
use strait_types::{Classified, ClusterName, ErrorKind, GroupVersionResource};

use crate::fake_hub::{FakeHub, KIND, PlainClients, spec};
use crate::follow::Follower;

const FINALIZER: &str = "requests.strait.dev/agent-x";

fn api(hub: &FakeHub, clock: Arc<dyn Clock>) -> Api {
    let url = format!("{}services/one", hub.uri()).parse().unwrap();
    Api::new(url, Arc::new(PlainClients), HubTime::new(clock))
}

fn writer(hub: &FakeHub) -> Writer {
    let kind = GroupVersionResource::new(KIND.0, KIND.1, KIND.2);
    Writer::new(api(hub, Arc::new(SystemClock)), kind)
}

#[tokio::test]
async fn a_finalizer_is_added_only_to_what_was_seen() {
    let hub = FakeHub::start().await;
    let at = ("a", "ns", "x");
    hub.create(at, spec("{}"));
    let seen = Follower::new(&hub).object().await;
    let written = writer(&hub).add_finalizer(&seen, FINALIZER).await.unwrap();
    assert_eq!(written.finalizers().collect::<Vec<_>>(), [FINALIZER]);

    // The object has changed since it was seen.
    let error = writer(&hub).add_finalizer(&seen, "x/y").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let written = writer(&hub).add_finalizer(&written, "x/y").await.unwrap();
    assert_eq!(written.finalizers().collect::<Vec<_>>(), [FINALIZER, "x/y"]);
}

#[tokio::test]
async fn a_finalizer_is_removed_whatever_stands_around_it() {
    let hub = FakeHub::start().await;
    let at = ("a", "ns", "x");
    hub.create(at, spec("{}"));
    let key = Follower::new(&hub).object().await.key;
    let set = |list: &[&str]| {
        hub.edit(at, |value| {
            let list = list.iter().map(|name| (*name).into()).collect::<Vec<_>>();
            value.set(&["metadata", "finalizers"], list);
        });
    };
    set(&["x/y", FINALIZER]);
    hub.fail(Method::PATCH, "signingrequests/x", 422);
    let left = writer(&hub).remove_finalizer(&key, FINALIZER).await.unwrap().unwrap();
    assert_eq!(left.finalizers().collect::<Vec<_>>(), ["x/y"]);
    assert!(writer(&hub).remove_finalizer(&key, FINALIZER).await.unwrap().is_some());

    set(&[FINALIZER]);
    hub.delete(at);
    writer(&hub).remove_finalizer(&key, FINALIZER).await.unwrap();
    assert!(hub.get(at).is_none());
    assert!(writer(&hub).remove_finalizer(&key, FINALIZER).await.unwrap().is_none());
}

#[tokio::test]
async fn a_status_reaches_its_own_object_only() {
    let hub = FakeHub::start().await;
    let at = ("a", "ns", "x");
    hub.create(at, spec("{}"));
    let key = Follower::new(&hub).object().await.key;
    let status = || object! {"phase": "Running"};
    let written = writer(&hub).merge_status(&key, status()).await.unwrap().unwrap();
    assert_eq!(written.value.str_at(&["status", "phase"]), Some("Running"));

    // Another object takes the name, in this workspace; and one of the name in another.
    hub.delete(at);
    hub.create(at, spec("{}"));
    hub.create(("b", "ns", "x"), spec("{}"));
    assert!(writer(&hub).merge_status(&key, status()).await.unwrap().is_none());
    assert!(hub.get(at).unwrap().get("status").is_none());
    let elsewhere = ObjectKey { cluster: ClusterName::new("b").unwrap(), ..key };
    assert!(writer(&hub).merge_status(&elsewhere, status()).await.unwrap().is_none());
    assert!(hub.get(("b", "ns", "x")).unwrap().get("status").is_none());
}

#[tokio::test]
async fn paths_are_the_hubs_word_and_kept_for_a_while() {
    let hub = FakeHub::start().await;
    let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
    let paths = HubPaths::new(api(&hub, clock.clone()), clock.clone());
    let cluster = ClusterName::new("a").unwrap();
    let path = || async { paths.path(&cluster).await.unwrap().map(|path| path.to_string()) };

    hub.fail(Method::GET, "apibindings", 500);
    assert!(paths.path(&cluster).await.is_err());
    hub.set_path("a", "root:demo");
    assert_eq!(path().await.as_deref(), Some("root:demo"));
    hub.set_path("a", "root:moved");
    assert_eq!(path().await.as_deref(), Some("root:demo"));
    clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(path().await.as_deref(), Some("root:moved"));
    assert!(paths.path(&ClusterName::new("b").unwrap()).await.unwrap().is_none());
}
