//! Events into frames.

use std::sync::Arc;

use bytes::Bytes;
use strait_auth::User;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_machinery::table::{self, IncludeObject};
use strait_store::{Event, ObjectName};
use strait_types::{ClusterName, Revision};

use crate::catalog::Resource;
use crate::handle::printer;
use crate::negotiate::Transform;
use crate::registry::{Call, Registry};
use crate::select::Selection;
use crate::view::View;

/// What an event says of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is there, or begins to match.
    Added,
    /// It is another.
    Modified,
    /// It is gone, or stops to match.
    Deleted,
}

impl Change {
    const ALL: [Self; 3] = [Self::Added, Self::Modified, Self::Deleted];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// Turns events into frames for one watch. A frame is made once for all watches that show
/// objects alike.
pub(super) struct Frames {
    registry: Registry,
    view: Arc<dyn View>,
    resource: Arc<Resource>,
    namespace: Option<String>,
    cluster: ClusterName,
    user: User,
    selection: Selection,
    transform: Transform,
    include: IncludeObject,
    /// What the frames of this watch have in common with those of others, per change.
    shapes: [Box<str>; 3],
    /// Columns come with the first table of a watch.
    columns_sent: bool,
}

impl Frames {
    pub(super) fn new(
        registry: &Registry,
        call: &Call<'_>,
        view: &Arc<dyn View>,
        selection: Selection,
        (transform, include): (Transform, IncludeObject),
    ) -> Self {
        let version = call.resource.gvr.group_version();
        let shapes = Change::ALL.map(|change| {
            format!("{} {version} {transform:?} {include:?}", change.as_str()).into()
        });
        Self {
            registry: registry.clone(),
            view: view.clone(),
            resource: call.resource.clone(),
            namespace: call.namespace.map(str::to_owned),
            cluster: call.cluster.clone(),
            user: call.user.clone(),
            selection,
            transform,
            include,
            shapes,
            columns_sent: transform != Transform::Table,
        }
    }

    /// Whether the watch is about an object.
    pub(super) fn shows(&self, cluster: &ClusterName, name: &ObjectName, object: &Object) -> bool {
        let call = Call {
            view: &*self.view,
            resource: &self.resource,
            cluster: &self.cluster,
            namespace: self.namespace.as_deref(),
            user: &self.user,
            subresource: "",
        };
        call.shows(&self.selection, cluster, name, object)
    }

    /// The frame for an object that is there when the watch begins.
    pub(super) fn state_of(&mut self, object: &Object) -> Bytes {
        let with_columns = !std::mem::replace(&mut self.columns_sent, true);
        self.encode(Change::Added, object, object.revision, with_columns)
    }

    /// The frame for an event, if it concerns what this watch shows: an object that starts to
    /// match is added, one that stops is deleted.
    pub(super) fn frame(&mut self, event: &Event) -> Option<Bytes> {
        let shown = |object: &'_ Option<Arc<Object>>| {
            object.as_ref().is_some_and(|object| self.shows(&event.cluster, &event.name, object))
        };
        let (change, object) = match (shown(&event.previous), shown(&event.object)) {
            // Gone, and what made it visible is gone as well: its end is told all the same.
            (false, false) => return self.last_words(event),
            (false, true) => (Change::Added, event.object.as_ref()?),
            (true, true) => (Change::Modified, event.object.as_ref()?),
            (true, false) => (Change::Deleted, event.previous.as_ref()?),
        };
        let with_columns = !std::mem::replace(&mut self.columns_sent, true);
        if with_columns {
            return Some(self.encode(change, object, event.revision, true));
        }
        let shape = &self.shapes[change as usize];
        Some(event.encoded(shape, || self.encode(change, object, event.revision, false)))
    }

    /// The end of an object that the view no longer shows: its metadata, and no more.
    fn last_words(&self, event: &Event) -> Option<Bytes> {
        let previous = event.previous.as_ref().filter(|_| event.object.is_none())?;
        let told = self.selection.matches(&event.name, previous) && self.view.saw(&self.resource);
        if !told {
            return None;
        }
        let mut value = previous.body.to_value(event.revision);
        value.make_object().retain(|key, _| matches!(key, "apiVersion" | "kind" | "metadata"));
        let bytes = match self.transform {
            Transform::Partial => table::partial_object(&value),
            Transform::None => value,
            // A row of nothing tells nobody anything.
            Transform::Table => return None,
        }
        .to_bytes();
        Some(frame_of("DELETED", bytes.len(), |frame| frame.extend_from_slice(&bytes)))
    }

    fn encode(
        &self,
        change: Change,
        object: &Object,
        revision: Revision,
        with_columns: bool,
    ) -> Bytes {
        if self.transform == Transform::None && !self.resource.is_converted() {
            return frame_of(change.as_str(), object.body.as_bytes().len(), |frame| {
                object.body.write_at(revision, frame);
            });
        }
        match self.transformed(object, revision, with_columns) {
            Ok(bytes) => {
                frame_of(change.as_str(), bytes.len(), |frame| frame.extend_from_slice(&bytes))
            }
            Err(status) => error_frame(&status),
        }
    }

    fn transformed(
        &self,
        object: &Object,
        revision: Revision,
        with_columns: bool,
    ) -> Result<Vec<u8>, Status> {
        let stored = object.body.to_value(revision);
        Ok(match self.transform {
            Transform::None => self.resource.served_form(stored)?.to_bytes(),
            Transform::Partial => table::partial_object(&stored).to_bytes(),
            Transform::Table => {
                let now = self.registry.clock().now();
                printer(&self.resource)?.single(&stored, with_columns, self.include, now)
            }
        })
    }

    /// A bookmark: everything up to `revision` was sent.
    pub(super) fn bookmark(&self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata = object! {"resourceVersion": revision.to_string()};
        if initial_end {
            metadata.set(&["annotations", "k8s.io/initial-events-end"], "true");
        }
        let (api_version, kind) = match self.transform {
            Transform::None => (self.resource.api_version(), self.resource.kind()),
            Transform::Partial => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata"),
            Transform::Table => ("meta.k8s.io/v1".to_owned(), "Table"),
        };
        let mut object = object! {"kind": kind, "apiVersion": api_version, "metadata": metadata};
        if self.transform == Transform::Table {
            object.set(&["columnDefinitions"], Value::Null);
            object.set(&["rows"], Vec::<Value>::new());
        }
        let bytes = object.to_bytes();
        frame_of("BOOKMARK", bytes.len(), |frame| frame.extend_from_slice(&bytes))
    }
}

/// The frame for a failure.
pub(super) fn error_frame(status: &Status) -> Bytes {
    let bytes = status.to_value().to_bytes();
    frame_of("ERROR", bytes.len(), |frame| frame.extend_from_slice(&bytes))
}

/// One event: its type, and the object of about `length` bytes that is written after it.
fn frame_of(kind: &str, length: usize, write_object: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut frame = Vec::with_capacity(length + 80);
    frame.extend_from_slice(b"{\"type\":\"");
    frame.extend_from_slice(kind.as_bytes());
    frame.extend_from_slice(b"\",\"object\":");
    write_object(&mut frame);
    frame.extend_from_slice(b"}\n");
    frame.into()
}
