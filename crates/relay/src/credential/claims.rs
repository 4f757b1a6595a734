//! What a relay token says.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Whom every relay token is for.
pub(super) const AUDIENCE: &str = "strait-relay";
/// Life where nobody asks for another.
pub const LIFE_DEFAULT: Duration = Duration::from_secs(3600);
/// Longest life that a policy can allow.
pub const LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The content of a relay token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The hub that made it, by its id.
    pub iss: String,
    /// Always the same, so that no other token of the hub's is one.
    pub aud: String,
    /// The user name of the person.
    pub sub: String,
    /// Their groups when it was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The logical cluster of the Agent.
    pub cluster: String,
    /// The Agent's name.
    pub agent: String,
    /// The Agent's uid: one that is made again under the name is another.
    pub agent_uid: String,
    /// The service's name.
    pub service: String,
    /// The service's type, where the token is for no other.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// RBAC verbs that it is good for; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
    /// Networks that it may come from; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Its identifier, for revocation and audit.
    pub jti: String,
    /// When it was made, in seconds.
    pub iat: i64,
    /// From when on it is nothing, in seconds.
    pub exp: i64,
}

impl Claims {
    /// When it was made.
    #[must_use]
    pub fn issued(&self) -> Timestamp {
        Timestamp::from_second(self.iat).unwrap_or(Timestamp::MIN)
    }

    /// From when on it is nothing.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        Timestamp::from_second(self.exp).unwrap_or(Timestamp::MIN)
    }

    /// How long it lives in all.
    #[must_use]
    pub fn life(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.exp.saturating_sub(self.iat)).unwrap_or(0))
    }
}

/// The life of a token that is asked for, and whether it is shorter than what was asked.
#[must_use]
pub fn clipped_life(asked: Option<Duration>, policy: Duration) -> (Duration, bool) {
    let limit = policy.min(LIFE_MAX);
    let asked = asked.unwrap_or_else(|| LIFE_DEFAULT.min(limit));
    (asked.min(limit), asked > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_clipped_to_the_policy() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (asked, policy, expected) in [
            (None, hours(24), (hours(1), false)),
            (Some(hours(12)), hours(24), (hours(12), false)),
            (Some(hours(48)), hours(24), (hours(24), true)),
            (Some(hours(9000)), hours(9000), (LIFE_MAX, true)),
            (None, Duration::from_secs(60), (Duration::from_secs(60), false)),
        ] {
            assert_eq!(clipped_life(asked, policy), expected);
        }
    }
}
