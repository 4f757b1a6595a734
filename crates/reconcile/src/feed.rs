//! One kind at one server: everything that stands, then everything that changes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use strait_machinery::json::Value;
use strait_runtime::{Backoff, Clock, Entropy, Shutdown};
use strait_types::{Classified, ErrorKind, GroupVersionResource, Report};
use tokio::sync::mpsc::Sender;

use crate::key::collection_path;
use crate::metrics::Restart;
use crate::stream::Lines;
use crate::{Api, ApiError, FeedMetrics, Object};

/// Objects of one page of a list.
pub const PAGE_OBJECTS: usize = 500;

/// Bytes of one page: more objects of that size than a page has would not be requests.
pub const PAGE_BYTES_MAX: usize = 128 << 20;

/// Bytes of one event of a watch: twice what a server stores of an object.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// How long the server is asked to keep a watch.
const WATCH_SECONDS: u64 = 300;

/// A watch that lived so long was worth starting without a wait.
const WATCH_WORTH: Duration = Duration::from_secs(5);

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_LIMIT: Duration = Duration::from_secs(30);

/// A feed among those of a process: where an object came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(pub u32);

/// What a feed brings.
#[derive(Debug)]
pub enum Event {
    /// Everything that stands comes now.
    Began(SourceId),
    /// An object as it stands, or as it became.
    Applied(SourceId, Box<Object>),
    /// An object as it was last.
    Deleted(SourceId, Box<Object>),
    /// That was everything: what the source brought before and did not bring again is gone.
    Listed(SourceId),
}

/// Follows one collection of one server for ever.
pub struct Feed {
    /// The server.
    pub api: Api,
    /// The endpoint's name, for keys.
    pub endpoint: Arc<str>,
    /// The collection's path, below the server's URL.
    pub path: String,
    /// `name=value` of the only objects that are wanted.
    pub field_selector: Option<String>,
    /// What the events are marked with.
    pub source: SourceId,
    /// Measures how long watches live.
    pub clock: Arc<dyn Clock>,
    /// Spreads the retries.
    pub entropy: Arc<dyn Entropy>,
    /// Where to count.
    pub metrics: FeedMetrics,
}

/// Nobody takes events any more, or the process ends.
struct Stopped;

/// Why a list or watch ended.
enum Failure {
    Stopped,
    Expired,
    Api(ApiError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        // 410, and what kube-apiserver says of a version that is too old or too new.
        if error.code() == Some(410) { Self::Expired } else { Self::Api(error) }
    }
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Feed {
    /// The path of a kind's objects in all logical clusters.
    #[must_use]
    pub fn wildcard_path(resource: &GroupVersionResource) -> String {
        collection_path("*", None, resource)
    }

    /// Sends events until the shutdown is asked for or the receiver is gone. Failures are logged
    /// and tried again, at first after 200 ms, at last every 30 s, with jitter; a full channel
    /// holds the feed up, and through it the server.
    pub async fn run(self, events: Sender<Event>, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.asked() => {}
            () = self.follow(&events) => {}
        }
    }

    async fn follow(&self, events: &Sender<Event>) {
        let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_LIMIT, self.entropy.clone());
        loop {
            let begun = self.clock.monotonic();
            let failure = self.list_and_watch(events).await;
            if self.clock.monotonic().saturating_sub(begun) >= WATCH_WORTH {
                backoff.reset();
            }
            match failure {
                Failure::Stopped => return,
                Failure::Expired => self.metrics.restarted(Restart::Expired),
                Failure::Api(error) => {
                    self.metrics.restarted(Restart::Failed);
                    self.log(&error);
                }
            }
            tokio::time::sleep(backoff.next().unwrap_or(BACKOFF_LIMIT)).await;
        }
    }

    fn log(&self, error: &ApiError) {
        let (endpoint, path) = (&*self.endpoint, &*self.path);
        let text = Report(error).to_string();
        match error.kind() {
            ErrorKind::Denied | ErrorKind::Unauthenticated | ErrorKind::NotFound => {
                tracing::warn!(endpoint, path, err = text, "may not be followed (yet)");
            }
            _ => tracing::warn!(endpoint, path, err = text, "lost; trying again"),
        }
    }

    async fn list_and_watch(&self, events: &Sender<Event>) -> Failure {
        let mut version = match self.list(events).await {
            Ok(version) => version,
            Err(failure) => return failure,
        };
        loop {
            let begun = self.clock.monotonic();
            match self.watch(&mut version, events).await {
                Ok(()) => self.metrics.restarted(Restart::Ended),
                // A connection that breaks loses nothing: the next watch goes on from there.
                Err(Failure::Api(error)) if !matches!(error, ApiError::Status { .. }) => {
                    self.metrics.restarted(Restart::Failed);
                    self.log(&error);
                }
                Err(failure) => return failure,
            }
            if self.clock.monotonic().saturating_sub(begun) < WATCH_WORTH {
                tokio::time::sleep(BACKOFF_FIRST).await;
            }
        }
    }

    /// Brings everything that stands; returns the version that a watch goes on from.
    async fn list(&self, events: &Sender<Event>) -> Result<String, Failure> {
        send(events, Event::Began(self.source)).await?;
        let mut token = String::new();
        loop {
            let mut path = format!("{}?limit={PAGE_OBJECTS}", self.path);
            self.select(&mut path);
            if !token.is_empty() {
                path.push_str("&continue=");
                path.extend(utf8_percent_encode(&token, NON_ALPHANUMERIC));
            }
            let mut page = self.api.get(&path, PAGE_BYTES_MAX).await?;
            if let Some(Value::Array(items)) = page.remove(&["items"]) {
                for item in items {
                    self.apply(item, events).await?;
                }
            }
            let metadata = |field| page.str_at(&["metadata", field]).unwrap_or_default();
            token = metadata("continue").to_owned();
            if token.is_empty() {
                let version = metadata("resourceVersion").to_owned();
                send(events, Event::Listed(self.source)).await?;
                return Ok(version);
            }
        }
    }

    fn select(&self, path: &mut String) {
        if let Some(selector) = &self.field_selector {
            path.push_str("&fieldSelector=");
            path.extend(utf8_percent_encode(selector, NON_ALPHANUMERIC));
        }
    }

    async fn apply(&self, value: Value, events: &Sender<Event>) -> Result<(), Stopped> {
        match self.object(value) {
            Some(object) => send(events, Event::Applied(self.source, object)).await,
            None => Ok(()),
        }
    }

    fn object(&self, value: Value) -> Option<Box<Object>> {
        self.metrics.events.inc();
        match Object::new(&self.endpoint, value) {
            Ok(object) => Some(Box::new(object)),
            Err(error) => {
                self.metrics.malformed.inc();
                tracing::debug!(endpoint = &*self.endpoint, err = %error, "passed over");
                None
            }
        }
    }

    /// Brings changes after `version` and moves it on, until the server ends the watch.
    async fn watch(&self, version: &mut String, events: &Sender<Event>) -> Result<(), Failure> {
        let mut path = format!(
            "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion=",
            self.path
        );
        path.extend(utf8_percent_encode(version, NON_ALPHANUMERIC));
        self.select(&mut path);
        let response = self.api.watch(&path).await?;
        let _connected = Connected::new(&self.metrics);
        let mut lines = Lines::new(response.into_body(), LINE_BYTES_MAX);
        // The server ends the watch before that; if not, the connection is dead.
        let silence = Duration::from_secs(WATCH_SECONDS + 30);
        while let Some(event) = lines.next(silence).await? {
            if let ControlFlow::Break(failure) = self.take(event, version, events).await {
                return Err(failure);
            }
        }
        Ok(())
    }

    async fn take(
        &self,
        mut event: Value,
        version: &mut String,
        events: &Sender<Event>,
    ) -> ControlFlow<Failure> {
        let object = event.remove(&["object"]).unwrap_or_default();
        let kind = event.str_at(&["type"]).unwrap_or_default();
        if kind == "ERROR" {
            return ControlFlow::Break(error_of(&object));
        }
        if let Some(reached) = object.str_at(&["metadata", "resourceVersion"]) {
            reached.clone_into(version);
        }
        let sent = match kind {
            "ADDED" | "MODIFIED" => self.apply(object, events).await,
            "DELETED" => match self.object(object) {
                Some(object) => send(events, Event::Deleted(self.source, object)).await,
                None => Ok(()),
            },
            // BOOKMARK, and what a newer server may add.
            _ => Ok(()),
        };
        match sent {
            Ok(()) => ControlFlow::Continue(()),
            Err(Stopped) => ControlFlow::Break(Failure::Stopped),
        }
    }
}

async fn send(events: &Sender<Event>, event: Event) -> Result<(), Stopped> {
    events.send(event).await.map_err(|_| Stopped)
}

/// What an `ERROR` event says: a Status object.
fn error_of(status: &Value) -> Failure {
    let text = |field: &str| status.str_at(&[field]).unwrap_or_default().to_owned();
    let code = status.get("code").and_then(Value::as_i64);
    ApiError::Status {
        code: code.and_then(|code| code.try_into().ok()).unwrap_or(500),
        reason: text("reason"),
        message: text("message"),
        retry_after: None,
    }
    .into()
}

/// Counts a watch as connected while it lives.
struct Connected(prometheus_client::metrics::gauge::Gauge);

impl Connected {
    fn new(metrics: &FeedMetrics) -> Self {
        metrics.watches.inc();
        Self(metrics.watches.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}
