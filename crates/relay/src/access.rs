//! Who may reach a service: what is asked of RBAC, and for how long an answer holds.
//!
//! Each request is decided anew: that is 5 % of what it costs, so no answer is kept. A stream that
//! lives longer is decided again every [`AGAIN`], and cut where the answer is no. Time is passed in.

mod redecide;

use http::Method;
use strait_auth::{Attributes, ResourceRequest};

pub use redecide::Streams;

use std::time::Duration;

/// How old a stream is when it is decided again, and how long after that.
pub const AGAIN: Duration = Duration::from_secs(60);

const GROUP: &str = "relay.strait.dev";
const VERSION: &str = "v1alpha1";

/// The RBAC verbs on `services/connect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// GET, HEAD and OPTIONS.
    Get,
    /// POST, what is no other, upgrades, raw streams.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Verb {
    /// What a request needs. One that becomes another protocol can do anything by it.
    #[must_use]
    pub fn of(method: &Method, upgrades: bool) -> Self {
        match *method {
            _ if upgrades => Self::Create,
            Method::GET | Method::HEAD | Method::OPTIONS => Self::Get,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            // A method that nobody here knows may change anything.
            _ => Self::Create,
        }
    }

    /// As RBAC writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// What is asked of RBAC; `name` is the Service object's, `<service>.<agent>`.
#[must_use]
pub const fn attributes(verb: Verb, name: &str) -> Attributes<'_> {
    Attributes::Resource(ResourceRequest {
        verb: verb.as_str(),
        group: GROUP,
        version: VERSION,
        resource: "services",
        subresource: "connect",
        namespace: "",
        name,
    })
}

/// What is asked of RBAC before a refusal is told as one: who may not see the service learns
/// nothing of it.
#[must_use]
pub const fn sees(name: &str) -> Attributes<'_> {
    Attributes::Resource(ResourceRequest {
        verb: "get",
        group: GROUP,
        version: VERSION,
        resource: "services",
        subresource: "",
        namespace: "",
        name,
    })
}

/// What is asked of RBAC before somebody is told what is for an agent's administrators: who may
/// change what the hub lets it do.
#[must_use]
pub const fn administers(agent: &str) -> Attributes<'_> {
    Attributes::Resource(ResourceRequest {
        verb: "update",
        group: GROUP,
        version: VERSION,
        resource: "agents",
        subresource: "",
        namespace: "",
        name: agent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_need_verbs() {
        for (method, upgrades, expected) in [
            ("GET", false, "get"),
            ("HEAD", false, "get"),
            ("OPTIONS", false, "get"),
            ("POST", false, "create"),
            ("PUT", false, "update"),
            ("PATCH", false, "patch"),
            ("DELETE", false, "delete"),
            ("PROPFIND", false, "create"),
            ("get", false, "create"),
            ("GET", true, "create"),
            ("DELETE", true, "create"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Verb::of(&method, upgrades).as_str(), expected, "{method} {upgrades}");
        }
    }

    #[test]
    fn rbac_is_asked_about_the_service_object() {
        let Attributes::Resource(request) = attributes(Verb::Create, "ci.smith") else {
            panic!("about an object");
        };
        assert_eq!(request.combined(), "services/connect");
        assert_eq!((request.group, request.verb, request.name), (GROUP, "create", "ci.smith"));
    }
}
