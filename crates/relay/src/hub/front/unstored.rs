//! Kinds of a workspace that are stored nowhere: streams that are open, and what the connections
//! of agents carry. A view of a workspace has those of that workspace only.

use http::Method;
use strait_apiserver::options::DeleteOptions;
use strait_apiserver::{
    ApiRequest, ApiResponse, Query, Target, Unstored, View, forbidden, refuse_impersonation,
    respond,
};
use strait_auth::{Attributes, ResourceRequest, User};
use strait_machinery::selector::{FieldSelector, LabelSelector};
use strait_machinery::status::Status;
use strait_machinery::table::ListMeta;

use super::Front;

pub(super) const GROUP: &str = "relay.strait.dev";
pub(super) const VERSION: &str = "v1alpha1";

/// Objects of such a kind: all, or one by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePath {
    kind: Kind,
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Streams,
    AgentMetrics,
}

impl Kind {
    const fn resource(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::AgentMetrics => "agentmetrics",
        }
    }
}

impl LivePath {
    /// Whether a path, below a workspace, is one of these kinds.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        // Read as the API server reads it: what one of them took for another kind, the other would
        // look for among stored objects.
        let Target::Resource(target) = Target::parse(&Method::GET, path, &Query::default()) else {
            return None;
        };
        let place = (&*target.group, &*target.version, &*target.namespace, &*target.subresource);
        if place != (GROUP, VERSION, "", "") {
            return None;
        }
        let kinds = [Kind::Streams, Kind::AgentMetrics];
        let kind = kinds.into_iter().find(|kind| kind.resource() == target.resource)?;
        Some(Self { kind, name: target.names_object.then_some(target.name) })
    }
}

impl Front {
    /// Answers what is asked of these kinds: GET shows objects, DELETE cuts streams.
    ///
    /// # Errors
    /// It is not allowed, there is no such object, or a cut cannot be recorded.
    pub async fn live_objects(
        &self,
        view: &dyn View,
        user: &User,
        LivePath { kind, name }: &LivePath,
        ApiRequest { method, query, headers, body, .. }: &ApiRequest,
    ) -> Result<ApiResponse, Status> {
        refuse_impersonation(headers)?;
        let verb = match (method, name, kind) {
            // They change with each byte that passes: there is nothing to follow.
            (&Method::GET, None, _) if query.flag("watch") => {
                return Err(Status::method_not_allowed());
            }
            (&Method::GET, None, _) => "list",
            (&Method::GET, Some(_), _) => "get",
            (&Method::DELETE, _, Kind::Streams) => "delete",
            _ => return Err(Status::method_not_allowed()),
        };
        let attributes = Attributes::Resource(ResourceRequest {
            verb,
            group: GROUP,
            version: VERSION,
            resource: kind.resource(),
            subresource: "",
            namespace: "",
            name: name.as_deref().unwrap_or_default(),
        });
        if !view.authorize(user, &attributes).is_allowed() {
            return Err(forbidden(user, &attributes, ""));
        }
        let resource = view.catalog().find(GROUP, VERSION, kind.resource())?;
        let now = self.context.clock.now();
        let unstored = Unstored::choose(resource, (query, headers), now)?;
        let (mut found, next) = match kind {
            Kind::Streams => {
                let cuts = verb == "delete" && {
                    let options = DeleteOptions::read(query, headers, body)?;
                    check_preconditions(&options)?;
                    !options.dry_run
                };
                self.streams(view, user, (verb, name.as_deref(), query), cuts).await?
            }
            Kind::AgentMetrics => (self.agent_metrics(view, name.as_deref(), query)?, None),
        };
        if name.is_some()
            && let Some(one) = found.pop()
        {
            return unstored.one(&one);
        }
        let continue_token = next.map(|next| next.to_string()).unwrap_or_default();
        let metadata = ListMeta { continue_token, ..ListMeta::default() };
        Ok(respond::compress(unstored.list(&metadata, found)?, headers))
    }
}

fn check_preconditions(options: &DeleteOptions) -> Result<(), Status> {
    if options.uid.is_some() || options.resource_version.is_some() {
        let why = "a stream has no uid and no resourceVersion that a precondition could name";
        return Err(Status::bad_request(why));
    }
    Ok(())
}

/// Which objects a client wants. None of them has labels.
pub(super) struct Wanted {
    fields: FieldSelector,
    labels: LabelSelector,
}

impl Wanted {
    /// Reads a query whose fields may be these.
    ///
    /// # Errors
    /// 400 for a selector that does not parse, or is about another field.
    pub(super) fn parse(query: &Query, known: &[&str]) -> Result<Self, Status> {
        let text = |key| query.get(key).unwrap_or_default();
        let fields = FieldSelector::parse(text("fieldSelector"));
        let fields = fields.map_err(|error| Status::bad_request(error.to_string()))?;
        let labels = LabelSelector::parse(text("labelSelector"));
        let labels = labels.map_err(|error| Status::bad_request(error.to_string()))?;
        if let Some(term) = fields.terms().iter().find(|term| !known.contains(&&*term.field)) {
            let why = format!("field label not supported: {}", term.field);
            return Err(Status::bad_request(why));
        }
        Ok(Self { fields, labels })
    }

    /// Whether nothing is said of the fields.
    pub(super) fn is_everything(&self) -> bool {
        self.fields.is_everything()
    }

    /// Whether an object with these fields is wanted.
    pub(super) fn has<'a>(&self, value_of: impl FnMut(&str) -> &'a str) -> bool {
        self.fields.matches(value_of) && self.labels.matches(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_path_for_all_and_one_for_each() {
        let of = |kind, name: Option<&str>| Some(LivePath { kind, name: name.map(str::to_owned) });
        for (path, expected) in [
            ("streams", of(Kind::Streams, None)),
            ("streams/", of(Kind::Streams, None)),
            ("streams/7", of(Kind::Streams, Some("7"))),
            ("streams/7/", of(Kind::Streams, Some("7"))),
            ("agentmetrics", of(Kind::AgentMetrics, None)),
            ("agentmetrics/smith.q4", of(Kind::AgentMetrics, Some("smith.q4"))),
            ("%73treams/%37", of(Kind::Streams, Some("7"))),
            ("streams/7%2Fstatus", of(Kind::Streams, Some("7/status"))),
            ("streams//7", None),
            ("namespaces/x/streams", None),
            ("streams/7/status", None),
            ("streamss", None),
            ("agents", None),
            ("", None),
        ] {
            let path = format!("/apis/relay.strait.dev/v1alpha1/{path}");
            assert_eq!(LivePath::of(&path), expected, "{path}");
        }
        for path in ["/apis/relay.strait.dev/v1/streams", "/api/v1/streams", "/streams", ""] {
            assert_eq!(LivePath::of(path), None, "{path}");
        }
        let spelt = LivePath::of("/%61pis/relay.strait.dev/v1alpha1/streams");
        assert_eq!(spelt, None, "nor does the API server take it for objects");
    }
}
