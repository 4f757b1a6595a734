//! Who asks, as the hub says it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::recent::Recent;
use crate::services::{Policy, Service};

/// Most bytes of an identity.
const LENGTH_MAX: usize = 16 << 10;
/// Most of its groups.
const GROUPS_MAX: usize = 256;

/// The rules of an agent's about people, by their names in its file.
pub(crate) const OF_PEOPLE: [&str; 3] =
    ["policy.requireIdentity", "allow.users", "policy.maxTokenAge"];

/// Identities that are kept as they were read, of each of two generations: at 16 KiB each some
/// 16 MiB, and at the few hundred bytes that they have a hundredth.
const KEPT_MAX: usize = 512;

/// Who asks. What else the hub says of them is not needed here.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// Their name.
    pub(super) user: Arc<str>,
    /// Their groups.
    pub(super) groups: Vec<Arc<str>>,
    /// The logical cluster that they ask in.
    pub(super) ws: Arc<str>,
    /// How they proved it.
    via: String,
    /// The credential's identifier.
    pub(super) cred: Arc<str>,
    /// When the credential was made, if that can be read.
    issued: Option<Timestamp>,
    /// Where they ask from.
    pub(super) ip: Option<IpAddr>,
}

/// The same as JSON; `issued` by RFC 3339.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    user: String,
    groups: Vec<String>,
    ws: String,
    via: String,
    cred: String,
    issued: String,
    ip: Option<IpAddr>,
}

/// Identities that were read lately: who asks once mostly asks again.
#[derive(Debug)]
pub(super) struct Identities(Recent<Box<[u8]>, Arc<Identity>>);

impl Identities {
    pub(super) fn new() -> Self {
        Self(Recent::new(KEPT_MAX))
    }

    /// Reads one, or finds what was read.
    ///
    /// # Errors
    /// As of [`Identity::parse`].
    pub(super) fn read(&self, bytes: &[u8]) -> Result<Arc<Identity>, Malformed> {
        if let Some(found) = self.0.find(bytes) {
            return Ok(found);
        }
        let found = Arc::new(Identity::parse(bytes)?);
        self.0.keep(bytes.into(), found.clone());
        Ok(found)
    }
}

/// An identity that is none.
#[derive(Debug)]
pub(super) struct Malformed;

impl Identity {
    /// Reads one; nobody where nothing is said.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if bytes.len() > LENGTH_MAX {
            return Err(Malformed);
        }
        let found: Told = serde_json::from_slice(bytes).map_err(|_| Malformed)?;
        let plain = |text: &str| text.len() <= 1024 && !text.chars().any(char::is_control);
        let groups = found.groups.len() <= GROUPS_MAX && found.groups.iter().all(|one| plain(one));
        let whole = groups && plain(&found.user) && plain(&found.cred) && plain(&found.ws);
        if !whole {
            return Err(Malformed);
        }
        Ok(Self {
            user: found.user.into(),
            groups: found.groups.into_iter().map(Arc::from).collect(),
            ws: found.ws.into(),
            via: found.via,
            cred: found.cred.into(),
            issued: found.issued.parse().ok(),
            ip: found.ip,
        })
    }

    /// The rule of the agent's that is against them, if one is.
    pub(super) fn refused_by(
        &self,
        service: &Service,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<&'static str> {
        let [required, users, age] = OF_PEOPLE;
        let user = Some(&*self.user).filter(|user| !user.is_empty());
        if policy.require_identity && user.is_none() {
            return Some(required);
        }
        if !service.admits(user) {
            return Some(users);
        }
        let too_old = policy.max_token_age.is_some_and(|limit| !self.is_younger(limit, now));
        (user.is_some() && too_old).then_some(age)
    }

    /// A token of which nobody says how old it is could be of any age. What is no token, such as
    /// a certificate, proves its holder anew on each connection.
    fn is_younger(&self, limit: Duration, now: Timestamp) -> bool {
        let is_token = matches!(&*self.via, "token" | "legacy");
        let young = |made: Timestamp| {
            let age = now.as_second().saturating_sub(made.as_second());
            u64::try_from(age).unwrap_or(0) <= limit.as_secs()
        };
        !is_token || self.issued.is_some_and(young)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::services::{ServiceLimits, ServiceType, Target};

    fn service(users: &[&str]) -> Service {
        Service {
            kind: ServiceType::Tcp,
            target: Target::Tcp { host: "db".into(), port: 1, tls: None, starttls: None },
            users: users.iter().map(|&user| user.into()).collect(),
            limits: ServiceLimits {
                dial: Duration::from_secs(1),
                head: None,
                idle: None,
                events: None,
                concurrent: 1,
                max_body: None,
            },
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn people_are_refused_by_name_of_the_rule() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let day = Duration::from_secs(86_400);
        let (required, users, age) =
            (Some("policy.requireIdentity"), Some("allow.users"), Some("policy.maxTokenAge"));
        let token = |made: &str| format!(r#"{{"user":"a","via":"token","issued":"{made}"}}"#);
        for (json, listed, require, limit, expected) in [
            ("", &[][..], false, None, None),
            ("", &[], true, None, required),
            ("{}", &[], true, Some(day), required),
            ("", &["*"], false, None, users),
            (r#"{"user":"a"}"#, &["b", "a*"], true, None, None),
            (r#"{"user":"a"}"#, &["b"], true, None, users),
            (&token("1970-01-11T23:00:00Z"), &[], true, Some(day), None),
            (&token("1970-01-10T00:00:00Z"), &[], true, Some(day), age),
            (&token("2030-01-01T00:00:00Z"), &[], true, Some(day), None),
            (&token("now"), &[], true, Some(day), age),
            (&token("-009999-01-02T01:59:59Z"), &[], true, Some(day), age),
            (r#"{"user":"a","via":"token"}"#, &[], true, Some(day), age),
            (r#"{"user":"a","via":"token"}"#, &[], true, None, None),
            (r#"{"user":"a","via":"cert"}"#, &[], true, Some(day), None),
        ] {
            let identity = Identity::parse(json.as_bytes()).unwrap();
            let policy = Policy { max_token_age: limit, require_identity: require };
            let found = identity.refused_by(&service(listed), &policy, now);
            assert_eq!(found, expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_identity_is_not_taken_for_one() {
        let many = format!("{{\"groups\":[{}\"a\"]}}", "\"a\",".repeat(GROUPS_MAX));
        let long = format!("{{\"user\":\"{}\"}}", "a".repeat(LENGTH_MAX));
        for json in [
            "x",
            "[",
            "7",
            r#"{"user":7}"#,
            r#"{"user":"a","user":"b"}"#,
            r#"{"user":"\n"}"#,
            &many,
            &long,
        ] {
            assert!(Identity::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
