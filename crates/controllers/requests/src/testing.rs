//! Records, classes and stores for the unit tests.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_runtime::{ManualClock, Metrics};
use strait_store::engine::{Engine, MemoryEngine};
use strait_store::{Options, Store};
use strait_types::HubId;

use crate::config::{Class, ExecutorConfig, ProcessConfig};
use crate::execution::{Record, Request, SpecHash, State, Times};

pub(crate) const HUB: &str = "0123456789ab";

pub(crate) fn hub() -> HubId {
    HUB.parse().unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(at(0)))
}

pub(crate) fn memory_store() -> Store {
    open_store(Arc::new(MemoryEngine::new()))
}

pub(crate) fn open_store(engine: Arc<dyn Engine>) -> Store {
    Store::open(engine, Options::default(), clock(), &Metrics::new()).unwrap()
}

/// The first attempt of the request of that number.
pub(crate) fn record(number: u8, state: State) -> Record {
    let uid = strait_types::Uid::from_random([number; 16]);
    Record {
        request: Request {
            endpoint: "hub".into(),
            group: "s.dev".into(),
            version: "v1alpha1".into(),
            resource: "signings".into(),
            cluster: "37qd".into(),
            namespace: Some("default".into()),
            name: "same".into(),
            uid: uid.to_string().into(),
            requester: "alice".into(),
        },
        attempt: 1,
        class: "sign".into(),
        executor: "process".into(),
        spec_hash: SpecHash::of(&"spec".into()),
        generation: 1,
        times: Times { accepted: Some(at(0)), ..Times::default() },
        cancel: None,
        state,
    }
}

/// At most once, of a program that is never run.
pub(crate) fn class() -> Class {
    Class {
        name: "sign".into(),
        params: None,
        attempts_max: 1,
        at_least_once: false,
        backoff_first: Duration::from_secs(4),
        backoff_max: Duration::from_secs(60),
        queue_timeout: Duration::from_secs(600),
        execution_timeout: Duration::from_secs(60),
        cancel_grace: Duration::from_secs(10),
        concurrency: 2,
        pending_max: 10,
        results: Vec::new(),
        executor: ExecutorConfig::Process(ProcessConfig {
            program: "/bin/true".into(),
            args: Vec::new(),
            env: std::collections::BTreeMap::default(),
            stdout_bytes_max: 1 << 20,
            stderr_bytes_max: 1 << 10,
        }),
    }
}
