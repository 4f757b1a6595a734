//! The audit of crossings that objects ask for.
//!
//! Creating an object of a kind whose export is marked as a crossing asks for one; status
//! writes of it, by those who may, tell how it went. Each is on record before it is stored.

use futures_util::future::BoxFuture;
use strait_auth::User;
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_store::Key;

/// Annotation that says who asked for a crossing: JSON of user name and a digest of groups.
/// Set by the server at creation and never changed.
pub const REQUESTER: &str = "requests.strait.dev/requester";

/// A stage of a crossing (`asked`, `decided`, `started`, `ended`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Somebody created the object.
    Asked,
    /// The private side accepted or rejected it.
    Decided,
    /// Work began.
    Started,
    /// It is over.
    Ended,
}

/// One entry to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The object's uid: the crossing's id.
    pub crossing: String,
    /// Which stage.
    pub stage: Stage,
    /// Who caused it: name and groups.
    pub user: User,
    /// The object.
    pub key: Key,
    /// What came of it: empty for `asked`, else the phase that the object went to.
    pub outcome: String,
}

/// The record could not be written; the crossing must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Unrecorded;

/// Where crossings are recorded.
pub trait Crossings: Send + Sync + 'static {
    /// Records entries, in order; durable on return.
    fn record(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), Unrecorded>>;
}

/// What [`REQUESTER`] says of a user.
#[must_use]
pub fn requester(user: &User) -> String {
    let mut groups: Vec<&str> = user.groups.iter().map(|group| &**group).collect();
    groups.sort_unstable();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(groups.join("\n").as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    object! {"user": &*user.name, "groupsSHA256": digest}.to_string()
}

/// The user name out of [`REQUESTER`].
#[must_use]
pub fn requester_name(annotation: &str) -> Option<String> {
    parse(annotation.as_bytes()).ok()?.str_at(&["user"]).map(str::to_owned)
}

/// The stages that a status write goes through, by the phases before and after
/// (requests, state machine): each is recorded once.
#[must_use]
pub fn stages(before: &Value, after: &Value) -> Vec<Stage> {
    let reached = |value: &Value| progress(value.str_at(&["status", "phase"]).unwrap_or_default());
    let (before, after) = (reached(before), reached(after));
    let all = [Stage::Decided, Stage::Started, Stage::Ended];
    let new = all.into_iter().filter(|stage| after.contains(stage) && !before.contains(stage));
    new.collect()
}

fn progress(phase: &str) -> &'static [Stage] {
    match phase {
        "" | "Pending" => &[],
        "Accepted" | "Claimed" => &[Stage::Decided],
        "Starting" | "Running" | "Cancelling" | "Indeterminate" => {
            &[Stage::Decided, Stage::Started]
        }
        "Rejected" => &[Stage::Decided, Stage::Ended],
        _ => &[Stage::Decided, Stage::Started, Stage::Ended],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requester_names_the_user_and_digests_the_groups() {
        let user = User::authenticated("alice", &["b", "a"]);
        let text = requester(&user);
        assert_eq!(text, requester(&User::authenticated("alice", &["a", "b"])));
        assert_eq!(requester_name(&text).as_deref(), Some("alice"));
        assert!(!text.contains("system:authenticated"));
    }

    #[test]
    fn each_stage_is_recorded_when_it_is_first_reached() {
        use Stage::{Decided, Ended, Started};
        for (before, after, expected) in [
            ("", "Pending", &[][..]),
            ("", "Accepted", &[Decided]),
            ("Accepted", "Running", &[Started]),
            ("Running", "Succeeded", &[Ended]),
            ("", "Succeeded", &[Decided, Started, Ended]),
            ("Pending", "Rejected", &[Decided, Ended]),
            ("Running", "Running", &[]),
            ("Running", "Indeterminate", &[]),
        ] {
            let phase = |phase: &str| object! {"status": object!{"phase": phase}};
            assert_eq!(stages(&phase(before), &phase(after)), expected, "{before} to {after}");
        }
    }
}
