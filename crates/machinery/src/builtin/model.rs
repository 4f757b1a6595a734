//! What the tables say, as types.

use std::sync::{Arc, OnceLock};

use strait_types::{GroupResource, GroupVersion, GroupVersionKind};

use crate::json::Value;
use crate::names::NameRule;
use crate::object_meta::Checks;
use crate::schema::{ListType, Schema};

/// All messages and kinds, messages sorted by id.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) messages: Vec<Message>,
    pub(crate) kinds: Vec<Kind>,
}

/// A message: a Go struct and its protobuf form.
#[derive(Debug)]
pub struct Message {
    /// Package and name, e.g. `core.Event`.
    pub id: &'static str,
    /// What definitions of the package begin with, e.g. `io.k8s.api.core.v1`.
    pub(crate) prefix: &'static str,
    /// For people.
    pub description: &'static str,
    /// One value as a whole for merging.
    pub(crate) atomic: bool,
    /// Sorted by name.
    pub(crate) members: Vec<Member>,
    pub(crate) schema: OnceLock<Arc<Schema>>,
}

/// A member of a message.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    /// Field number in protobuf; 0: not there (`apiVersion` and `kind`).
    pub(crate) number: u32,
    pub(crate) ty: Type,
    /// A zero value is not absence.
    pub(crate) pointer: bool,
    /// Written even when empty.
    pub(crate) keep: bool,
    /// A time left out when unset; other times of no pointer are `null` then.
    pub(crate) omit_zero: bool,
    pub(crate) required: bool,
    /// The only values there are; empty: any. Published, not enforced here.
    pub(crate) enumeration: &'static str,
    pub(crate) list_type: ListType,
    pub(crate) patch_strategy: &'static str,
    pub(crate) patch_merge_key: &'static str,
    pub(crate) description: &'static str,
}

/// What a member holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    /// A string, and the name of its Go type if it has one of its own.
    String(Option<&'static str>),
    Bool,
    Int32,
    Int64,
    /// Base64 in JSON.
    Bytes,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339 with six digits of fraction.
    MicroTime,
    /// Any JSON, as bytes in protobuf.
    FieldsV1,
    /// Any JSON, as bytes in protobuf.
    RawExtension,
    /// A 32-bit integer or a string.
    IntOrString,
    /// Index of a message in the table.
    Message(usize),
    List(Box<Self>),
    Map(Box<Self>),
    /// A named `[]string`, a message of its own in protobuf.
    Strings(&'static str),
}

/// A built-in kind that is served.
#[derive(Debug)]
pub struct Kind {
    /// `""` for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The resource, e.g. `configmaps`.
    pub plural: &'static str,
    /// e.g. `configmap`.
    pub singular: Box<str>,
    /// e.g. `cm`.
    pub short_names: Vec<&'static str>,
    /// e.g. `all`.
    pub categories: Vec<&'static str>,
    /// Whether objects are in namespaces.
    pub namespaced: bool,
    /// Sorted.
    pub verbs: Vec<&'static str>,
    /// Sorted by name.
    pub subresources: Vec<Subresource>,
    /// What field selectors know besides `metadata.name` and `metadata.namespace`.
    pub fields: Vec<FieldLabel>,
    /// What `metadata.name` must be.
    pub naming: NameRule,
    /// Whether a PUT to an absent name creates.
    pub create_on_update: bool,
    /// Whether a PUT may leave out the resourceVersion.
    pub unconditional_update: bool,
    pub(super) message: usize,
}

/// What comes behind an object's name in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// e.g. `status`.
    pub name: &'static str,
    /// Sorted.
    pub verbs: Vec<&'static str>,
}

/// A label of field selectors, and where its value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldLabel {
    /// As selectors name it.
    pub label: &'static str,
    /// Members from the top of the stored object; of several paths the first that is not empty.
    pub paths: Vec<Vec<&'static str>>,
}

impl Message {
    /// The name without its package: the Go type and, of kinds, the kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.id.rsplit_once('.').map_or(self.id, |(_, name)| name)
    }

    /// Name of the OpenAPI definition, e.g. `io.k8s.api.core.v1.Event`.
    #[must_use]
    pub fn definition(&self) -> String {
        format!("{}.{}", self.prefix, self.name())
    }

    /// As Go prints the type: `v1.Event`.
    pub(crate) fn go_type(&self) -> String {
        let package = self.prefix.rsplit_once('.').map_or(self.prefix, |(_, last)| last);
        format!("{package}.{}", self.name())
    }
}

impl Member {
    /// Whether this is a Go struct and not a pointer to one: always written.
    pub(crate) const fn is_struct(&self) -> bool {
        !self.pointer
            && matches!(
                self.ty,
                Type::Message(_)
                    | Type::Time
                    | Type::MicroTime
                    | Type::RawExtension
                    | Type::IntOrString
            )
    }
}

impl Type {
    /// As Go prints it.
    pub(crate) fn go_type(&self, table: &Table) -> String {
        match self {
            Self::String(None) => "string".into(),
            Self::String(Some(name)) | Self::Strings(name) => (*name).into(),
            Self::Bool => "bool".into(),
            Self::Int32 => "int32".into(),
            Self::Int64 => "int64".into(),
            Self::Bytes => "[]uint8".into(),
            Self::Time => "v1.Time".into(),
            Self::MicroTime => "v1.MicroTime".into(),
            Self::FieldsV1 => "v1.FieldsV1".into(),
            Self::RawExtension => "runtime.RawExtension".into(),
            Self::IntOrString => "intstr.IntOrString".into(),
            Self::Message(at) => table.messages[*at].go_type(),
            Self::List(items) => format!("[]{}", items.go_type(table)),
            Self::Map(values) => format!("map[string]{}", values.go_type(table)),
        }
    }
}

impl Table {
    pub(crate) fn message(&self, id: &str) -> Option<&Message> {
        let at = self.messages.binary_search_by(|message| message.id.cmp(id)).ok()?;
        Some(&self.messages[at])
    }
}

impl FieldLabel {
    /// What a stored object has there; empty if nothing.
    #[must_use]
    pub fn value<'a>(&self, object: &'a Value) -> &'a str {
        let texts = self.paths.iter().filter_map(|path| object.str_at(path));
        texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }
}

impl Kind {
    /// Group, version and kind.
    #[must_use]
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(self.group, self.version, self.kind)
    }

    /// Group and version; prints as `apiVersion` does.
    #[must_use]
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion::new(self.group, self.version)
    }

    /// The message that objects of this kind are.
    #[must_use]
    pub fn message(&self) -> &'static Message {
        &super::table().messages[self.message]
    }

    /// What the kind demands of its objects' metadata.
    #[must_use]
    pub const fn metadata_checks(&self) -> Checks {
        Checks { namespaced: self.namespaced, name: self.naming, qualified_finalizers: true }
    }

    /// Group and resource.
    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group, self.plural)
    }
}
