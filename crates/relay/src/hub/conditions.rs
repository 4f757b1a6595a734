//! What an agent's status says beside who is connected: that it drains, that a certificate is about
//! to end, that a release is too old or too new for this hub, that a configuration is not taken.
//!
//! Each condition is there from the first time that it is so; then it says that it is not, so that
//! people see since when. An agent with which nothing is wrong has none of them.

use std::fmt::Display;

use jiff::Timestamp;
use strait_machinery::json::Value;

use crate::agents::set_condition;
use crate::services::Rejected;

/// Releases of this hub's minor version, this many above or below, work with it.
const MINORS: u64 = 1;

/// A certificate is renewed when a third of its life is left; with less than this part something
/// is wrong.
const LEFT: i32 = 6;

/// Says what can be seen of an object itself. Returns whether that changed it.
pub(super) fn observe(agent: &mut Value, now: Timestamp) -> bool {
    let found = [
        ("Draining", drains(agent)),
        ("CertificateExpiring", expires(agent, now)),
        ("VersionSkew", skews(agent, env!("CARGO_PKG_VERSION"))),
    ];
    let text = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut changed = false;
    for (kind, why) in found {
        changed |= show(agent, kind, why, &text);
    }
    changed
}

/// Says what instances say of their configurations.
pub(super) fn show_rejected<'a>(
    agent: &mut Value,
    rejected: impl Iterator<Item = (&'a str, &'a Rejected)>,
    now: &str,
) {
    let text = |(id, rejected): (&str, &Rejected)| format!("instance {id}: {rejected}");
    let said: Vec<_> = rejected.take(SHOWN_MAX).map(text).collect();
    let why = (!said.is_empty()).then(|| {
        let said = said.join("; ");
        ("Invalid", format!("{said}; what it read before holds on, its log says more"))
    });
    show(agent, "ConfigRejected", why, now);
}

/// Instances that are named in a condition.
const SHOWN_MAX: usize = 4;

type Why = Option<(&'static str, String)>;

fn show(agent: &mut Value, kind: &str, why: Why, now: &str) -> bool {
    let conditions = agent.array_at(&["status", "conditions"]).iter();
    let known = conditions.clone().find(|own| own.str_at(&["type"]) == Some(kind));
    let text = |key| known.and_then(|own| own.str_at(&[key])).unwrap_or_default();
    let (status, reason, message) = match &why {
        Some((reason, message)) => ("True", *reason, &**message),
        None if known.is_none() => return false,
        None => ("False", "Over", ""),
    };
    if (text("status"), text("reason"), text("message")) == (status, reason, message) {
        return false;
    }
    set_condition(agent, kind, (status, reason, message), now);
    true
}

/// The instances that are there.
fn present(agent: &Value) -> impl Iterator<Item = &Value> {
    let is_there = |one: &&Value| matches!(one.str_at(&["state"]), Some("Ready" | "Draining"));
    agent.array_at(&["status", "instances"]).iter().filter(is_there)
}

/// The names of those instances, if there are any, and what is so with them.
fn named<'a>(instances: impl Iterator<Item = &'a Value>, what: impl Display) -> Option<String> {
    let ids: Vec<_> = instances.filter_map(|one| one.str_at(&["id"])).take(SHOWN_MAX).collect();
    (!ids.is_empty()).then(|| format!("{what}: {}", ids.join(", ")))
}

fn drains(agent: &Value) -> Why {
    if agent.at(&["spec", "drain"]).and_then(Value::as_bool) == Some(true) {
        return Some(("Asked", "spec.drain: its instances get no new streams".to_owned()));
    }
    let mut all = present(agent).peekable();
    all.peek()?;
    let drains = all.all(|one| one.str_at(&["state"]) == Some("Draining"));
    drains.then(|| ("Ending", "every instance that is there is ending".to_owned()))
}

fn expires(agent: &Value, now: Timestamp) -> Why {
    let is_due = |one: &&Value| {
        let at = |key| one.str_at(&["certificate", key])?.parse::<Timestamp>().ok();
        let (begin, end) = (at("notBefore"), at("notAfter"));
        let due = |(begin, end): (Timestamp, Timestamp)| {
            end.duration_since(now) < end.duration_since(begin) / LEFT
        };
        begin.zip(end).is_some_and(due)
    };
    let what = "the certificate ends soon and was not renewed";
    Some(("NotRenewed", named(present(agent).filter(is_due), what)?))
}

fn skews(agent: &Value, own: &str) -> Why {
    let (major, minor) = release(own)?;
    let is_far = |one: &&Value| {
        let theirs = one.str_at(&["version"]).and_then(release);
        theirs.is_some_and(|(own, other)| own != major || minor.abs_diff(other) > MINORS)
    };
    let what = format!("more than one release away from this hub's {own}");
    Some(("Unsupported", named(present(agent).filter(is_far), what)?))
}

/// Major and minor number of a release, which may stand behind a program's name.
fn release(version: &str) -> Option<(u64, u64)> {
    let number = version.rsplit([' ', '/']).next()?;
    let mut parts = number.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use strait_machinery::object;

    use super::*;
    use crate::services::Why as Kind;

    /// Its conditions: `type status message`.
    fn conditions(agent: &Value) -> Vec<String> {
        let text = |one: &Value, key| one.str_at(&[key]).unwrap_or_default().to_owned();
        let all = agent.array_at(&["status", "conditions"]).iter();
        all.map(|one| ["type", "status", "message"].map(|key| text(one, key)).join(" ")).collect()
    }

    fn agent(state: &str, not_after: &str, version: &str) -> Value {
        let certificate = object! {"notBefore": "2025-12-31T12:00:00Z", "notAfter": not_after};
        let gone = object! {"id": "gone", "state": "Lost", "version": "9.9.9"};
        let one = object! {
            "id": "a", "state": state, "version": version, "certificate": certificate,
        };
        object! {"status": object! {"instances": vec![one, gone]}}
    }

    #[test]
    fn what_is_wrong_with_an_agent_shows_and_that_it_is_over() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        // Of a day's life half is left, of a shorter one's not quite a sixth.
        let (later, soon) = ("2026-01-01T12:00:00Z", "2026-01-01T02:23:59Z");
        let own = env!("CARGO_PKG_VERSION");
        for (mut agent, expected) in [
            (agent("Ready", later, own), None),
            (
                agent("Draining", later, own),
                Some("Draining True every instance that is there is ending"),
            ),
            (
                agent("Ready", soon, own),
                Some("CertificateExpiring True the certificate ends soon and was not renewed: a"),
            ),
            // It is not there: it has nothing to renew.
            (agent("Lost", soon, own), None),
        ] {
            assert_eq!(observe(&mut agent, now), expected.is_some());
            assert_eq!(conditions(&agent), Vec::from_iter(expected), "{agent}");
            assert!(!observe(&mut agent, now), "said once");
        }
        // Its own life counts, whatever the Agent asks for.
        let mut long = agent("Ready", later, own);
        long.set(&["spec", "certificateTTL"], "90d");
        assert!(!observe(&mut long, now), "{long}");
        let mut drained = agent("Ready", later, own);
        drained.set(&["spec", "drain"], true);
        assert!(observe(&mut drained, now));
        drained.set(&["spec", "drain"], false);
        assert!(observe(&mut drained, now));
        assert_eq!(conditions(&drained), ["Draining False "]);
    }

    #[test]
    fn releases_that_are_too_far_apart_are_named() {
        for (own, theirs, far) in [
            ("0.3.0", "0.3.9", false),
            ("0.3.0", "0.2.0", false),
            ("0.3.0", "strait 0.4.1", false),
            ("0.3.0", "0.1.0", true),
            ("0.3.0", "strait/0.5.0", true),
            ("1.0.0", "0.1.0", true),
            ("0.3.0", "", false),
            ("0.3.0", "of yesterday", false),
        ] {
            assert_eq!(skews(&agent("Ready", "", theirs), own).is_some(), far, "{own} {theirs}");
        }
    }

    #[test]
    fn a_rejected_configuration_shows_until_it_is_right() {
        let mut agent = Value::object();
        show_rejected(&mut agent, std::iter::empty(), "t1");
        assert!(conditions(&agent).is_empty());
        let rejected = Rejected::elsewhere(Kind::Listen, 2);
        show_rejected(&mut agent, [("a", &rejected)].into_iter(), "t1");
        let expected = "ConfigRejected True instance a: a listener cannot have its address, and 1 more; what it read before holds on, its log says more";
        assert_eq!(conditions(&agent), [expected]);
        show_rejected(&mut agent, std::iter::empty(), "t2");
        assert_eq!(conditions(&agent), ["ConfigRejected False "]);
    }
}
