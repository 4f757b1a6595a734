//! Writers and a watcher, what they were told, and whether a hub still knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::client::Access;
use super::hub::Hub;

/// Where the objects are.
const OBJECTS: &str = "/clusters/root/api/v1/namespaces/default/configmaps";

/// Writers at once.
const WRITERS: usize = 6;

/// An object as somebody was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    uid: String,
    revision: u64,
    value: String,
}

/// What a hub said.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By name; none is an acknowledged deletion.
    objects: BTreeMap<String, Option<Told>>,
    /// What was asked for and not answered: the value to be, or none for a deletion.
    open: Vec<(String, Option<String>)>,
    /// Events in the order in which they were shown, and where that watch began.
    shown: Vec<String>,
    watched_from: u64,
    /// Distinguishes the names of one load from those of another.
    loads: usize,
}

impl Ledger {
    /// Number of objects that are known.
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Has the hub work until so many writes were acknowledged, and kills it then.
    pub(crate) async fn work_and_kill(&mut self, hub: Hub, access: &Access, writes: usize) {
        self.work(access, writes, move || hub.kill()).await;
    }

    /// The same, where something else ends the hub.
    pub(crate) async fn work(&mut self, access: &Access, writes: usize, end: impl FnOnce()) {
        self.loads += 1;
        let newest = self.newest();
        let list = access.read(OBJECTS).await.unwrap();
        self.watched_from = revision_of(&list);
        let connection = access.connect().await.unwrap();
        let path = format!("{OBJECTS}?watch=true&resourceVersion={}", self.watched_from);
        let watcher = tokio::spawn(watch_all(connection.watch(&path).await.unwrap()));
        let (count, mut counted) = watch::channel(0);
        let count = Arc::new(count);
        let writer = |index: usize| {
            let prefix = format!("w{}-{index}", self.loads);
            tokio::spawn(write(access.clone(), prefix, count.clone()))
        };
        let writers: Vec<_> = (0..WRITERS).map(writer).collect();
        drop(counted.wait_for(|count| *count >= writes).await.unwrap());
        end();
        for writer in writers {
            let (objects, open) = writer.await.unwrap();
            for told in objects.values().flatten() {
                assert!(told.revision > newest, "revisions go on: {told:?} after {newest}");
            }
            self.objects.extend(objects);
            self.open.extend(open);
        }
        self.shown = watcher.await.unwrap();
    }

    fn newest(&self) -> u64 {
        self.objects.values().flatten().map(|told| told.revision).max().unwrap_or_default()
    }

    /// Whether a hub knows everything that was told. What it shows counts as told from then on.
    pub(crate) async fn check(&mut self, access: &Access) -> Result<(), String> {
        let list = access.read(OBJECTS).await?;
        if revision_of(&list) < self.newest() {
            return Err(format!("revision {} is older than {}", revision_of(&list), self.newest()));
        }
        let items = list["items"].as_array().unwrap();
        let mut found: BTreeMap<_, _> = items.iter().filter_map(ours).collect();
        for (name, asked) in std::mem::take(&mut self.open) {
            let before = self.objects.get(&name).cloned().flatten();
            let now = found.get(&name).cloned();
            let done = now.as_ref().map(|told| told.value.clone()) == asked;
            if now != before && !done {
                return Err(format!(
                    "{name} was {before:?}, is {now:?}, and {asked:?} was asked for"
                ));
            }
            self.objects.insert(name, now);
        }
        for (name, told) in &self.objects {
            let now = found.remove(name);
            if now != *told {
                return Err(format!("{name} was acknowledged as {told:?} and is {now:?}"));
            }
        }
        if let Some(stray) = found.first_key_value() {
            return Err(format!("nobody asked for {stray:?}"));
        }
        self.check_events(access).await
    }

    /// Whether the history still is what was shown of it.
    async fn check_events(&mut self, access: &Access) -> Result<(), String> {
        let shown = std::mem::take(&mut self.shown);
        let path = format!("{OBJECTS}?watch=true&resourceVersion={}", self.watched_from);
        let gone = |gone: super::client::Gone| format!("{gone:?}");
        let mut events = access.connect().await.map_err(gone)?.watch(&path).await.map_err(gone)?;
        for event in shown {
            let next = events.next();
            let limit = std::time::Duration::from_secs(10);
            let next = tokio::time::timeout(limit, next).await;
            let next = next.map_err(|_| format!("{event} was shown, and is no more"))?;
            let next = line_of(&next.map_err(gone)?);
            if next != event {
                return Err(format!("{event} was shown, and now {next}"));
            }
        }
        Ok(())
    }
}

type Written = (BTreeMap<String, Option<Told>>, Option<(String, Option<String>)>);

/// Creates objects, changes each, and deletes every other, until the hub is gone.
async fn write(access: Access, prefix: String, count: Arc<watch::Sender<usize>>) -> Written {
    let mut objects = BTreeMap::new();
    let Ok(mut connection) = access.connect().await else { return (objects, None) };
    for number in 0.. {
        let name = format!("{prefix}-{number}");
        let path = format!("{OBJECTS}/{name}");
        let steps = [
            (Method::POST, OBJECTS, Some("made")),
            (Method::PUT, &path, Some("changed")),
            (Method::DELETE, &path, None),
        ];
        for (method, path, value) in steps.into_iter().take(2 + number % 2) {
            let body = value.map(|value| object(&name, value));
            let answer = connection.call(method, path, body.as_ref()).await;
            let Ok((status, text)) = answer else {
                return (objects, Some((name, value.map(str::to_owned))));
            };
            if status >= 500 {
                // A disk that fails: it may be known only later whether this was done.
                return (objects, Some((name, value.map(str::to_owned))));
            }
            assert!((200..300).contains(&status), "{status}: {text}");
            let told = ours(&serde_json::from_str(&text).unwrap());
            objects.insert(name.clone(), value.and(told).map(|(_, told)| told));
            count.send_modify(|count| *count += 1);
        }
    }
    (objects, None)
}

/// Reads events until the hub is gone.
async fn watch_all(mut events: super::client::Events) -> Vec<String> {
    let mut shown = Vec::new();
    loop {
        match events.next().await {
            Ok(event) => shown.push(line_of(&event)),
            Err(_) => return shown,
        }
    }
}

/// What matters of an event.
fn line_of(event: &Value) -> String {
    let object = &event["object"];
    let at = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let kind = event["type"].as_str().unwrap_or_default();
    let value = &object["data"]["value"];
    format!("{kind} {} {} {} {value}", at("name"), at("uid"), at("resourceVersion"))
}

/// An object of the load.
pub(crate) fn object(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"value": value},
    })
}

/// One of the load's objects, with its name.
fn ours(object: &Value) -> Option<(String, Told)> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().filter(|name| name.starts_with('w'))?;
    let told = Told {
        uid: metadata["uid"].as_str()?.to_owned(),
        revision: revision_of(object),
        value: object["data"]["value"].as_str()?.to_owned(),
    };
    Some((name.to_owned(), told))
}

fn revision_of(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap_or("0").parse().unwrap()
}
