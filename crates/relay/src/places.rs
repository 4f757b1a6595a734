//! Places of an agent: as many installations as `maxInstances` says may have joined.
//!
//! An installation that went keeps its place until its certificate can be renewed no more: it may
//! only be asleep. An ephemeral one does not come back once it is gone, so its place is given to
//! the next one as soon as there is no other. One whose certificate was revoked keeps it like the
//! rest: its entry is what tells that its key may not come back. Nor does a hub that has just started
//! give any place away whose installation may be on its way back, and none does that of one which has
//! just come back and is stored as lost.

use std::time::Duration;

use jiff::Timestamp;
use strait_machinery::json::Value;

use crate::agents::{LOST_AFTER, revoked_serials};
use crate::seen::LastSeen;

/// An ephemeral installation that never reported for this long is gone.
const SILENT_AFTER: Duration = Duration::from_secs(20 * LOST_AFTER.as_secs());

/// Finds a place for an installation in an Agent: its own, a free one, or that of the ephemeral
/// one that is gone for longest. False where there is none.
pub(crate) fn take(
    agent: &mut Value,
    id: &str,
    max: usize,
    now: Timestamp,
    seen: &LastSeen,
) -> bool {
    let revoked = revoked_serials(agent);
    let instances = agent.make_object().object_mut("status").get_mut("instances");
    let Some(Value::Array(instances)) = instances else {
        return max > 0;
    };
    let known = instances.iter().any(|own| own.str_at(&["id"]) == Some(id));
    if known || instances.len() < max {
        return true;
    }
    let gone = instances.iter().enumerate().filter(|(_, own)| is_gone(own, &revoked, now, seen));
    let Some(at) = gone.min_by_key(|(_, own)| last_seen(own)).map(|(at, _)| at) else {
        return false;
    };
    instances.remove(at);
    instances.len() < max
}

/// Whether nobody comes back to that place.
fn is_gone(instance: &Value, revoked: &[String], now: Timestamp, heard: &LastSeen) -> bool {
    let silent = || {
        let seen = last_seen(instance);
        seen.is_some_and(|seen| {
            now.duration_since(seen) > SILENT_AFTER.try_into().unwrap_or_default()
        })
    };
    let id = instance.str_at(&["id"]).unwrap_or_default();
    leaves(instance, revoked)
        && !heard.is_there(id)
        && match instance.str_at(&["state"]) {
            Some("Lost") => !heard.may_return(id),
            None => silent(),
            Some(_) => false,
        }
}

/// Whether an installation leaves its place as soon as it is gone: it does not come back, and
/// nothing has to be remembered of it. `revoked` are the Agent's [`revoked_serials`].
pub(crate) fn leaves(instance: &Value, revoked: &[String]) -> bool {
    let serial = instance.str_at(&["certificate", "serial"]);
    instance.at(&["ephemeral"]).and_then(Value::as_bool) == Some(true)
        && !revoked.iter().any(|own| Some(own.as_str()) == serial)
}

fn last_seen(instance: &Value) -> Option<Timestamp> {
    let time = |field| instance.str_at(&[field])?.parse().ok();
    time("lastSeen").or_else(|| time("since"))
}

#[cfg(test)]
mod tests {
    use strait_machinery::object;

    use super::*;
    use crate::seen::{Heard, Sign};

    #[test]
    fn a_place_is_ones_own_or_free_or_that_of_an_ephemeral_one_that_is_gone() {
        let instance = |id: &str, ephemeral: bool, state: &str, seen: &str| {
            let mut one = object! {"id": id, "ephemeral": ephemeral, "since": seen};
            if !state.is_empty() {
                one.set(&["state"], state);
            }
            one
        };
        let (now, then) = ("2026-01-01T01:00:00Z", "2026-01-01T00:00:00Z");
        let kept = instance("kept", false, "Lost", then);
        let ready = instance("ready", true, "Ready", then);
        let lost = instance("lost", true, "Lost", then);
        let later = instance("later", true, "Lost", "2026-01-01T00:30:00Z");
        let silent = instance("silent", true, "", then);
        let joining = instance("joining", true, "", now);
        let long = LastSeen { since_start: SILENT_AFTER, ..LastSeen::default() };
        let mut revoked = lost.clone();
        revoked.set(&["id"], "revoked");
        revoked.set(&["certificate", "serial"], "0a");
        for (instances, id, max, left) in [
            (vec![], "a", 1, Some("")),
            (vec![&kept], "a", 2, Some("kept")),
            (vec![&kept], "kept", 1, Some("kept")),
            (vec![&kept], "a", 1, None),
            (vec![&ready, &joining], "a", 2, None),
            (vec![&kept, &later, &lost], "a", 3, Some("kept,later")),
            (vec![&kept, &silent], "a", 2, Some("kept")),
            (vec![&kept, &revoked], "a", 2, None),
            // Fewer may join than did.
            (vec![&kept, &ready, &lost], "a", 2, None),
        ] {
            let instances: Vec<Value> = instances.into_iter().cloned().collect();
            let mut agent = object! {
                "spec": object!{"revokedSerials": Value::from(vec!["0a".into()])},
                "status": object!{"instances": instances},
            };
            let taken = take(&mut agent, id, max, now.parse().unwrap(), &long);
            let ids = agent.array_at(&["status", "instances"]).iter();
            let ids: Vec<_> = ids.filter_map(|own| own.str_at(&["id"])).collect();
            assert_eq!(taken.then(|| ids.join(",")).as_deref(), left, "{id} {max}");
        }
    }

    #[test]
    fn no_place_is_given_away_whose_installation_may_return_or_has_returned() {
        let (now, then) = ("2026-01-01T01:00:00Z".parse().unwrap(), "2026-01-01T00:00:00Z");
        let lost = object! {"id": "a", "ephemeral": true, "state": "Lost", "since": then};
        let since_start = Duration::from_secs(5);
        let heard = |sign| Heard { silence: Duration::from_secs(1), at: now, sign };
        let heard = |sign| [("a".to_owned(), heard(sign))].into();
        for (seen, expected) in [
            (LastSeen { since_start, heard: [].into() }, false),
            (LastSeen { since_start, heard: heard(Sign::Went) }, true),
            (LastSeen { since_start, heard: heard(Sign::Came) }, false),
            (LastSeen { since_start: 20 * since_start, heard: [].into() }, true),
            (LastSeen { since_start: 20 * since_start, heard: heard(Sign::Came) }, false),
        ] {
            let mut agent = object! {"status": object! {"instances": vec![lost.clone()]}};
            assert_eq!(take(&mut agent, "b", 1, now, &seen), expected, "{seen:?}");
        }
    }
}
