//! Who an agent is, in the certificate that says so.

use std::fmt;
use std::str::FromStr;

use strait_types::{ClusterName, HubId, InstanceId, is_dns1123_label};

/// The group that every agent is in.
pub const AGENTS_GROUP: &str = "system:strait:agents";

const SCHEME: &str = "strait://";

/// One installation of an agent, as the URI of its certificate:
/// `strait://<hub id>/<logical cluster>/agent/<name>/<instance>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentIdentity {
    hub: HubId,
    cluster: ClusterName,
    name: String,
    instance: InstanceId,
}

/// A text is not an agent's identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an agent's identity (strait://<hub>/<cluster>/agent/<name>/<instance>)")]
pub struct InvalidAgentIdentity(String);

impl AgentIdentity {
    /// Puts an identity together; `name` is the Agent object's.
    ///
    /// # Errors
    /// `name` is not a DNS label.
    pub fn new(
        hub: HubId,
        cluster: ClusterName,
        name: &str,
        instance: InstanceId,
    ) -> Result<Self, InvalidAgentIdentity> {
        if !is_dns1123_label(name) {
            return Err(InvalidAgentIdentity(name.to_owned()));
        }
        let name = name.to_owned();
        Ok(Self { hub, cluster, name, instance })
    }

    /// Whether a URI claims to be an agent's identity, well formed or not.
    #[must_use]
    pub fn is_claimed_by(uri: &str) -> bool {
        uri.starts_with(SCHEME)
    }

    /// The hub that knows the agent.
    #[must_use]
    pub const fn hub(&self) -> &HubId {
        &self.hub
    }

    /// The logical cluster that holds its Agent object.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Its Agent object's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which installation.
    #[must_use]
    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The user that it is at the hub: `system:strait:agent:<logical cluster>:<name>`, in
    /// [`AGENTS_GROUP`].
    #[must_use]
    pub fn user(&self) -> String {
        format!("system:strait:agent:{}:{}", self.cluster, self.name)
    }
}

impl fmt::Display for AgentIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hub, cluster, name, instance } = self;
        write!(f, "{SCHEME}{hub}/{cluster}/agent/{name}/{instance}")
    }
}

impl FromStr for AgentIdentity {
    type Err = InvalidAgentIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidAgentIdentity> {
        let invalid = || InvalidAgentIdentity(text.to_owned());
        let rest = text.strip_prefix(SCHEME).ok_or_else(invalid)?;
        let segments: Vec<&str> = rest.splitn(6, '/').collect();
        let [hub, cluster, "agent", name, instance] = *segments else {
            return Err(invalid());
        };
        let hub = hub.parse().map_err(|_| invalid())?;
        let cluster = ClusterName::new(cluster).map_err(|_| invalid())?;
        let instance = instance.parse().map_err(|_| invalid())?;
        Self::new(hub, cluster, name, instance).map_err(|_| invalid())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URI: &str = "strait://abcdefghjkmn/37qd0tx0ogfdluu3/agent/smith/0123456789";

    #[test]
    fn reads_and_writes_the_uri() {
        let identity: AgentIdentity = URI.parse().unwrap();
        assert_eq!(identity.to_string(), URI);
        assert_eq!(identity.hub().as_str(), "abcdefghjkmn");
        assert_eq!(identity.name(), "smith");
        assert_eq!(identity.instance().as_str(), "0123456789");
        assert_eq!(identity.user(), "system:strait:agent:37qd0tx0ogfdluu3:smith");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "strait://",
            "http://abcdefghjkmn/root/agent/smith/0123456789",
            "strait://abcdefghjkmn/root/relay/smith/0123456789",
            "strait://abcdefghjkmn/root/agent/smith",
            "strait://abcdefghjkmn/root/agent/smith/0123456789/",
            "strait://abcdefghjkmn/root/agent/smith/0123456789?user=x",
            "strait://abcdefghjkmn/root/agent/Smith/0123456789",
            "strait://abcdefghjkmn/root/agent//0123456789",
            "strait://abcdefghjkmn/root:a/agent/smith/0123456789",
            "strait://abc/root/agent/smith/0123456789",
        ] {
            assert!(text.parse::<AgentIdentity>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(strait://)?[a-z0-9:/]{0,80}") {
            if let Ok(identity) = text.parse::<AgentIdentity>() {
                prop_assert_eq!(identity.to_string(), text);
            }
        }
    }
}
