//! Reading objects: one, or a page of many at one revision.

use std::sync::Arc;
use std::time::Duration;

use strait_machinery::field::FieldError;
use strait_machinery::go_text::quoted;
use strait_machinery::json::Path;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::{ObjectName, Scope, Snapshot};
use strait_types::{ClusterName, Revision};

use super::{Call, Registry};
use crate::continuation::Continuation;
use crate::query::Query;
use crate::select::Selection;
use crate::view::Reach;

/// How long a read waits for a revision that the store has not reached.
const WAIT_FOR_REVISION: Duration = Duration::from_secs(3);

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionMatch {
    /// The state at exactly that revision.
    Exact,
    /// Any state that is not older.
    NotOlderThan,
}

/// What a list asks for.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Most objects of a page; 0: all.
    pub limit: usize,
    /// Where to go on.
    pub token: Option<String>,
    /// `resourceVersion`, as given.
    pub revision: Option<Revision>,
    /// `resourceVersionMatch`.
    pub revision_match: Option<RevisionMatch>,
}

/// A page of objects at one revision.
pub struct List {
    /// The revision of the state that the objects are of.
    pub revision: Revision,
    /// The objects of the page: where each is, and what it is.
    pub items: Vec<(ClusterName, ObjectName, Arc<Object>)>,
    /// Where the next page begins, if there is one.
    pub token: Option<String>,
    /// Objects on further pages, where that is known.
    pub remaining: Option<u64>,
}

impl ListOptions {
    /// Reads a query.
    ///
    /// # Errors
    /// 400 or 422 as kube-apiserver answers such queries.
    pub fn parse(query: &Query) -> Result<Self, Status> {
        query.seconds("timeoutSeconds")?;
        let limit = query.integer("limit")?.unwrap_or(0);
        let given = |name: &str| query.get(name).filter(|text| !text.is_empty());
        let token = given("continue").map(str::to_owned);
        let version = given("resourceVersion");
        let revision_match = given("resourceVersionMatch");
        let mut errors = Vec::new();
        if let Some(word) = revision_match {
            check_match(word, version, token.is_some(), &mut errors);
        }
        if query.get("sendInitialEvents").is_some() {
            let detail = "sendInitialEvents is forbidden for list";
            errors.push(FieldError::forbidden(Path::of(&["sendInitialEvents"]), detail));
        }
        refuse(&errors)?;
        let revision = version.map(parse_revision).transpose()?;
        if token.is_some() && revision.is_some_and(|revision| revision > Revision::ZERO) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let revision_match = revision_match.map(|word| match word {
            "Exact" => RevisionMatch::Exact,
            _ => RevisionMatch::NotOlderThan,
        });
        Ok(Self { limit: usize::try_from(limit).unwrap_or(0), token, revision, revision_match })
    }
}

/// What is wrong with a `resourceVersionMatch` of a list
/// (`apimachinery/pkg/apis/meta/internalversion/validation`).
fn check_match(word: &str, version: Option<&str>, goes_on: bool, errors: &mut Vec<FieldError>) {
    let mut forbidden = |why: &str| {
        errors.push(FieldError::forbidden(Path::of(&["resourceVersionMatch"]), why));
    };
    if version.is_none() {
        forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if goes_on {
        forbidden("resourceVersionMatch is forbidden when continue is provided");
    }
    if word == "Exact" && version == Some("0") {
        forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if !matches!(word, "Exact" | "NotOlderThan") {
        let supported = ["Exact", "NotOlderThan", ""].map(str::to_owned).to_vec();
        let path = Path::of(&["resourceVersionMatch"]);
        errors.push(FieldError::not_supported(path, word, supported));
    }
}

/// 422 for list options that break rules.
pub(crate) fn refuse(errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid("meta.k8s.io", "ListOptions", "", errors))
}

/// Reads a `resourceVersion`.
///
/// # Errors
/// 400 where it is none.
pub(crate) fn parse_revision(text: &str) -> Result<Revision, Status> {
    text.parse().map_err(|_| {
        let text = quoted(text);
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text}: strconv.ParseUint: parsing {text}: invalid syntax"
        ))
    })
}

impl Call<'_> {
    /// Which objects the URL speaks of, narrowed by a field selector where that names one.
    #[must_use]
    pub fn scope(&self, selection: &Selection) -> Scope {
        if matches!(self.view.reach(), Reach::All) {
            return Scope::All;
        }
        let cluster = self.cluster.clone();
        let namespace = self.namespace.filter(|_| self.resource.is_namespaced());
        let named = selection.name().filter(|name| strait_types::is_path_segment(name));
        match (namespace, named) {
            (Some(namespace), Some(name)) if strait_types::is_path_segment(namespace) => {
                Scope::Object(cluster, ObjectName::namespaced(namespace, name))
            }
            (None, Some(name)) if !self.resource.is_namespaced() => {
                Scope::Object(cluster, ObjectName::cluster_scoped(name))
            }
            (Some(namespace), _) => Scope::Namespace(cluster, namespace.into()),
            _ => Scope::Cluster(cluster),
        }
    }

    /// Whether the view and the selection let an object through.
    #[must_use]
    pub fn shows(
        &self,
        selection: &Selection,
        cluster: &ClusterName,
        name: &ObjectName,
        object: &Object,
    ) -> bool {
        selection.matches(name, object) && self.view.sees(self.resource, cluster, name, object)
    }

    /// What seals a continue token to this list.
    fn list_label(&self, selection: &Selection) -> String {
        format!(
            "{}\n{:?}\n{}\n{}",
            self.view.label(),
            self.resource.id,
            self.namespace.unwrap_or_default(),
            selection.text()
        )
    }
}

impl Registry {
    /// Reads one object, not older than the revision given.
    ///
    /// # Errors
    /// 404, or 504 where the store has not reached the revision.
    pub async fn get(
        &self,
        call: &Call<'_>,
        name: &str,
        revision: Option<Revision>,
    ) -> Result<Arc<Object>, Status> {
        self.reach(revision).await?;
        let key = call.key(name)?;
        let object = self
            .find(&key)
            .filter(|object| call.view.sees(call.resource, call.cluster, &key.name, object));
        object.ok_or_else(|| call.not_found(name))
    }

    /// Waits until the store has a revision.
    pub(crate) async fn reach(&self, revision: Option<Revision>) -> Result<(), Status> {
        let Some(revision) = revision.filter(|revision| *revision > self.store().revision()) else {
            return Ok(());
        };
        if self.store().wait_for(revision, WAIT_FOR_REVISION).await {
            return Ok(());
        }
        Err(Status::revision_too_large(revision.0, self.store().revision().0))
    }

    /// Reads a page of objects.
    ///
    /// # Errors
    /// 400 for a foreign token, 410 where the revision is gone, 504 where it is not reached.
    pub async fn list(
        &self,
        call: &Call<'_>,
        selection: &Selection,
        options: &ListOptions,
    ) -> Result<List, Status> {
        let label = call.list_label(selection);
        let token = options.token.as_deref().map(|token| self.0.sealer.open(token, &label));
        let token = token
            .transpose()
            .map_err(|error| Status::bad_request(format!("invalid continue token: {error}")))?;
        let snapshot = self.state(call, options, token.as_ref(), &label).await?;
        let scope = call.scope(selection);
        let after = token.as_ref().map(|token| (&token.after.0, &token.after.1));
        let mut matching = snapshot
            .iter_after(&scope, after)
            .filter(|(cluster, name, object)| call.shows(selection, cluster, name, object));
        // The watch cache of kube-apiserver ignores a limit at revision 0, and clients know.
        let limit = match options.limit {
            _ if options.revision == Some(Revision::ZERO) && token.is_none() => usize::MAX,
            0 => usize::MAX,
            limit => limit,
        };
        let owned = |(cluster, name, object): (&ClusterName, &ObjectName, &Arc<Object>)| {
            (cluster.clone(), name.clone(), object.clone())
        };
        let items: Vec<_> = matching.by_ref().take(limit).map(owned).collect();
        let more = items.len() == limit && matching.next().is_some();
        let revision = snapshot.revision();
        let Some((cluster, name, _)) = items.last().filter(|_| more) else {
            return Ok(List { revision, items, token: None, remaining: None });
        };
        // Counted once: the state is the same on every page.
        let remaining = match &token {
            Some(token) => token.remaining.map(|all| all.saturating_sub(items.len() as u64)),
            None => selection.is_everything().then(|| 1 + matching.count() as u64),
        };
        let after = (cluster.clone(), name.clone());
        let next = Continuation { revision: Some(revision), after, remaining };
        let token = Some(self.0.sealer.seal(&next, &label, self.entropy()));
        Ok(List { revision, items, token, remaining })
    }

    /// The state that a list is of.
    async fn state(
        &self,
        call: &Call<'_>,
        options: &ListOptions,
        token: Option<&Continuation>,
        label: &str,
    ) -> Result<Snapshot, Status> {
        let store = self.store();
        let id = &call.resource.id;
        if let Some(token) = token {
            let Some(revision) = token.revision else {
                return Ok(store.snapshot(id));
            };
            return store.snapshot_at(id, revision).map_err(|_| {
                let inconsistent =
                    Continuation { revision: None, remaining: None, ..token.clone() };
                let mut status = Status::expired(EXPIRED_CONTINUE);
                status.continue_token =
                    Some(self.0.sealer.seal(&inconsistent, label, self.entropy()));
                status
            });
        }
        self.reach(options.revision).await?;
        // A limit at a revision means that revision exactly, by an old agreement.
        let exact = match options.revision_match {
            Some(RevisionMatch::Exact) => true,
            Some(RevisionMatch::NotOlderThan) => false,
            None => options.limit > 0,
        };
        match options.revision {
            Some(revision) if exact && revision > Revision::ZERO => {
                store.snapshot_at(id, revision).map_err(|_| {
                    Status::expired("The resourceVersion for the provided list is too old.")
                })
            }
            _ => Ok(store.snapshot(id)),
        }
    }
}

const EXPIRED_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
