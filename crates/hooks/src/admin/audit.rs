//! Lines of the audit log: who did what, never anything of an event's content.

use strait_audit::{Actor, Object, Record, Stage};

use super::authorize::Caller;

/// Longest text of what was selected.
const TEXT_BYTES_MAX: usize = 1024;

/// A line about a resource of the operators' API.
pub(super) fn record(
    caller: &Caller,
    stage: Stage,
    resource: &str,
    name: &str,
    what: &str,
) -> Record {
    let mut end = what.len().min(TEXT_BYTES_MAX);
    while !what.is_char_boundary(end) {
        end -= 1;
    }
    Record {
        crossing: String::new(),
        stage,
        actor: Actor { user: caller.user.clone(), groups: caller.groups.clone() },
        object: Object {
            group: "hooks.strait.dev".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..Object::default()
        },
        rule: String::new(),
        outcome: what[..end].to_owned(),
    }
}
