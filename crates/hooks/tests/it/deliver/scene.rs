//! A log, a state, a clock and deliveries.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use strait_hooks::config::{self, Config, Files};
use strait_hooks::deliver::{Deliveries, Keep, Options, Status};
use strait_hooks::log::{self, Log};
use strait_hooks::signature::Scheme;
use strait_hooks::state::State;
use strait_hooks::{Event, Position};
use strait_runtime::{
    Clock, Context, ManualClock, Metrics, SeededEntropy, Shutdown, TaskSet, Tracer,
};
use tempfile::TempDir;

/// Long enough for any machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

struct Any;

impl Files for Any {
    fn secret(&self, _: &Scheme, _: &Path) -> Result<(), String> {
        Ok(())
    }

    fn readable(&self, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

pub(crate) struct Scene {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) dir: TempDir,
    /// For the servers, which outlive a gateway.
    pub(crate) tasks: TaskSet,
}

/// What one process would have.
pub(crate) struct Gateway {
    pub(crate) deliveries: Deliveries,
    pub(crate) log: Log,
    pub(crate) state: Arc<State>,
    pub(crate) context: Context,
    clock: Arc<ManualClock>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        strait_pki::install_provider();
        Self {
            clock: Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap())),
            dir: tempfile::tempdir().unwrap(),
            tasks: TaskSet::new(&Metrics::new()),
        }
    }

    pub(crate) fn context(&self) -> Context {
        let metrics = Metrics::new();
        Context {
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            tasks: TaskSet::new(&metrics),
            metrics,
            shutdown: Shutdown::new(),
            tracer: Tracer::off(),
        }
    }

    pub(crate) async fn start(&self, config: &Config) -> Gateway {
        self.start_with(config, |_| {}, 64 << 20).await
    }

    pub(crate) async fn start_with(
        &self,
        config: &Config,
        change: impl FnOnce(&mut Options),
        segment_bytes: u64,
    ) -> Gateway {
        let context = self.context();
        let options = log::Options { segment_bytes, ..log::Options::default() };
        let (log, _) = Log::open(&self.dir.path().join("log"), options, &context.metrics).unwrap();
        let fail = Box::new(|error: &std::io::Error| panic!("{error}"));
        let (state, _) = State::open(&self.dir.path().join("state"), fail).unwrap();
        let state = Arc::new(state);
        let keep = Keep::Durable { log: log.clone(), state: state.clone() };
        let mut options = Options::new(context.clone());
        change(&mut options);
        let deliveries = Deliveries::start(config, keep, options).await.unwrap();
        Gateway { deliveries, log, state, context, clock: self.clock.clone() }
    }
}

impl Gateway {
    /// Takes in a webhook, as the listener does.
    pub(crate) async fn take(&self, event: Event) -> Position {
        let event = Arc::new(event);
        let position = self.log.append((*event).clone()).await.unwrap();
        self.deliveries.offer(position, &event);
        position
    }

    /// Takes another configuration.
    pub(crate) async fn apply(&self, config: &Config) {
        self.deliveries.apply(&config.sources, &config.backends).await.unwrap();
    }

    pub(crate) async fn send(&self, body: &str) -> Position {
        self.take(self.event(body)).await
    }

    pub(crate) fn event(&self, body: &str) -> Event {
        event(body, self.clock.now())
    }

    /// Waits until the status of the backend is as wanted.
    pub(crate) async fn until(&self, backend: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let look = async {
            loop {
                let all = self.deliveries.status().await;
                let found = all.into_iter().find(|one| *one.name == *backend).unwrap();
                if wanted(&found) {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, look).await.unwrap()
    }

    /// Waits until nothing waits for the backend.
    pub(crate) async fn idle(&self, backend: &str) -> Status {
        self.until(backend, |one| one.waiting == 0 && one.in_flight == 0).await
    }

    /// Ends all at once, as a kill does.
    pub(crate) async fn kill(self) {
        drop(self.context.tasks.shutdown(Duration::ZERO).await);
        let Self { deliveries, log, state, context, .. } = self;
        drop((deliveries, context));
        log.close().await;
        // What runs on a thread lets go of it in a moment.
        let mut state = Some(state);
        while let Some(shared) = state.take() {
            match Arc::try_unwrap(shared) {
                Ok(last) => drop(last),
                Err(shared) => {
                    state = Some(shared);
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    pub(crate) fn metric(&self, name: &str) -> String {
        let text = self.context.metrics.encode();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_default().trim().to_owned()
    }
}

pub(crate) fn event(body: &str, received: Timestamp) -> Event {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("x-github-delivery", "one"),
        ("x-hub-signature-256", "sha256=00"),
        ("authorization", "Bearer ours"),
        ("cookie", "ours=1"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Event {
        source: "forge".into(),
        delivery: "one".into(),
        received,
        path: "".into(),
        query: "".into(),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
        sha256: Sha256::digest(body.as_bytes()).into(),
    }
}

/// A configuration with one source and these backends, each with the members that are given.
pub(crate) fn config(backends: &[(&str, &str)]) -> Config {
    config_with("", backends)
}

pub(crate) fn config_with(head: &str, backends: &[(&str, &str)]) -> Config {
    let mut text = format!(
        "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\n{head}\nsources:\n\
         - {{name: forge, path: /forge, scheme: github, secretFiles: [/s]}}\n\
         - {{name: other, path: /other, scheme: github, secretFiles: [/s]}}\nbackends:\n",
    );
    for (name, members) in backends {
        let sources = if members.contains("sources:") { "" } else { "sources: [forge], " };
        text += &format!("- {{name: {name}, {sources}allowPrivate: true, {members}}}\n");
    }
    config::read("test.yaml", &text, None, &Any).unwrap_or_else(|mistakes| {
        let texts: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}", texts.join("\n"))
    })
}

pub(crate) fn url(address: std::net::SocketAddr) -> String {
    format!("url: \"http://{address}/hooks?team=a\"")
}
