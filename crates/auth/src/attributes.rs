//! What a request wants, as authorization sees it.

use strait_types::GroupResource;

/// A request reduced to what rules can speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attributes<'a> {
    /// About objects.
    Resource(ResourceRequest<'a>),
    /// About anything else, by path.
    NonResource(NonResource<'a>),
}

/// A request about objects. Empty strings mean: not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceRequest<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or a
    /// verb that only checks use.
    pub verb: &'a str,
    /// The API group; empty is the core group.
    pub group: &'a str,
    /// The version, which no rule looks at.
    pub version: &'a str,
    /// The resource, plural.
    pub resource: &'a str,
    /// What below the object.
    pub subresource: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The object.
    pub name: &'a str,
}

/// A request about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonResource<'a> {
    /// The HTTP method in lower case.
    pub verb: &'a str,
    /// The path within the workspace.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    /// The verb.
    #[must_use]
    pub const fn verb(&self) -> &'a str {
        match self {
            Self::Resource(request) => request.verb,
            Self::NonResource(request) => request.verb,
        }
    }
}

impl ResourceRequest<'_> {
    /// `resource` or `resource/subresource`, as rules name it.
    #[must_use]
    pub fn combined(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// Group and resource, with the subresource, as messages name it.
    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group, &self.combined())
    }

    /// Why the request is refused, in the words of
    /// `apiserver/pkg/endpoints/handlers/responsewriters/errors.go`.
    #[must_use]
    pub fn refusal(&self, user: &str, why: &str) -> String {
        let mut text = format!(
            "User {user:?} cannot {} resource \"{}\" in API group \"{}\"",
            self.verb,
            self.combined(),
            self.group
        );
        if self.namespace.is_empty() {
            text.push_str(" at the cluster scope");
        } else {
            text.push_str(&format!(" in the namespace \"{}\"", self.namespace));
        }
        if !why.is_empty() {
            text.push_str(": ");
            text.push_str(why);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_worded_as_by_kubernetes() {
        let request = ResourceRequest {
            verb: "get",
            resource: "pods",
            namespace: "ns",
            name: "x",
            ..ResourceRequest::default()
        };
        assert_eq!(
            request.refusal("u", ""),
            "User \"u\" cannot get resource \"pods\" in API group \"\" in the namespace \"ns\""
        );
        let request = ResourceRequest {
            verb: "update",
            group: "g",
            resource: "things",
            subresource: "status",
            ..ResourceRequest::default()
        };
        assert_eq!(
            request.refusal("u", "access denied"),
            "User \"u\" cannot update resource \"things/status\" in API group \"g\" at the cluster scope: access denied"
        );
    }
}
