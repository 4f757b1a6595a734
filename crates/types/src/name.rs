//! Names that appear in URLs, keys and certificates.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A name does not have the form that its kind demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not {expected}")]
pub struct InvalidName {
    name: String,
    expected: &'static str,
}

/// A DNS label (RFC 1123 §2.1): 1–63 characters of `[a-z0-9-]`, alphanumeric at both ends.
#[must_use]
pub fn is_dns1123_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    let alphanumeric = |c: &u8| c.is_ascii_digit() || c.is_ascii_lowercase();
    matches!(bytes.len(), 1..=63)
        && bytes.iter().all(|c| alphanumeric(c) || *c == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}

/// A DNS subdomain as Kubernetes names objects: labels of any length joined by dots, at most
/// 253 characters together.
#[must_use]
pub fn is_dns1123_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let alphanumeric = |c: &u8| c.is_ascii_digit() || c.is_ascii_lowercase();
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes.iter().all(|c| alphanumeric(c) || *c == b'-')
    };
    matches!(name.len(), 1..=253) && name.split('.').all(label)
}

/// A name that can be one segment of a URL path: not `.` or `..`, without `/` and `%`.
#[must_use]
pub fn is_path_segment(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%'])
}

/// The name of a logical cluster: opaque, unique in a hub, also valid as the first segment of
/// a [`WorkspacePath`]. `root`, sixteen random characters, or `system:<name>`.
///
/// Cheap to clone. Ordered as keys are: by the bytes of the name followed by `/`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClusterName(Arc<str>);

impl ClusterName {
    /// The logical cluster at the top of the tree.
    #[must_use]
    pub fn root() -> Self {
        Self("root".into())
    }

    /// The logical cluster that holds bootstrap RBAC. It has no LogicalCluster object and only
    /// `system:masters` enter it.
    #[must_use]
    pub fn system_admin() -> Self {
        Self("system:admin".into())
    }

    /// Parses a name.
    ///
    /// # Errors
    /// Anything but a DNS label or `system:` and a DNS label.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let label = name.strip_prefix("system:").unwrap_or(name);
        if is_dns1123_label(label) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidName { name: name.to_owned(), expected: "a logical cluster name" })
        }
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is one of the clusters without a LogicalCluster object.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0.starts_with("system:")
    }
}

impl Ord for ClusterName {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = self.0.bytes().chain([b'/']);
        let right = other.0.bytes().chain([b'/']);
        left.cmp(right)
    }
}

impl PartialOrd for ClusterName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Colon-joined workspace names that start from a logical cluster name: `root:acme:team`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkspacePath(Arc<str>);

impl WorkspacePath {
    /// The path of the top of the tree.
    #[must_use]
    pub fn root() -> Self {
        Self("root".into())
    }

    /// Parses a path. `system:<name>` is one segment.
    ///
    /// # Errors
    /// An empty path, or a segment that is not a DNS label.
    pub fn new(path: &str) -> Result<Self, InvalidName> {
        let rest = path.strip_prefix("system:").unwrap_or(path);
        if path.len() <= 1024 && rest.split(':').all(is_dns1123_label) {
            Ok(Self(path.into()))
        } else {
            Err(InvalidName {
                name: path.to_owned(),
                expected: "a workspace path (names joined by colons)",
            })
        }
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The logical cluster that the path starts from, and the workspace names below it.
    ///
    /// # Panics
    /// Never: the constructor checked both.
    pub fn split(&self) -> (ClusterName, impl Iterator<Item = &str>) {
        let prefix = if self.0.starts_with("system:") { 7 } else { 0 };
        let end = self.0[prefix..].find(':').map_or(self.0.len(), |at| prefix + at);
        let cluster = ClusterName(self.0[..end].into());
        let rest = self.0[end..].trim_start_matches(':');
        (cluster, rest.split(':').filter(|segment| !segment.is_empty()))
    }

    /// The path of a child.
    ///
    /// # Errors
    /// `name` is not a DNS label.
    pub fn join(&self, name: &str) -> Result<Self, InvalidName> {
        Self::new(&format!("{self}:{name}"))
    }

    /// The path without its last segment; none for a path of one segment.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.0.rsplit_once(':')?;
        (parent != "system").then(|| Self(parent.into()))
    }

    /// The last segment.
    #[must_use]
    pub fn last(&self) -> &str {
        self.0.rsplit_once(':').map_or(&*self.0, |(_, last)| last)
    }
}

impl From<&ClusterName> for WorkspacePath {
    fn from(cluster: &ClusterName) -> Self {
        Self(cluster.0.clone())
    }
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        for (name, label, subdomain) in [
            ("a", true, true),
            ("a-b", true, true),
            ("a.b", false, true),
            ("", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a..b", false, false),
            ("a.-b", false, false),
            ("A", false, false),
            ("a_b", false, false),
            (&"a".repeat(63), true, true),
            (&"a".repeat(64), false, true),
            (&"a".repeat(254), false, false),
        ] {
            assert_eq!(is_dns1123_label(name), label, "label {name:?}");
            assert_eq!(is_dns1123_subdomain(name), subdomain, "subdomain {name:?}");
        }
    }

    #[test]
    fn clusters_order_as_their_keys_do() {
        let mut names = ["ab", "a-b", "a", "system:x"].map(|name| ClusterName::new(name).unwrap());
        names.sort();
        let mut keys = names.clone().map(|name| format!("{name}/"));
        keys.sort();
        assert_eq!(names.map(|name| format!("{name}/")), keys);
    }

    #[test]
    fn paths_split_into_cluster_and_names() {
        for (text, cluster, names) in [
            ("root", "root", vec![]),
            ("root:a:b", "root", vec!["a", "b"]),
            ("37qd0tx0ogfdluu3:team", "37qd0tx0ogfdluu3", vec!["team"]),
            ("system:admin", "system:admin", vec![]),
            ("system:admin:x", "system:admin", vec!["x"]),
        ] {
            let path = WorkspacePath::new(text).unwrap();
            let (got, rest) = path.split();
            assert_eq!(got.as_str(), cluster);
            assert_eq!(rest.collect::<Vec<_>>(), names);
        }
        for text in ["", ":", "root:", ":root", "root::a", "Root", "root:a/b", "*", "system:"] {
            assert!(WorkspacePath::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn parents_stop_at_the_cluster() {
        let parent = |text: &str| WorkspacePath::new(text).unwrap().parent().map(|p| p.to_string());
        assert_eq!(parent("root:a:b").as_deref(), Some("root:a"));
        assert_eq!(parent("root"), None);
        assert_eq!(parent("system:admin"), None);
    }
}
