//! How people name a service.

use std::fmt;
use std::str::FromStr;

use strait_types::is_dns1123_label;

use crate::exit::Failure;

/// A service of an agent: `AGENT/SERVICE`, or as its object is called, `SERVICE.AGENT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceName {
    pub(super) agent: String,
    pub(super) service: String,
}

impl ServiceName {
    /// The name of the object.
    pub(super) fn object(&self) -> String {
        format!("{}.{}", self.service, self.agent)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.agent, self.service)
    }
}

impl FromStr for ServiceName {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let of_object = || text.split_once('.').map(|(service, agent)| (agent, service));
        let parts = text.split_once('/').or_else(of_object);
        let parts =
            parts.filter(|(agent, service)| is_dns1123_label(agent) && is_dns1123_label(service));
        let (agent, service) = parts.ok_or_else(|| {
            Failure::usage(vec![format!(
                "{text:?} is no name of a service: AGENT/SERVICE, for example smith/ci"
            )])
        })?;
        Ok(Self { agent: agent.to_owned(), service: service.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_its_agent_or_as_its_object() {
        for text in ["smith/ci", "ci.smith"] {
            let name: ServiceName = text.parse().unwrap();
            assert_eq!((name.to_string(), name.object()), ("smith/ci".into(), "ci.smith".into()));
        }
        for text in ["", "ci", "smith/", "/ci", "smith/ci/x", "smith/../ci", "a.b.c", "Smith/ci"] {
            assert!(text.parse::<ServiceName>().is_err(), "{text}");
        }
    }
}
