//! What a URL and a method ask for (`apiserver/pkg/endpoints/request/requestinfo.go`).
//!
//! Parsing needs no catalog: authorization happens before anybody knows whether the resource
//! exists.

use http::Method;
use percent_encoding::percent_decode_str;
use strait_auth::{Attributes, NonResource, ResourceRequest};
use strait_types::{GroupResource, GroupVersion};

use crate::query::Query;

/// A request's target and verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Objects, or something below one.
    Resource(ResourceTarget),
    /// Anything else, by path.
    Path {
        /// The HTTP method in lower case.
        verb: String,
        /// The path within the workspace, decoded.
        path: String,
    },
}

/// `/api/v1/namespaces/ns/pods/name/status` and its like. Empty strings mean: not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceTarget {
    /// The verb as authorization knows it.
    pub verb: Verb,
    /// Empty for the core group.
    pub group: String,
    /// As in the URL.
    pub version: String,
    /// The namespace; for namespaces themselves their own name.
    pub namespace: String,
    /// The resource, plural.
    pub resource: String,
    /// The object; also where a list selects exactly one by `metadata.name`.
    pub name: String,
    /// What below the object.
    pub subresource: String,
    /// Whether the URL itself names an object.
    pub names_object: bool,
}

/// What is to be done with objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read one.
    #[default]
    Get,
    /// Read many.
    List,
    /// Follow many.
    Watch,
    /// Make one.
    Create,
    /// Replace one.
    Update,
    /// Change one.
    Patch,
    /// Remove one.
    Delete,
    /// Remove many.
    DeleteCollection,
    /// A method that no verb belongs to.
    Unknown,
}

impl Verb {
    /// The word that rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Unknown => "",
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

impl ResourceTarget {
    /// Group and version.
    #[must_use]
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion::new(&self.group, &self.version)
    }

    /// Group and resource.
    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(&self.group, &self.resource)
    }
}

impl Target {
    /// Reads a method and the path within a workspace, still encoded.
    #[must_use]
    pub fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let inner = path.strip_prefix('/').unwrap_or(path);
        let segments: Vec<&str> = inner.strip_suffix('/').unwrap_or(inner).split('/').collect();
        resource_target(method, &segments, query).map_or_else(
            || Self::Path { verb: method.as_str().to_lowercase(), path: decode(path) },
            Self::Resource,
        )
    }

    /// The target as authorization sees it.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'_> {
        match self {
            Self::Resource(target) => Attributes::Resource(ResourceRequest {
                verb: target.verb.as_str(),
                group: &target.group,
                version: &target.version,
                resource: &target.resource,
                subresource: &target.subresource,
                namespace: &target.namespace,
                name: &target.name,
            }),
            Self::Path { verb, path } => Attributes::NonResource(NonResource { verb, path }),
        }
    }
}

fn resource_target(method: &Method, segments: &[&str], query: &Query) -> Option<ResourceTarget> {
    if segments.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    let (group, rest) = match segments {
        ["api", version, rest @ ..] => (("", *version), rest),
        ["apis", group, version, rest @ ..] => ((*group, *version), rest),
        _ => return None,
    };
    let mut target = ResourceTarget {
        group: decode(group.0),
        version: decode(group.1),
        ..ResourceTarget::default()
    };
    // `namespaces/{x}/status` and `/finalize` are below the namespace itself.
    let rest = match rest {
        [] => return None,
        ["namespaces", namespace, "status" | "finalize", ..] => {
            target.namespace = decode(namespace);
            rest
        }
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
            target.namespace = decode(namespace);
            rest
        }
        ["namespaces", namespace] => {
            target.namespace = decode(namespace);
            rest
        }
        rest => rest,
    };
    target.resource = decode(rest[0]);
    if let Some(name) = rest.get(1) {
        target.name = decode(name);
        target.names_object = true;
    }
    if let Some(subresource) = rest.get(2) {
        target.subresource = decode(subresource);
    }
    if rest.len() > 3 {
        // Nothing here has paths below a subresource.
        target.subresource = decode(&rest[2..].join("/"));
    }
    target.verb = verb(method, &mut target, query);
    Some(target)
}

fn verb(method: &Method, target: &mut ResourceTarget, query: &Query) -> Verb {
    match (method.as_str(), target.names_object) {
        ("POST", _) => Verb::Create,
        ("PUT", _) => Verb::Update,
        ("PATCH", _) => Verb::Patch,
        ("DELETE", true) => Verb::Delete,
        ("DELETE", false) => Verb::DeleteCollection,
        ("GET" | "HEAD", true) => Verb::Get,
        ("GET" | "HEAD", false) => {
            if let Some(name) = query.selected_name() {
                target.name = name;
            }
            if query.flag("watch") { Verb::Watch } else { Verb::List }
        }
        _ => Verb::Unknown,
    }
}

fn decode(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, url: &str) -> Target {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        Target::parse(&method.parse().unwrap(), path, &Query::parse(query))
    }

    #[test]
    fn urls_and_methods_become_verbs() {
        for (method, url, verb, namespace, resource, name, subresource) in [
            ("GET", "/api/v1/namespaces", Verb::List, "", "namespaces", "", ""),
            ("GET", "/api/v1/namespaces/a", Verb::Get, "a", "namespaces", "a", ""),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                Verb::Update,
                "a",
                "namespaces",
                "a",
                "finalize",
            ),
            ("GET", "/api/v1/namespaces/a/status", Verb::Get, "a", "namespaces", "a", "status"),
            ("GET", "/api/v1/namespaces/a/pods", Verb::List, "a", "pods", "", ""),
            ("POST", "/api/v1/namespaces/a/pods", Verb::Create, "a", "pods", "", ""),
            ("GET", "/api/v1/pods?watch=true", Verb::Watch, "", "pods", "", ""),
            (
                "GET",
                "/api/v1/pods?watch=1&fieldSelector=metadata.name%3Dx",
                Verb::Watch,
                "",
                "pods",
                "x",
                "",
            ),
            (
                "GET",
                "/apis/apps/v1/namespaces/a/deployments/x/scale",
                Verb::Get,
                "a",
                "deployments",
                "x",
                "scale",
            ),
            ("GET", "/api/v1/pods/?limit=1", Verb::List, "", "pods", "", ""),
            ("GET", "/api/v1/namespaces/a/pods/x?watch=true", Verb::Get, "a", "pods", "x", ""),
            ("PATCH", "/apis/g.io/v1/things/x", Verb::Patch, "", "things", "x", ""),
            ("DELETE", "/apis/g.io/v1/things", Verb::DeleteCollection, "", "things", "", ""),
            ("DELETE", "/apis/g.io/v1/things/x", Verb::Delete, "", "things", "x", ""),
            ("OPTIONS", "/apis/g.io/v1/things/x", Verb::Unknown, "", "things", "x", ""),
            ("GET", "/apis/rbac/v1/roles/system:x%3Ay", Verb::Get, "", "roles", "system:x:y", ""),
        ] {
            let Target::Resource(target) = parse(method, url) else {
                panic!("{url} is about objects");
            };
            assert_eq!(target.verb, verb, "{method} {url}");
            assert_eq!(
                (&*target.namespace, &*target.resource, &*target.name, &*target.subresource),
                (namespace, resource, name, subresource),
                "{method} {url}"
            );
        }
    }

    #[test]
    fn everything_else_is_a_path() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis/g/v1",
            "/version",
            "/openapi/v3/api/v1",
            "/healthz",
            "/api//v1/pods",
            "/api/v1//pods",
            "//api/v1/pods",
        ] {
            assert_eq!(parse("GET", path), Target::Path { verb: "get".into(), path: path.into() });
        }
    }
}
