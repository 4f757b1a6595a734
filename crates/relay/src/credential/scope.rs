//! What a token is good for, beside what is asked.

use std::net::IpAddr;

use strait_net::Network;

use super::claims::Claims;

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The logical cluster that the path leads to; none for the short path, which leads to the
    /// token's own.
    pub cluster: Option<&'a str>,
    /// The Agent's name.
    pub agent: &'a str,
    /// The service's name.
    pub service: &'a str,
    /// The service's type, once it is known.
    pub service_type: Option<&'a str>,
    /// The RBAC verb.
    pub verb: &'a str,
    /// Where it comes from.
    pub client: IpAddr,
}

/// The bound that a request is outside of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Scope {
    /// Another agent or service.
    #[error("token is for {is_for}, this is {this}")]
    Service {
        /// `<agent>/<service>`.
        is_for: String,
        /// The same of the request.
        this: String,
    },
    /// Another workspace; which, is nobody's business.
    #[error("token is for another workspace")]
    Workspace,
    /// Another agent, which had the name before.
    #[error("token is for an agent that is no more; this one has its name")]
    EarlierAgent,
    /// Another type.
    #[error("token is for a service of type {is_for}, this one has type {this}")]
    Type {
        /// The token's.
        is_for: String,
        /// The service's.
        this: String,
    },
    /// Another verb.
    #[error("token is for the verbs {}, this needs {this}", is_for.join(", "))]
    Verb {
        /// The token's.
        is_for: Vec<String>,
        /// The request's.
        this: String,
    },
    /// From elsewhere.
    #[error("token may not be used from {0}")]
    Source(IpAddr),
}

impl Claims {
    /// Checks that a request is within the token's bounds.
    ///
    /// # Errors
    /// The first bound that it is outside of.
    pub fn check(&self, asked: &Asked<'_>) -> Result<(), Scope> {
        if asked.cluster.is_some_and(|cluster| cluster != self.cluster) {
            return Err(Scope::Workspace);
        }
        if (asked.agent, asked.service) != (&*self.agent, &*self.service) {
            return Err(Scope::Service {
                is_for: format!("{}/{}", self.agent, self.service),
                this: format!("{}/{}", asked.agent, asked.service),
            });
        }
        if let (Some(is_for), Some(this)) = (&self.service_type, asked.service_type)
            && is_for != this
        {
            return Err(Scope::Type { is_for: is_for.clone(), this: this.to_owned() });
        }
        if !self.verbs.is_empty() && !self.verbs.iter().any(|verb| verb == asked.verb) {
            return Err(Scope::Verb { is_for: self.verbs.clone(), this: asked.verb.to_owned() });
        }
        // A network that cannot be read contains nobody.
        let within = |network: &String| {
            network.parse::<Network>().is_ok_and(|network| network.contains(asked.client))
        };
        if !self.networks.is_empty() && !self.networks.iter().any(within) {
            return Err(Scope::Source(asked.client.to_canonical()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::jws::tests::claims;
    use super::*;

    fn asked() -> Asked<'static> {
        Asked {
            cluster: Some("c1"),
            agent: "smith",
            service: "ci",
            service_type: Some("jenkins"),
            verb: "get",
            client: "192.0.2.7".parse().unwrap(),
        }
    }

    #[test]
    fn a_token_is_bound() {
        let bound = Claims {
            service_type: Some("jenkins".into()),
            verbs: vec!["get".into(), "create".into()],
            networks: vec!["10.0.0.0/8".into(), "192.0.2.0/24".into()],
            ..claims()
        };
        let v6 = "::ffff:192.0.2.9".parse().unwrap();
        for (asked, expected) in [
            (asked(), None),
            (Asked { cluster: None, ..asked() }, None),
            (Asked { service_type: None, ..asked() }, None),
            (Asked { verb: "create", client: v6, ..asked() }, None),
            (Asked { cluster: Some("c2"), ..asked() }, Some("token is for another workspace")),
            (Asked { agent: "jones", ..asked() }, Some("token is for smith/ci, this is jones/ci")),
            (
                Asked { service: "argo", ..asked() },
                Some("token is for smith/ci, this is smith/argo"),
            ),
            (
                Asked { service_type: Some("http"), ..asked() },
                Some("token is for a service of type jenkins, this one has type http"),
            ),
            (
                Asked { verb: "delete", ..asked() },
                Some("token is for the verbs get, create, this needs delete"),
            ),
            (
                Asked { client: "198.51.100.1".parse().unwrap(), ..asked() },
                Some("token may not be used from 198.51.100.1"),
            ),
        ] {
            let scope = bound.check(&asked).err().map(|scope| scope.to_string());
            assert_eq!(scope.as_deref(), expected, "{asked:?}");
        }
        assert_eq!(claims().check(&Asked { verb: "delete", ..asked() }), Ok(()));
        let broken = Claims { networks: vec!["everywhere".into()], ..claims() };
        assert!(broken.check(&asked()).is_err());
    }
}
