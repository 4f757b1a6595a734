//! One pod's state in a Secret, and what may be done with it.

use jiff::Timestamp;
use strait_machinery::json::parse;
use strait_machinery::object;
use strait_relay::agent::Membership;
use strait_relay::hub::RENEW_GRACE;
use strait_types::{InstanceId, Redacted};

/// What a pod keeps.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Uid of the pod that it belongs to: one of the same name that is made later takes it over.
    pub(super) pod: String,
    /// The installation's id, whichever pod it is.
    pub(super) instance: InstanceId,
    /// Key of a join that was not answered yet, PEM.
    pub(super) key: Option<Redacted<String>>,
    /// The membership, once it joined.
    pub(super) membership: Option<Membership>,
}

impl Entry {
    /// Reads one.
    ///
    /// # Errors
    /// What it lacks.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let value = parse(bytes).map_err(|_| "JSON")?;
        let text = |field: &'static str| value.str_at(&[field]).map(str::to_owned);
        let membership = value.get("membership").map(Membership::from_value).transpose()?;
        Ok(Self {
            pod: text("pod").ok_or("pod")?,
            instance: text("instance").and_then(|id| id.parse().ok()).ok_or("instance")?,
            key: text("joinKey").map(Redacted::new),
            membership,
        })
    }

    /// As it is written.
    pub(super) fn to_bytes(&self) -> Redacted<Vec<u8>> {
        let mut value = object! {"pod": self.pod.as_str(), "instance": self.instance.as_str()};
        if let Some(key) = &self.key {
            value.set(&["joinKey"], key.expose().as_str());
        }
        if let Some(membership) = &self.membership {
            value.set(&["membership"], membership.to_value());
        }
        Redacted::new(value.to_bytes())
    }

    /// Whether nobody can become a member by it any more.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let ended = |own: &Membership| now.duration_since(own.not_after);
        let ended = self.membership.as_ref().map(ended);
        ended.and_then(|ended| std::time::Duration::try_from(ended).ok()) > Some(RENEW_GRACE)
    }
}
