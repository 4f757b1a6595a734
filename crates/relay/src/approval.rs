//! Joining that a person approves: what is next for whoever asks.
//!
//! An agent with `joinPolicy: approve` takes nobody for a token alone. The first request burns a
//! use of the token and leaves a CertificateRequest, in one transaction; whoever asks again with
//! the same key and token is told how that stands. Only the key that asked first is certified.

use std::time::Duration;

use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_machinery::object::Object;

/// For how long a request waits for a person; as long as a token may live.
pub(crate) const WAITS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// For how long it is told what was decided, or that nobody did.
pub(crate) const TOLD_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Requests of one agent that may wait at a time.
pub(crate) const WAITING_MAX: usize = 16;

/// When whoever waits is to ask again: a twentieth of the time that it has waited, in bounds.
pub(crate) const AGAIN_MIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Who may join an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinPolicy {
    /// Whoever has a token.
    Token,
    /// Whoever has a token, once a person has approved it.
    Approve,
}

/// What a token knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing.
    None,
    /// It took a use, and no approval was needed.
    Joined,
    /// It took a use to ask for approval.
    Asked,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Waiting,
    Approved,
    Denied,
    /// Nobody decided in time.
    Lapsed,
}

/// What is done for whoever asks to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A use of the token is burnt, unless this key has burnt one, and a certificate made.
    Sign,
    /// The same, but a person approved it: the token is left alone.
    SignApproved,
    /// A use is burnt, unless this key has burnt one, and the request kept for a person.
    Ask,
    /// It waits.
    Wait,
    /// A person said no.
    Denied,
    /// Nobody said anything in time.
    Lapsed,
    /// The request was taken away.
    Withdrawn,
    /// Another key waits, or was approved, under this installation's name.
    OtherKey,
}

/// What to do, given the agent's policy, what the token knows of the key, and the installation's
/// request: whether it is of this key, and how it stands.
pub(crate) fn step(policy: JoinPolicy, claim: Claim, request: Option<(bool, Stand)>) -> Step {
    match (claim, request) {
        // It has nothing but its request.
        (Claim::Asked, Some((true, Stand::Denied))) => Step::Denied,
        (Claim::Asked, Some((true, Stand::Lapsed))) => Step::Lapsed,
        (Claim::Asked, Some((true, Stand::Approved))) => Step::SignApproved,
        (Claim::Asked, Some((true, Stand::Waiting))) => Step::Wait,
        (Claim::Asked, _) => Step::Withdrawn,
        _ if policy == JoinPolicy::Token => Step::Sign,
        // With another token: that is left for another.
        (_, Some((true, Stand::Approved))) => Step::SignApproved,
        (_, Some((true, Stand::Waiting))) => Step::Wait,
        // What another asked, and was granted, is not to be taken away from it.
        (_, Some((false, Stand::Waiting | Stand::Approved))) => Step::OtherKey,
        _ => Step::Ask,
    }
}

/// A CertificateRequest, as far as the hub goes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) agent: String,
    pub(crate) agent_uid: String,
    /// SHA-256 of the public key, in hexadecimal.
    pub(crate) key: String,
    pub(crate) expires: Timestamp,
    /// Whether a person approved it, if one decided.
    pub(crate) decision: Option<bool>,
    /// When.
    pub(crate) decided: Option<Timestamp>,
}

impl Asked {
    /// Reads an object. What is not whole has lapsed.
    pub(crate) fn of(object: &Object) -> Self {
        let value = object.to_value();
        let text = |field| value.str_at(&["spec", field]).map(str::to_owned).unwrap_or_default();
        let conditions = value.array_at(&["status", "conditions"]).iter();
        let said = |one: &&Value| one.str_at(&["status"]) == Some("True");
        let decided: Vec<_> = conditions.filter(said).collect();
        let is = |kind| decided.iter().find(|one| one.str_at(&["type"]) == Some(kind));
        let (denied, approved) = (is("Denied"), is("Approved"));
        let found = denied.or(approved);
        let time = found.and_then(|one| one.str_at(&["lastTransitionTime"]));
        Self {
            agent: text("agent"),
            agent_uid: text("agentUID"),
            key: text("key"),
            expires: text("expires").parse().unwrap_or(Timestamp::MIN),
            decision: found.map(|_| denied.is_none()),
            decided: time.and_then(|text| text.parse().ok()),
        }
    }

    /// How it stands.
    pub(crate) fn stand(&self, now: Timestamp) -> Stand {
        match self.decision {
            Some(true) => Stand::Approved,
            Some(false) => Stand::Denied,
            None if now < self.expires => Stand::Waiting,
            None => Stand::Lapsed,
        }
    }

    /// When whoever waits is to ask again.
    pub(crate) fn retry_after(&self, now: Timestamp) -> Duration {
        let left = Duration::try_from(self.expires.duration_since(now)).unwrap_or_default();
        (WAITS_FOR.saturating_sub(left) / 20).clamp(AGAIN_MIN, AGAIN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use strait_machinery::object;
    use strait_machinery::object::{Body, Header};
    use strait_types::Revision;

    use super::*;

    #[test]
    fn nothing_is_signed_without_a_token_or_against_a_persons_word() {
        use {Claim as C, JoinPolicy as P, Stand as S};
        let own = |stand| Some((true, stand));
        let others = |stand| Some((false, stand));
        for (policy, claim, request, expected) in [
            (P::Token, C::None, None, Step::Sign),
            (P::Token, C::Joined, None, Step::Sign),
            (P::Token, C::None, own(S::Denied), Step::Sign),
            (P::Approve, C::None, None, Step::Ask),
            // Its answer was lost before the policy changed.
            (P::Approve, C::Joined, None, Step::Ask),
            (P::Approve, C::Joined, own(S::Waiting), Step::Wait),
            (P::Approve, C::Asked, own(S::Waiting), Step::Wait),
            (P::Approve, C::Asked, own(S::Approved), Step::SignApproved),
            (P::Approve, C::Asked, own(S::Denied), Step::Denied),
            (P::Approve, C::Asked, own(S::Lapsed), Step::Lapsed),
            (P::Approve, C::Asked, None, Step::Withdrawn),
            (P::Approve, C::Asked, others(S::Approved), Step::Withdrawn),
            // A policy that is milder now does not overrule a person.
            (P::Token, C::Asked, own(S::Denied), Step::Denied),
            (P::Token, C::Asked, own(S::Waiting), Step::Wait),
            (P::Token, C::Asked, None, Step::Withdrawn),
            // With another token.
            (P::Approve, C::None, own(S::Waiting), Step::Wait),
            (P::Approve, C::None, own(S::Approved), Step::SignApproved),
            (P::Approve, C::None, own(S::Denied), Step::Ask),
            (P::Approve, C::None, own(S::Lapsed), Step::Ask),
            // Under another's name.
            (P::Approve, C::None, others(S::Waiting), Step::OtherKey),
            (P::Approve, C::None, others(S::Approved), Step::OtherKey),
            (P::Approve, C::None, others(S::Lapsed), Step::Ask),
            (P::Approve, C::None, others(S::Denied), Step::Ask),
        ] {
            assert_eq!(step(policy, claim, request), expected, "{policy:?} {claim:?} {request:?}");
        }
    }

    fn asked(conditions: &[(&str, &str)]) -> Asked {
        let condition = |(kind, status): &(&str, &str)| object! {"type": *kind, "status": *status};
        let value = object! {
            "metadata": object!{"name": "a.b", "uid": "6f1c2c1e-5b0a-4d6f-8e2b-0f8f3c0d9a11"},
            "spec": object!{"agent": "a", "key": "0a", "expires": "2026-01-08T00:00:00Z"},
            "status": object!{"conditions": conditions.iter().map(condition).collect::<Value>()},
        };
        let (body, header) = (Body::encode(&value).unwrap(), Header::of(&value).unwrap());
        Asked::of(&Object::new(Revision(1), body, header))
    }

    #[test]
    fn a_request_stands_as_a_person_decided_and_lapses() {
        let (before, after) = ("2026-01-07T00:00:00Z", "2026-01-09T00:00:00Z");
        for (conditions, now, expected) in [
            (&[][..], before, Stand::Waiting),
            (&[], after, Stand::Lapsed),
            (&[("Approved", "True")], after, Stand::Approved),
            (&[("Denied", "True")], before, Stand::Denied),
            (&[("Approved", "True"), ("Denied", "True")], before, Stand::Denied),
            (&[("Approved", "False")], before, Stand::Waiting),
            (&[("Ready", "True")], before, Stand::Waiting),
        ] {
            assert_eq!(asked(conditions).stand(now.parse().unwrap()), expected, "{conditions:?}");
        }
    }

    #[test]
    fn whoever_waits_long_asks_less_often() {
        for (now, expected) in [
            ("2026-01-01T00:00:00Z", 5),
            ("2026-01-01T00:05:00Z", 15),
            ("2026-01-01T01:00:00Z", 30),
            ("2026-01-09T00:00:00Z", 30),
            ("2025-01-01T00:00:00Z", 5),
        ] {
            let wait = asked(&[]).retry_after(now.parse().unwrap());
            assert_eq!(wait.as_secs(), expected, "{now}");
        }
    }
}
