//! When instances of agents were last heard of, beside the store.
//!
//! An instance says every ten seconds that it is there, and mostly nothing else. As revisions those
//! would be nearly all that a hub writes, so the times stand in memory. What is stored of one,
//! `lastSeen`, is moved on when something else is written, when the instance goes, and every
//! [`STORED_EVERY`] while it stays.
//!
//! A hub that starts has heard of nobody. Nothing that is stored makes an instance be there: from
//! the start it has as long to be heard of as after any silence.
//!
//! What is stored follows a little later: an instance that has come is there, though it may still be
//! stored as lost.
//!
//! Limits: an entry for each installation of an Agent; what is of none any more is forgotten once
//! it is silent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use strait_machinery::json::Value;
use strait_runtime::Clock;
use strait_types::ClusterName;

use crate::agents::LOST_AFTER;

/// How old a stored `lastSeen` gets while there is something to see.
pub(crate) const STORED_EVERY: Duration = Duration::from_secs(300);

/// What an instance is called: logical cluster, Agent, identifier.
pub(crate) type Who = (ClusterName, String, String);

/// When instances were last heard of by this process.
pub(crate) struct Seen {
    started: Duration,
    instances: Mutex<HashMap<Who, Moment>>,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    monotonic: Duration,
    wall: Timestamp,
    sign: Sign,
    connected: bool,
}

/// What was heard of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It connected, or has a connection left.
    Connected,
    /// It reported.
    Reported,
    /// Its last connection ended.
    Went,
}

impl Seen {
    /// Has heard of nobody.
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { started: clock.monotonic(), instances: Mutex::default() }
    }

    /// Something is heard of an instance, which proved who it is. Returns how long it had been
    /// silent; none if it was not heard of before.
    pub(crate) fn heard(&self, who: Who, sign: Sign, clock: &dyn Clock) -> Option<Duration> {
        let mut known = self.instances.lock();
        let before = known.get(&who).copied();
        let connected = match sign {
            Sign::Connected => true,
            Sign::Reported => before.is_some_and(|before| before.connected),
            Sign::Went => false,
        };
        let now = Moment { monotonic: clock.monotonic(), wall: clock.now(), sign, connected };
        known.insert(who, now);
        Some(now.monotonic.saturating_sub(before?.monotonic))
    }

    /// Whether the last that was heard of an instance is that it went.
    pub(crate) fn went(&self, who: &Who) -> bool {
        self.instances.lock().get(who).is_some_and(|moment| moment.sign == Sign::Went)
    }

    /// What was heard of the instances that an Agent's status lists.
    pub(crate) fn of(
        &self,
        (cluster, name): (&ClusterName, &str),
        agent: &Value,
        clock: &dyn Clock,
    ) -> LastSeen {
        let now = clock.monotonic();
        let listed = agent.array_at(&["status", "instances"]).iter();
        let listed = listed.filter_map(|own| own.str_at(&["id"]));
        let known = self.instances.lock();
        let heard = listed.filter_map(|id| {
            let moment = known.get(&(cluster.clone(), name.to_owned(), id.to_owned()))?;
            let Moment { monotonic, wall: at, sign, connected } = *moment;
            let silence = now.saturating_sub(monotonic);
            Some((id.to_owned(), Heard { silence, at, sign, connected }))
        });
        LastSeen { since_start: now.saturating_sub(self.started), heard: heard.collect() }
    }

    /// Forgets who is none of these and silent.
    pub(crate) fn keep(&self, there: &HashSet<Who>, clock: &dyn Clock) {
        let now = clock.monotonic();
        self.instances.lock().retain(|who, moment| {
            there.contains(who) || now.saturating_sub(moment.monotonic) <= LOST_AFTER
        });
    }
}

/// What a hub heard last of an instance, as of one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// How long ago.
    pub(crate) silence: Duration,
    /// When.
    pub(crate) at: Timestamp,
    /// What it was.
    pub(crate) sign: Sign,
    /// Whether it has a connection to this hub.
    pub(crate) connected: bool,
}

/// What a hub has heard of the instances of one agent, as of one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastSeen {
    /// For how long the hub has been there to hear anything.
    pub(crate) since_start: Duration,
    /// By identifier.
    pub(crate) heard: BTreeMap<String, Heard>,
}

impl LastSeen {
    /// Whether an instance has said nothing for longer than one that is there does.
    pub(crate) fn is_silent(&self, instance: &str) -> bool {
        self.heard.get(instance).map_or(self.since_start, |heard| heard.silence) > LOST_AFTER
    }

    /// Whether an instance came lately and did not go since, whatever is stored of it yet.
    pub(crate) fn is_there(&self, instance: &str) -> bool {
        let heard = self.heard.get(instance);
        heard.is_some_and(|heard| heard.sign != Sign::Went && heard.silence <= LOST_AFTER)
    }

    /// Whether an instance has a connection to this hub, whatever is stored of it yet.
    pub(crate) fn is_connected(&self, instance: &str) -> bool {
        self.heard.get(instance).is_some_and(|heard| heard.connected)
    }

    /// Whether an instance may yet be on its way back to a hub that has just started.
    pub(crate) fn may_return(&self, instance: &str) -> bool {
        !self.heard.contains_key(instance) && self.since_start <= LOST_AFTER
    }

    /// When an instance was last heard of, as it is written; none if never by this hub.
    pub(crate) fn text(&self, instance: &str) -> Option<String> {
        let heard = self.heard.get(instance)?;
        Some(heard.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

/// Whether a stored time may stay while what it is of is still seen.
pub(crate) fn may_stay(stored: Option<&str>, now: Timestamp) -> bool {
    let stored = stored.and_then(|text| text.parse::<Timestamp>().ok());
    stored.is_some_and(|at| at <= now && now.duration_since(at).unsigned_abs() < STORED_EVERY)
}

#[cfg(test)]
mod tests {
    use strait_machinery::object;
    use strait_runtime::ManualClock;

    use super::*;

    fn who(agent: &str, instance: &str) -> Who {
        (ClusterName::root(), agent.to_owned(), instance.to_owned())
    }

    #[test]
    fn silence_counts_from_what_was_heard_or_else_from_the_start() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let (seen, root) = (Seen::new(&clock), ClusterName::root());
        let agent = object! {"status": object! {"instances": vec![
            object! {"id": "a"},
            object! {"id": "b", "lastSeen": "1970-01-01T00:00:00Z"},
        ]}};
        assert_eq!(seen.heard(who("smith", "a"), Sign::Reported, &clock), None);
        clock.advance(LOST_AFTER);
        assert_eq!(seen.heard(who("smith", "a"), Sign::Reported, &clock), Some(LOST_AFTER));
        // That the wall clock is set is no silence.
        clock.set_wall("2026-01-01T00:00:00Z".parse().unwrap());
        let of = seen.of((&root, "smith"), &agent, &clock);
        assert_eq!((of.is_silent("a"), of.is_silent("b")), (false, false));
        assert_eq!((of.may_return("a"), of.may_return("b")), (false, true));
        clock.advance(Duration::from_secs(1));
        let of = seen.of((&root, "smith"), &agent, &clock);
        assert_eq!((of.is_silent("a"), of.is_silent("b")), (false, true));
        assert!(!of.may_return("b"));
        assert_eq!((of.text("a").as_deref(), of.text("b")), (Some("1970-01-01T00:00:30Z"), None));
        // Another agent's instance of that name is another.
        assert!(seen.of((&root, "jones"), &agent, &clock).heard.is_empty());
    }

    #[test]
    fn who_came_is_there_until_it_goes_or_is_silent() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let (seen, root) = (Seen::new(&clock), ClusterName::root());
        let agent = object! {"status": object! {"instances": vec![object! {"id": "a"}]}};
        let second = Duration::from_secs(1);
        for (sign, silence, is_there, is_connected) in [
            (None, Duration::ZERO, false, false),
            (Some(Sign::Reported), LOST_AFTER, true, false),
            (None, second, false, false),
            (Some(Sign::Connected), second, true, true),
            (Some(Sign::Reported), second, true, true),
            (Some(Sign::Went), Duration::ZERO, false, false),
            (Some(Sign::Reported), Duration::ZERO, true, false),
            (Some(Sign::Connected), LOST_AFTER, true, true),
            (None, second, false, true),
        ] {
            if let Some(sign) = sign {
                seen.heard(who("smith", "a"), sign, &clock);
            }
            clock.advance(silence);
            let of = seen.of((&root, "smith"), &agent, &clock);
            let found = (of.is_there("a"), of.is_connected("a"));
            assert_eq!(found, (is_there, is_connected), "{sign:?} {silence:?}");
        }
    }

    #[test]
    fn who_is_gone_and_of_no_agent_is_forgotten() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let seen = Seen::new(&clock);
        for id in ["a", "b"] {
            seen.heard(who("smith", id), Sign::Reported, &clock);
        }
        let there = HashSet::from([who("smith", "a")]);
        // The other may have joined since it was looked who is there.
        seen.keep(&there, &clock);
        assert_eq!(seen.instances.lock().len(), 2);
        clock.advance(LOST_AFTER + Duration::from_secs(1));
        seen.keep(&there, &clock);
        let left: HashSet<Who> = seen.instances.lock().keys().cloned().collect();
        assert_eq!(left, there);
    }

    #[test]
    fn a_stored_time_stays_for_minutes() {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        for (stored, expected) in [
            (None, false),
            (Some("soon"), false),
            (Some("2026-01-01T00:10:00Z"), true),
            (Some("2026-01-01T00:05:01Z"), true),
            (Some("2026-01-01T00:05:00Z"), false),
            (Some("2026-01-01T00:10:01Z"), false),
        ] {
            assert_eq!(may_stay(stored, now), expected, "{stored:?}");
        }
    }
}
