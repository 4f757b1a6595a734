//! The resource `streams`: what is open in a workspace, to be seen and to be cut. It is stored
//! nowhere.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use strait_apiserver::{Query, Reach, View, forbidden};
use strait_auth::{Attributes, ResourceRequest, User};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::selector::FieldSelector;
use strait_machinery::status::Status;
use strait_types::GroupResource;

use super::Front;
use super::live::{LiveStream, Open};

const GROUP: &str = "relay.strait.dev";
const VERSION: &str = "v1alpha1";
const RESOURCE: &str = "streams";

/// Where the streams of a workspace are found, below the workspace.
pub const STREAMS_PATH: &str = "/apis/relay.strait.dev/v1alpha1/streams";

/// Fields that a selector may be about.
const FIELDS: [&str; 4] = ["metadata.name", "spec.agent", "spec.service", "spec.user"];

/// Cuts that are recorded at once.
const BATCH: usize = 256;

/// Streams of a view: all, or one by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsPath(Option<String>);

impl StreamsPath {
    /// Whether a path, below a workspace, is one of streams.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(STREAMS_PATH)?;
        match rest.strip_prefix('/') {
            Some(name) if !name.is_empty() && !name.contains('/') => Some(Self(Some(name.into()))),
            None if rest.is_empty() => Some(Self(None)),
            _ => None,
        }
    }
}

impl Front {
    /// Answers what is asked of streams: GET shows them, DELETE cuts them, once that is recorded.
    /// A view of a workspace has the streams of that workspace only.
    ///
    /// # Errors
    /// It is not allowed, there is no such stream, or it cannot be recorded.
    pub async fn streams(
        &self,
        view: &dyn View,
        user: &User,
        method: &Method,
        (path, query): (&StreamsPath, &Query),
    ) -> Result<Value, Status> {
        let name = path.0.as_deref();
        let verb = match (method, name) {
            (&Method::GET, None) => "list",
            (&Method::GET, Some(_)) => "get",
            (&Method::DELETE, _) => "delete",
            _ => return Err(Status::method_not_allowed()),
        };
        let attributes = Attributes::Resource(ResourceRequest {
            verb,
            group: GROUP,
            version: VERSION,
            resource: RESOURCE,
            subresource: "",
            namespace: "",
            name: name.unwrap_or_default(),
        });
        let decision = view.authorize(user, &attributes);
        if !decision.is_allowed() {
            return Err(forbidden(user, &attributes, ""));
        }
        let mut streams = match name {
            Some(name) => vec![self.stream(view, name)?],
            None => self.selected(view, query, verb == "delete")?,
        };
        let next = if verb == "list" { page(&mut streams, query)? } else { None };
        if verb == "delete" {
            self.cut(user, &streams).await?;
        }
        let (wall, now) = (self.context.clock.now(), self.context.clock.monotonic());
        let shown = |(id, open): (u64, Arc<Open>)| value_of(&open.shown(id, now), wall);
        if name.is_some()
            && let Some(stream) = streams.pop()
        {
            return Ok(shown(stream));
        }
        let mut metadata = Value::object();
        if let Some(next) = next {
            metadata.set(&["continue"], next.to_string());
        }
        Ok(object! {
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "StreamList",
            "metadata": metadata,
            "items": streams.into_iter().map(shown).collect::<Vec<_>>(),
        })
    }

    fn stream(&self, view: &dyn View, name: &str) -> Result<(u64, Arc<Open>), Status> {
        let id = name.parse().ok().filter(|id: &u64| id.to_string() == name);
        let found = id.and_then(|id| Some((id, self.live.find(id)?)));
        let missing = || Status::not_found(&GroupResource::new(GROUP, RESOURCE), name);
        found.filter(|(_, open)| is_in(view, open)).ok_or_else(missing)
    }

    fn selected(
        &self,
        view: &dyn View,
        query: &Query,
        must_select: bool,
    ) -> Result<Vec<(u64, Arc<Open>)>, Status> {
        let text = query.get("fieldSelector").unwrap_or_default();
        let selector =
            FieldSelector::parse(text).map_err(|e| Status::bad_request(e.to_string()))?;
        if must_select && selector.is_everything() {
            let why = "which streams? a fieldSelector of spec.user, spec.agent or spec.service";
            return Err(Status::bad_request(why));
        }
        let known = |field: &str| FIELDS.contains(&field);
        if let Some(term) = selector.terms().iter().find(|term| !known(&term.field)) {
            let why = format!("field label not supported: {}", term.field);
            return Err(Status::bad_request(why));
        }
        let mut streams = self.live.all();
        streams.retain(|(id, open)| {
            let (id, recorded) = (id.to_string(), &open.recorded);
            let is_meant = selector.matches(|field| match field {
                "spec.agent" => &recorded.agent,
                "spec.service" => &recorded.service,
                "spec.user" => &recorded.user,
                _ => &id,
            });
            is_meant && is_in(view, open)
        });
        Ok(streams)
    }

    async fn cut(&self, user: &User, streams: &[(u64, Arc<Open>)]) -> Result<(), Status> {
        for batch in streams.chunks(BATCH) {
            let recorded = batch.iter().map(|(id, open)| (*id, &open.recorded));
            self.recorder.cuts(user, recorded).await.map_err(|_| {
                let why = "this cannot be recorded now, so it was not done";
                Status::unavailable(why).retry_after(1)
            })?;
            let now = self.context.clock.monotonic();
            for (_, open) in batch {
                open.cut(now, crate::message::Failure::Aborted, "cut by an operator");
            }
        }
        Ok(())
    }
}

/// Keeps one page; the stream that it ends with, if there are more.
fn page(streams: &mut Vec<(u64, Arc<Open>)>, query: &Query) -> Result<Option<u64>, Status> {
    if let Some(after) = query.get("continue").filter(|after| !after.is_empty()) {
        let unknown = |_| Status::bad_request("continue key is not valid");
        let after: u64 = after.parse().map_err(unknown)?;
        streams.retain(|(id, _)| *id > after);
    }
    let limit = query.integer("limit")?.and_then(|limit| usize::try_from(limit).ok());
    let Some(limit) = limit.filter(|limit| (1..streams.len()).contains(limit)) else {
        return Ok(None);
    };
    streams.truncate(limit);
    Ok(streams.last().map(|(id, _)| *id))
}

fn is_in(view: &dyn View, open: &Open) -> bool {
    match view.reach() {
        Reach::All => true,
        Reach::Cluster(cluster) => cluster.as_str() == open.recorded.cluster,
    }
}

fn value_of(stream: &LiveStream, now: Timestamp) -> Value {
    let LiveStream { recorded, .. } = stream;
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let since = now.saturating_sub(stream.age).unwrap_or(now);
    object! {
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Stream",
        "metadata": object! {
            "name": stream.id.to_string(),
            "creationTimestamp": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "annotations": object! {"kcp.io/cluster": recorded.cluster.as_str()},
        },
        "spec": object! {
            "user": &*recorded.user,
            "credential": &*recorded.subjects.credential,
            "agent": recorded.agent.as_str(),
            "service": recorded.service.as_str(),
            "method": recorded.method.as_str(),
            "path": recorded.path.as_str(),
            "upgrade": recorded.upgrade,
            "requestID": recorded.id.as_str(),
        },
        "status": object! {
            "instance": stream.instance.as_str(),
            "code": i64::from(stream.status),
            "ageSeconds": seconds(stream.age),
            "idleSeconds": seconds(stream.idle),
            "bytesIn": number(stream.bytes[0]),
            "bytesOut": number(stream.bytes[1]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_one_path_each() {
        let all = Some(StreamsPath(None));
        for (path, expected) in [
            ("", all),
            ("/7", Some(StreamsPath(Some("7".into())))),
            ("/", None),
            ("/7/", None),
            ("/7/status", None),
            ("s", None),
        ] {
            assert_eq!(StreamsPath::of(&format!("{STREAMS_PATH}{path}")), expected, "{path}");
        }
        assert_eq!(StreamsPath::of("/apis/relay.strait.dev/v1/streams"), None);
    }
}
