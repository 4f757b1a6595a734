//! The resource `streams`: what is open in a workspace, to services behind agents and from agents
//! to services of the hub, to be seen and to be cut. What was cut is there no more, though its end
//! takes a moment. One that takes longer, as its client reads nothing, is there again, as cut: it
//! still counts.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_apiserver::{Query, Reach, View};
use strait_auth::User;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_types::GroupResource;

use super::Front;
use super::live::Open;
use super::unstored::{GROUP, VERSION, Wanted};
use crate::hub::calls::Calling;
use crate::message::{Aborter, Failure};
use crate::record::{Kind, Recorded};

/// Where the streams of a workspace are found, below the workspace.
pub const STREAMS_PATH: &str = "/apis/relay.strait.dev/v1alpha1/streams";

/// Fields that a selector may be about.
const FIELDS: [&str; 4] = ["metadata.name", "spec.agent", "spec.service", "spec.user"];

/// What the other side is told.
const BY_OPERATOR: &str = "cut by an operator";

/// Cuts that are recorded at once.
const BATCH: usize = 256;

/// Longest time that the end of a stream takes whose client reads.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A stream that is open, whoever opened it.
#[derive(Clone)]
enum Found {
    /// A client, to a service behind an agent.
    ToAgent(Arc<Open>),
    /// An agent, to a service of the hub.
    FromAgent(Arc<Calling>),
}

impl Found {
    fn recorded(&self) -> &Recorded {
        match self {
            Self::ToAgent(open) => &open.recorded,
            Self::FromAgent(calling) => &calling.recorded,
        }
    }

    /// The agent at its other end.
    fn agent(&self) -> &str {
        match self {
            Self::ToAgent(open) => &open.recorded.subjects.agent,
            Self::FromAgent(calling) => &calling.agent,
        }
    }

    fn is_in(&self, view: &dyn View) -> bool {
        match view.reach() {
            Reach::All => true,
            Reach::Cluster(cluster) => cluster.as_str() == &*self.recorded().subjects.cluster,
        }
    }

    /// How long ago it was cut, if it was.
    fn cut_ago(&self, now: Duration) -> Option<Duration> {
        let since = match self {
            Self::ToAgent(open) => open.cut_since(),
            Self::FromAgent(calling) => calling.cut_since(),
        };
        since.map(|since| now.saturating_sub(since))
    }

    /// Whether it is to end, and will in a moment.
    fn is_ending(&self, now: Duration) -> bool {
        self.cut_ago(now).is_some_and(|ago| ago < ENDS_WITHIN)
    }

    fn cut(&self, now: Duration) {
        match self {
            Self::ToAgent(open) => {
                open.cut(now, Failure::Aborted(Aborter::Operator), BY_OPERATOR);
            }
            Self::FromAgent(calling) => calling.cut(now, BY_OPERATOR),
        }
    }
}

impl Front {
    /// The streams that are asked for, and what the page ends with. They are cut where that is
    /// meant, once it is recorded.
    ///
    /// # Errors
    /// There is no such stream, or it cannot be recorded.
    pub(super) async fn streams(
        &self,
        view: &dyn View,
        user: &User,
        (verb, name, query): (&str, Option<&str>, &Query),
        cuts: bool,
    ) -> Result<(Vec<Value>, Option<u64>), Status> {
        let mut streams = match name {
            Some(name) => vec![self.stream(view, name)?],
            None => self.selected(view, query, verb == "delete")?,
        };
        let next = if verb == "list" { page(&mut streams, query)? } else { None };
        if cuts {
            self.cut(user, &streams).await?;
        }
        let (wall, now) = (self.context.clock.now(), self.context.clock.monotonic());
        let shown = streams.iter().map(|(id, found)| value_of(*id, found, now, wall));
        Ok((shown.collect(), next))
    }

    fn stream(&self, view: &dyn View, name: &str) -> Result<(u64, Found), Status> {
        let id = name.parse().ok().filter(|id: &u64| id.to_string() == name);
        let find = |id| {
            let called = || self.tunnels.calls().find(id).map(Found::FromAgent);
            Some((id, self.live.find(id).map(Found::ToAgent).or_else(called)?))
        };
        let missing = || Status::not_found(&GroupResource::new(GROUP, "streams"), name);
        let now = self.context.clock.monotonic();
        let is_there = |found: &Found| found.is_in(view) && !found.is_ending(now);
        id.and_then(find).filter(|(_, found)| is_there(found)).ok_or_else(missing)
    }

    fn selected(
        &self,
        view: &dyn View,
        query: &Query,
        must_select: bool,
    ) -> Result<Vec<(u64, Found)>, Status> {
        let wanted = Wanted::parse(query, &FIELDS)?;
        if must_select && wanted.is_everything() {
            let why = "which streams? a fieldSelector of spec.user, spec.agent or spec.service";
            return Err(Status::bad_request(why));
        }
        let to = self.live.all().into_iter().map(|(id, open)| (id, Found::ToAgent(open)));
        let from = self.tunnels.calls().all().into_iter();
        let from = from.map(|(id, calling)| (id, Found::FromAgent(calling)));
        let mut streams: Vec<_> = to.chain(from).collect();
        let now = self.context.clock.monotonic();
        streams.retain(|(id, found)| {
            let (id, recorded) = (id.to_string(), found.recorded());
            let is_meant = wanted.has(|field| match field {
                "spec.agent" => found.agent(),
                "spec.service" => &recorded.subjects.service,
                "spec.user" => &recorded.user,
                _ => &id,
            });
            is_meant && found.is_in(view) && !found.is_ending(now)
        });
        streams.sort_unstable_by_key(|(id, _)| *id);
        Ok(streams)
    }

    async fn cut(&self, user: &User, streams: &[(u64, Found)]) -> Result<(), Status> {
        let now = self.context.clock.monotonic();
        // Once is enough.
        let uncut = streams.iter().filter(|(_, found)| found.cut_ago(now).is_none());
        for batch in uncut.collect::<Vec<_>>().chunks(BATCH) {
            let recorded = batch.iter().map(|(id, found)| (*id, found.recorded()));
            self.recorder.cuts(user, recorded).await.map_err(|_| {
                let why = "this cannot be recorded now, so it was not done";
                Status::unavailable(why).retry_after(1)
            })?;
            let now = self.context.clock.monotonic();
            batch.iter().for_each(|(_, found)| found.cut(now));
        }
        Ok(())
    }
}

/// Keeps one page; the stream that it ends with, if there are more.
fn page(streams: &mut Vec<(u64, Found)>, query: &Query) -> Result<Option<u64>, Status> {
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

fn value_of(id: u64, found: &Found, now: Duration, wall: Timestamp) -> Value {
    let recorded = found.recorded();
    let (direction, instance, [age, idle], status, bytes) = match found {
        Found::ToAgent(open) => {
            ("ToAgent", open.instance(), open.times(now), open.status(), open.bytes())
        }
        Found::FromAgent(calling) => {
            let (since, progress) = (calling.since, &calling.progress);
            let times = [now.saturating_sub(since), progress.idle()];
            ("FromAgent", calling.instance.clone(), times, progress.status(), progress.bytes())
        }
    };
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let since = wall.saturating_sub(age).unwrap_or(wall);
    let mut value = object! {
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Stream",
        "metadata": object! {
            "name": id.to_string(),
            "creationTimestamp": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "annotations": object! {"kcp.io/cluster": &*recorded.subjects.cluster},
        },
        "spec": object! {
            "direction": direction,
            "user": &*recorded.user,
            "credential": &*recorded.subjects.credential,
            "agent": found.agent(),
            "service": &*recorded.subjects.service,
            "method": recorded.method.as_str(),
            "path": recorded.path.as_str(),
            "upgrade": recorded.kind != Kind::Http,
            "kind": recorded.kind.as_str(),
            "requestID": recorded.id.as_str(),
        },
        "status": object! {
            "instance": &*instance,
            "code": i64::from(status),
            "ageSeconds": seconds(age),
            "idleSeconds": seconds(idle),
            "bytesIn": number(bytes[0]),
            "bytesOut": number(bytes[1]),
        },
    };
    if let Found::ToAgent(open) = found {
        let buffered = i64::try_from(open.buffered()).unwrap_or(i64::MAX);
        value.set(&["status", "bufferedBytes"], buffered);
    }
    if let Some(ago) = found.cut_ago(now) {
        value.set(&["status", "cutSeconds"], seconds(ago));
    }
    value
}
