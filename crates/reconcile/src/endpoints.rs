//! The URLs of an export: one set of feeds for each.

use std::collections::HashMap;
use std::sync::Arc;

use http::Uri;
use parking_lot::Mutex;
use strait_runtime::{Clock, Entropy, Shutdown, TaskSet};
use strait_types::GroupVersionResource;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{Api, Clients, Event, Feed, FeedMetrics, HubTime, SourceId};

/// URLs of one export; there is one per shard. More are not followed.
const URLS_MAX: usize = 64;

/// Kinds of all URLs that were ever listed, together. A URL beyond that is not followed.
const SOURCES_MAX: usize = 1024;

/// Events between a feed and who takes them; a full channel holds the feed up.
const EVENTS_MAX: usize = 256;

/// Where an export's URLs are listed.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The endpoint's name, for keys.
    pub name: Arc<str>,
    /// The hub.
    pub hub: Uri,
    /// The workspace of the slice, by path or logical cluster.
    pub workspace: Box<str>,
    /// Name of the APIExportEndpointSlice.
    pub slice: Box<str>,
}

/// Where objects of one kind come from, and are written to.
#[derive(Clone)]
pub struct Source {
    /// The server.
    pub api: Api,
    /// Position of the kind in the list given to [`Endpoints::follow`].
    pub kind: usize,
}

/// Follows kinds at every URL of an endpoint. Clones share what is followed.
#[derive(Clone)]
pub struct Endpoints(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    clients: Arc<dyn Clients>,
    time: HubTime,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: FeedMetrics,
    tasks: TaskSet,
    urls: Mutex<Urls>,
}

#[derive(Default)]
struct Urls {
    followed: HashMap<Uri, Shutdown>,
    /// By number. A source stays known when its URL is gone, and comes back with it.
    sources: Vec<(Uri, Source)>,
}

impl Endpoints {
    /// Follows nothing yet.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        clients: Arc<dyn Clients>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: FeedMetrics,
        tasks: TaskSet,
    ) -> Self {
        let time = HubTime::new(clock.clone());
        let urls = Mutex::default();
        let inner = Inner { endpoint, clients, time, clock, entropy, metrics, tasks, urls };
        Self(Arc::new(inner))
    }

    /// What time it is at the hub.
    #[must_use]
    pub fn time(&self) -> &HubTime {
        &self.0.time
    }

    /// What a source is.
    #[must_use]
    pub fn source(&self, source: SourceId) -> Option<Source> {
        let at = usize::try_from(source.0).ok()?;
        self.0.urls.lock().sources.get(at).map(|(_, source)| source.clone())
    }

    /// Every source of a kind that was ever listed.
    #[must_use]
    pub fn sources(&self, kind: usize) -> Vec<SourceId> {
        let urls = self.0.urls.lock();
        let ids = (0..).map(SourceId).zip(&urls.sources);
        ids.filter(|(_, (_, source))| source.kind == kind).map(|(id, _)| id).collect()
    }

    /// Starts following, until the shutdown is asked for. Events of all kinds and URLs come
    /// through one channel of 256; while nobody takes them, nothing more is read.
    #[must_use]
    pub fn follow(&self, kinds: Vec<GroupVersionResource>, shutdown: &Shutdown) -> Receiver<Event> {
        let (sender, receiver) = channel(EVENTS_MAX);
        let following = self.clone().run(kinds, sender, shutdown.clone());
        self.0.tasks.spawn("endpoint", following);
        receiver
    }

    async fn run(
        self,
        kinds: Vec<GroupVersionResource>,
        sender: Sender<Event>,
        shutdown: Shutdown,
    ) {
        let (slices, mut changes) = channel(EVENTS_MAX);
        let feed = self.slice_feed();
        self.0.tasks.spawn("endpoint-slice", feed.run(slices, shutdown.clone()));
        while let Some(event) = changes.recv().await {
            match event {
                Event::Applied(_, slice) => {
                    let endpoints = slice.value.array_at(&["status", "endpoints"]);
                    let urls = endpoints.iter().filter_map(|one| one.str_at(&["url"]));
                    let urls = urls.filter_map(|url| url.parse().ok()).collect();
                    self.set_urls(urls, &kinds, &sender, &shutdown);
                }
                Event::Deleted(..) => self.set_urls(Vec::new(), &kinds, &sender, &shutdown),
                Event::Began(_) | Event::Listed(_) => {}
            }
        }
    }

    fn slice_feed(&self) -> Feed {
        let inner = &*self.0;
        let Endpoint { hub, workspace, slice, .. } = &inner.endpoint;
        let api = Api::new(hub.clone(), inner.clients.clone(), inner.time.clone());
        let path =
            format!("/clusters/{workspace}/apis/apis.kcp.io/v1alpha1/apiexportendpointslices");
        let mut feed = self.feed(api, path, SourceId(u32::MAX));
        feed.field_selector = Some(format!("metadata.name={slice}"));
        feed
    }

    /// Starts feeds for new URLs and ends those of URLs that are gone. What a URL that is gone
    /// brought stays as it was: a server that moves is not a deletion.
    fn set_urls(
        &self,
        wanted: Vec<Uri>,
        kinds: &[GroupVersionResource],
        sender: &Sender<Event>,
        shutdown: &Shutdown,
    ) {
        let endpoint = &*self.0.endpoint.name;
        let mut urls = self.0.urls.lock();
        urls.followed.retain(|url, feeds| {
            let keep = wanted.contains(url);
            if !keep {
                tracing::info!(endpoint, %url, "no longer listed");
                feeds.ask();
            }
            keep
        });
        for url in wanted {
            if urls.followed.contains_key(&url) {
                continue;
            }
            let sources = self.sources_of(&mut urls, &url, kinds.len());
            if sources.is_empty() || urls.followed.len() >= URLS_MAX {
                tracing::warn!(endpoint, %url, "too many URLs; not followed");
                continue;
            }
            tracing::info!(endpoint, %url, "following");
            let feeds = shutdown.child();
            for (id, Source { api, kind }) in sources {
                let feed = self.feed(api, Feed::wildcard_path(&kinds[kind]), id);
                self.0.tasks.spawn("feed", feed.run(sender.clone(), feeds.clone()));
            }
            urls.followed.insert(url, feeds);
        }
    }

    /// The sources of a URL, one per kind, known or new; none if there are too many already.
    fn sources_of(&self, urls: &mut Urls, url: &Uri, kinds: usize) -> Vec<(SourceId, Source)> {
        if urls.sources.iter().all(|(known, _)| known != url) {
            if urls.sources.len() >= SOURCES_MAX {
                return Vec::new();
            }
            let api = Api::new(url.clone(), self.0.clients.clone(), self.0.time.clone());
            let new = (0..kinds).map(|kind| (url.clone(), Source { api: api.clone(), kind }));
            urls.sources.extend(new);
        }
        let ids = (0..).map(SourceId).zip(&urls.sources);
        ids.filter(|(_, (known, _))| known == url)
            .map(|(id, (_, source))| (id, source.clone()))
            .collect()
    }

    fn feed(&self, api: Api, path: String, source: SourceId) -> Feed {
        let inner = &*self.0;
        Feed {
            api,
            endpoint: inner.endpoint.name.clone(),
            path,
            field_selector: None,
            source,
            clock: inner.clock.clone(),
            entropy: inner.entropy.clone(),
            metrics: inner.metrics.clone(),
        }
    }
}
