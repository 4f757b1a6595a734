//! Objects and stores for the tests.

use std::sync::Arc;
use std::time::Duration;

use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::{Body, Header};
use strait_runtime::{Metrics, SystemClock};
use strait_store::engine::{Compare, Engine, Expect};
use strait_store::{Key, ObjectName, Options, Put, ResourceId, Retention, Store, Txn};
use strait_types::{ClusterName, Revision, Uid};

pub(crate) fn things() -> ResourceId {
    ResourceId::new("test.io", "things", "")
}

pub(crate) fn cluster(name: &str) -> ClusterName {
    ClusterName::new(name).unwrap()
}

pub(crate) fn key(cluster_name: &str, name: &str) -> Key {
    Key::new(things(), cluster(cluster_name), ObjectName::namespaced("ns", name))
}

/// An object whose `data` is `data`.
pub(crate) fn put(key: &Key, data: &str) -> Put {
    let value = object! {
        "metadata": object!{
            "name": key.name.name(),
            "uid": Uid::from_random([7; 16]).to_string(),
        },
        "data": data,
    };
    let (body, header) = (Body::encode(&value).unwrap(), Header::of(&value).unwrap());
    Put { key: key.clone(), body, header, lease: None }
}

pub(crate) fn write(key: &Key, data: &str) -> Txn {
    Txn { puts: vec![put(key, data)], ..Txn::default() }
}

pub(crate) fn create(key: &Key, data: &str) -> Txn {
    let compares = vec![Compare { key: key.clone(), expect: Expect::Absent }];
    Txn { compares, ..write(key, data) }
}

pub(crate) fn update(key: &Key, revision: Revision, data: &str) -> Txn {
    let compares = vec![Compare { key: key.clone(), expect: Expect::Revision(revision) }];
    Txn { compares, ..write(key, data) }
}

pub(crate) fn delete(key: &Key) -> Txn {
    Txn { deletes: vec![key.clone()], ..Txn::default() }
}

pub(crate) fn data(value: &Value) -> &str {
    value.str_at(&["data"]).unwrap()
}

pub(crate) fn open(engine: Arc<dyn Engine>, options: Options) -> Store {
    Store::open(engine, options, Arc::new(SystemClock), &Metrics::new()).unwrap()
}

/// Keeps everything.
pub(crate) fn patient() -> Options {
    let retention = Retention { age: Duration::from_secs(3600), revisions: u64::MAX };
    Options { retention, ..Options::default() }
}

/// Forgets every event at once, so that watches must read the log.
pub(crate) fn forgetful() -> Options {
    Options { history_bytes: 0, ..patient() }
}
