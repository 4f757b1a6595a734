//! Places of an agent: as many installations as `maxInstances` says may have joined.
//!
//! An installation that went keeps its place until its certificate can be renewed no more: it may
//! only be asleep. An ephemeral one does not come back once it is gone, so its place is given to
//! the next one as soon as there is no other. One whose certificate was revoked keeps it like the
//! rest: its entry is what tells that its key may not come back.
//!
//! Whether an ephemeral one is gone shows a while after it went: a connection may come back, one that
//! ended in disorder is missed for long, and a hub that has just started has heard of nobody. Meanwhile
//! nobody is given its place, and nobody is told that there is none, which would be final.

use std::time::Duration;

use jiff::Timestamp;
use strait_machinery::json::Value;

use crate::agents::{LOST_AFTER, revoked_serials};
use crate::seen::LastSeen;

/// An ephemeral installation that never reported for this long is gone.
const SILENT_AFTER: Duration = Duration::from_secs(20 * LOST_AFTER.as_secs());

/// What an installation that asks for a place finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A place: its own, a free one, or that of the ephemeral one that is gone for longest.
    Taken,
    /// None yet: one that has a place may prove to be gone.
    NotYet,
    /// None, as long as nobody who is there goes.
    Full,
}

/// Who has a place that another asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Stays,
    /// It goes, or may be gone; which it is shows by itself.
    Unclear,
    Gone,
}

/// Finds a place for an installation in an Agent, of which as many have one as `max`.
pub(crate) fn take(
    agent: &mut Value,
    id: &str,
    max: usize,
    now: Timestamp,
    seen: &LastSeen,
) -> Place {
    let revoked = revoked_serials(agent);
    let instances = agent.make_object().object_mut("status").get_mut("instances");
    let Some(Value::Array(instances)) = instances else {
        return if max > 0 { Place::Taken } else { Place::Full };
    };
    let known = instances.iter().any(|own| own.str_at(&["id"]) == Some(id));
    if known || instances.len() < max {
        return Place::Taken;
    }
    // Fewer may join than did: one place less is none for another.
    if instances.len() > max {
        return Place::Full;
    }
    let holders = instances.iter().map(|own| holder(own, &revoked, now, seen));
    let holders: Vec<Holder> = holders.collect();
    let gone = (0..instances.len()).filter(|at| holders[*at] == Holder::Gone);
    if let Some(at) = gone.min_by_key(|at| last_seen(&instances[*at])) {
        instances.remove(at);
        return Place::Taken;
    }
    if holders.contains(&Holder::Unclear) { Place::NotYet } else { Place::Full }
}

/// Whether anybody comes back to that place.
fn holder(instance: &Value, revoked: &[String], now: Timestamp, heard: &LastSeen) -> Holder {
    let silent_after = SILENT_AFTER.try_into().unwrap_or_default();
    let is_silent =
        || last_seen(instance).is_some_and(|seen| now.duration_since(seen) > silent_after);
    let id = instance.str_at(&["id"]).unwrap_or_default();
    if !leaves(instance, revoked) {
        return Holder::Stays;
    }
    match instance.str_at(&["state"]) {
        Some("Draining") => Holder::Unclear,
        _ if heard.is_connected(id) => Holder::Stays,
        None if !is_silent() => Holder::Stays,
        None | Some("Lost" | "Ended") if heard.may_return(id) || heard.is_there(id) => {
            Holder::Unclear
        }
        None | Some("Lost" | "Ended") => Holder::Gone,
        // Marked as lost soon, unless it is heard of.
        Some(_) => Holder::Unclear,
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
        let (sign, at) = (Sign::Reported, now.parse().unwrap());
        let heard = Heard { silence: LOST_AFTER, at, sign, connected: true };
        let heard = [("ready".to_owned(), heard)].into();
        let long = LastSeen { since_start: SILENT_AFTER, heard };
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
            (vec![], "a", 0, None),
        ] {
            let instances: Vec<Value> = instances.into_iter().cloned().collect();
            let mut agent = object! {
                "spec": object!{"revokedSerials": Value::from(vec!["0a".into()])},
                "status": object!{"instances": instances},
            };
            let taken = take(&mut agent, id, max, now.parse().unwrap(), &long);
            let ids = agent.array_at(&["status", "instances"]).iter();
            let ids: Vec<_> = ids.filter_map(|own| own.str_at(&["id"])).collect();
            let (expected, left) =
                left.map_or((Place::Full, None), |left| (Place::Taken, Some(left)));
            assert_eq!(taken, expected, "{id} {max}");
            assert!(left.is_none_or(|left| left == ids.join(",")), "{id} {max} {ids:?}");
        }
    }

    #[test]
    fn there_may_be_a_place_soon_where_an_ephemeral_one_may_be_gone() {
        let (now, then) = ("2026-01-01T01:00:00Z".parse().unwrap(), "2026-01-01T00:00:00Z");
        let early = Duration::from_secs(5);
        let (late, later) = (Duration::from_secs(35), 20 * early);
        let heard = |sign, silence, connected| Some(Heard { silence, at: now, sign, connected });
        let came = heard(Sign::Connected, early, true);
        let quiet = heard(Sign::Reported, late, true);
        let reported = heard(Sign::Reported, early, false);
        let missed = heard(Sign::Reported, late, false);
        let went = heard(Sign::Went, early, false);
        for (state, since_start, heard, expected) in [
            (Some("Lost"), early, None, Place::NotYet),
            (Some("Lost"), early, went, Place::Taken),
            (Some("Lost"), early, came, Place::Full),
            (Some("Lost"), early, reported, Place::NotYet),
            (Some("Lost"), later, None, Place::Taken),
            (Some("Lost"), later, came, Place::Full),
            (Some("Lost"), later, missed, Place::Taken),
            (Some("Ended"), early, None, Place::NotYet),
            (Some("Ended"), early, went, Place::Taken),
            (Some("Ended"), early, reported, Place::NotYet),
            (None, early, None, Place::NotYet),
            (None, later, None, Place::Taken),
            (None, later, came, Place::Full),
            // It was there when the last hub stopped.
            (Some("Ready"), early, None, Place::NotYet),
            (Some("Ready"), early, came, Place::Full),
            (Some("Ready"), later, None, Place::NotYet),
            // A connection shows that it is there; reports alone show that it was.
            (Some("Ready"), later, quiet, Place::Full),
            (Some("Ready"), later, reported, Place::NotYet),
            (Some("Ready"), later, missed, Place::NotYet),
            (Some("Ready"), later, went, Place::NotYet),
            // It ends, and what runs on it meanwhile is its own.
            (Some("Draining"), later, came, Place::NotYet),
            (Some("Draining"), later, went, Place::NotYet),
            (Some("Draining"), later, missed, Place::NotYet),
            (Some("Draining"), later, None, Place::NotYet),
        ] {
            let mut one = object! {"id": "a", "ephemeral": true, "since": then};
            if let Some(state) = state {
                one.set(&["state"], state);
            }
            let mut agent = object! {"status": object! {"instances": vec![one]}};
            let heard = heard.map(|heard| ("a".to_owned(), heard)).into_iter().collect();
            let seen = LastSeen { since_start, heard };
            assert_eq!(take(&mut agent, "b", 1, now, &seen), expected, "{state:?} {seen:?}");
            // One that keeps its place whatever happens is not waited for.
            agent.set(&["status", "instances"], vec![object! {"id": "a", "state": "Lost"}]);
            assert_eq!(take(&mut agent, "b", 1, now, &seen), Place::Full, "{seen:?}");
        }
    }
}
