//! A resource that is served.

use std::sync::Arc;

use strait_types::GroupVersionKind;

use crate::builtin::Kind;
use crate::schema::Schema;

/// Where a resource's kind comes from, which decides what clients may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Kubernetes' own: also strategic merge patches and protobuf.
    Builtin,
    /// Anybody else's: JSON and YAML.
    Custom,
}

/// A resource in one version, as a server serves it.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Group, version and kind.
    pub gvk: GroupVersionKind,
    /// The resource, e.g. `widgets`.
    pub plural: Box<str>,
    /// e.g. `widget`; never empty.
    pub singular: Box<str>,
    /// e.g. `WidgetList`.
    pub list_kind: Box<str>,
    /// e.g. `wg`.
    pub short_names: Vec<Box<str>>,
    /// e.g. `all`.
    pub categories: Vec<Box<str>>,
    /// Whether objects are in namespaces.
    pub namespaced: bool,
    /// What can be done, in the order in which it is published.
    pub verbs: Vec<Box<str>>,
    /// In the order in which they are published.
    pub subresources: Vec<Subresource>,
    /// What objects look like.
    pub schema: Arc<Schema>,
    /// Whose kind it is.
    pub origin: Origin,
}

/// What comes behind an object's name in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// e.g. `status`.
    pub name: Box<str>,
    /// What is read and written there; often the resource's own kind.
    pub gvk: GroupVersionKind,
    /// What can be done.
    pub verbs: Vec<Box<str>>,
}

impl Resource {
    /// A built-in kind as it is served.
    #[must_use]
    pub fn of_builtin(kind: &Kind) -> Self {
        let gvk = kind.gvk();
        let boxed = |texts: &[&'static str]| texts.iter().map(|text| (*text).into()).collect();
        let subresources = kind.subresources.iter().map(|subresource| Subresource {
            name: subresource.name.into(),
            gvk: gvk.clone(),
            verbs: boxed(&subresource.verbs),
        });
        Self {
            plural: kind.plural.into(),
            singular: kind.singular.clone(),
            list_kind: format!("{}List", kind.kind).into(),
            short_names: boxed(&kind.short_names),
            categories: boxed(&kind.categories),
            namespaced: kind.namespaced,
            verbs: boxed(&kind.verbs),
            subresources: subresources.collect(),
            schema: kind.schema(),
            origin: Origin::Builtin,
            gvk,
        }
    }

    /// Whether the verb is among those that are served.
    #[must_use]
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|served| **served == *verb)
    }

    /// Media types of patches that are taken.
    #[must_use]
    pub const fn patch_types(&self) -> &'static [&'static str] {
        match self.origin {
            Origin::Builtin => &[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
            ],
            Origin::Custom => &["application/json-patch+json", "application/merge-patch+json"],
        }
    }
}
