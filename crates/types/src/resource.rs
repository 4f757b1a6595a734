//! Kubernetes' names for kinds and resources.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `group/version` does not have that form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unexpected GroupVersion string: {0}")]
pub struct InvalidGroupVersion(String);

/// An API group and version; the core group is the empty string. Text form `group/version`,
/// or `version` alone in the core group: what objects carry as `apiVersion`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// `""` for the core group.
    pub group: Arc<str>,
    /// `v1`, `v1alpha1`, …
    pub version: Arc<str>,
}

impl GroupVersion {
    /// Puts the two together.
    #[must_use]
    pub fn new(group: &str, version: &str) -> Self {
        Self { group: group.into(), version: version.into() }
    }

    /// Adds a kind.
    #[must_use]
    pub fn kind(&self, kind: &str) -> GroupVersionKind {
        GroupVersionKind {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: kind.into(),
        }
    }

    /// Adds a resource.
    #[must_use]
    pub fn resource(&self, resource: &str) -> GroupVersionResource {
        GroupVersionResource {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: resource.into(),
        }
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.version)
        } else {
            write!(f, "{}/{}", self.group, self.version)
        }
    }
}

impl FromStr for GroupVersion {
    type Err = InvalidGroupVersion;

    fn from_str(text: &str) -> Result<Self, InvalidGroupVersion> {
        let (group, version) = text.split_once('/').unwrap_or(("", text));
        if version.is_empty() || version.contains('/') || (group.is_empty() && text.contains('/')) {
            return Err(InvalidGroupVersion(text.to_owned()));
        }
        Ok(Self::new(group, version))
    }
}

macro_rules! pair {
    ($(#[$doc:meta])* $name:ident, $field:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            /// `""` for the core group.
            pub group: Arc<str>,
            /// The name within the group.
            pub $field: Arc<str>,
        }

        impl $name {
            /// Puts the two together.
            #[must_use]
            pub fn new(group: &str, $field: &str) -> Self {
                Self { group: group.into(), $field: $field.into() }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.group.is_empty() {
                    f.write_str(&self.$field)
                } else {
                    write!(f, "{}.{}", self.$field, self.group)
                }
            }
        }
    };
}

pair! {
    /// A resource in whatever version; text form `resource.group`.
    GroupResource, resource
}

pair! {
    /// A kind in whatever version; text form `Kind.group`.
    GroupKind, kind
}

/// A kind in one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// `""` for the core group.
    pub group: Arc<str>,
    /// `v1`, `v1alpha1`, …
    pub version: Arc<str>,
    /// CamelCase, singular.
    pub kind: Arc<str>,
}

impl GroupVersionKind {
    /// Puts the three together.
    #[must_use]
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        GroupVersion::new(group, version).kind(kind)
    }

    /// Without the kind.
    #[must_use]
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Kind={}", self.group_version(), self.kind)
    }
}

/// A resource in one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionResource {
    /// `""` for the core group.
    pub group: Arc<str>,
    /// `v1`, `v1alpha1`, …
    pub version: Arc<str>,
    /// Lower case, plural.
    pub resource: Arc<str>,
}

impl GroupVersionResource {
    /// Puts the three together.
    #[must_use]
    pub fn new(group: &str, version: &str, resource: &str) -> Self {
        GroupVersion::new(group, version).resource(resource)
    }

    /// Without the version.
    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.group.clone(), resource: self.resource.clone() }
    }

    /// Without the resource.
    #[must_use]
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }
    }
}

impl fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Resource={}", self.group_version(), self.resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_versions_round_trip() {
        for text in ["v1", "apps/v1", "a.b.c/v1alpha1"] {
            assert_eq!(text.parse::<GroupVersion>().unwrap().to_string(), text);
        }
        for text in ["", "/", "/v1", "apps/", "a/b/c"] {
            assert!(text.parse::<GroupVersion>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn qualified_names_leave_out_the_core_group() {
        assert_eq!(GroupResource::new("", "configmaps").to_string(), "configmaps");
        assert_eq!(GroupResource::new("apps", "deployments").to_string(), "deployments.apps");
    }
}
