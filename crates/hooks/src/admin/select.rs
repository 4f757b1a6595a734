//! Which events are meant: selectors in a query.
//!
//! A member that may be given again holds if one of its values does; all members that are given
//! hold. Values are percent-encoded; a plus is a plus, as in a time's offset.

use std::collections::BTreeSet;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use strait_runtime::units::parse_duration;

use crate::event::Position;
use crate::filter::Glob;
use crate::log::Summary;
use crate::sender::Facts;

/// Events of one page unless a query says otherwise, and most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;

/// Most values of a query.
const VALUES_MAX: usize = 1024;

/// Members that select.
const SELECTORS: &str =
    "id, delivery, source, backend, state, event, action, repository, since, until";

/// A word for what became of an event at a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    Waiting,
    Dead,
    Delivered,
    /// The backend's filter kept it away.
    Filtered,
    Purged,
    /// It was never the backend's.
    Absent,
}

impl Became {
    /// What can be selected.
    const ALL: [Self; 5] =
        [Self::Waiting, Self::Dead, Self::Delivered, Self::Filtered, Self::Purged];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Dead => "dead",
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::Purged => "purged",
            Self::Absent => "absent",
        }
    }
}

/// What must hold of an event; nothing of an empty member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selector {
    pub(super) ids: BTreeSet<Position>,
    pub(super) deliveries: Vec<String>,
    pub(super) sources: Vec<String>,
    pub(super) backends: Vec<String>,
    pub(super) states: Vec<Became>,
    pub(super) events: Vec<String>,
    pub(super) actions: Vec<String>,
    pub(super) repositories: Vec<Glob>,
    pub(super) since: Option<Timestamp>,
    /// Itself not meant.
    pub(super) until: Option<Timestamp>,
}

/// A query: a selector and what is done with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Query {
    pub(super) selector: Selector,
    pub(super) limit: usize,
    /// Where a page begins.
    pub(super) next: Option<Position>,
    pub(super) dry_run: bool,
    /// Whether nothing selected means everything, for what changes something.
    pub(super) all: bool,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn parse(text: &str, now: Timestamp) -> Result<Self, String> {
        let mut reader = Reader { now, wrong: Vec::new(), query: Self::default() };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        if pairs.clone().count() > VALUES_MAX {
            return Err(format!("more than {VALUES_MAX} values"));
        }
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match percent_decode_str(value).decode_utf8() {
                Ok(value) => reader.take(name, &value),
                Err(_) => reader.wrong.push(format!("{name}: is not UTF-8")),
            }
        }
        let Reader { wrong, query, .. } = reader;
        if wrong.is_empty() { Ok(query) } else { Err(wrong.join("; ")) }
    }
}

impl Default for Query {
    fn default() -> Self {
        let selector = Selector::default();
        Self { selector, limit: PAGE, next: None, dry_run: false, all: false }
    }
}

struct Reader {
    now: Timestamp,
    wrong: Vec<String>,
    query: Query,
}

impl Reader {
    fn take(&mut self, name: &str, value: &str) {
        let query = &mut self.query;
        let selector = &mut query.selector;
        let texts = match name {
            "delivery" => Some(&mut selector.deliveries),
            "source" => Some(&mut selector.sources),
            "backend" => Some(&mut selector.backends),
            "event" => Some(&mut selector.events),
            "action" => Some(&mut selector.actions),
            _ => None,
        };
        if let Some(texts) = texts {
            texts.push(value.to_owned());
            return;
        }
        let read = match name {
            "id" => number(value).map(|id| selector.ids.extend([Position(id)])),
            "state" => state(value).map(|state| selector.states.push(state)),
            "repository" => {
                let glob = value.parse::<Glob>().map_err(|error| error.to_string());
                glob.map(|glob| selector.repositories.push(glob))
            }
            "since" => time(value, self.now).map(|time| selector.since = Some(time)),
            "until" => time(value, self.now).map(|time| selector.until = Some(time)),
            "limit" => limit(value).map(|limit| query.limit = limit),
            "continue" => number(value).map(|next| query.next = Some(Position(next))),
            "dryRun" => boolean(value).map(|dry_run| query.dry_run = dry_run),
            "all" => boolean(value).map(|all| query.all = all),
            _ => Err(format!("is not known; events are selected by {SELECTORS}")),
        };
        if let Err(why) = read {
            let shown: String = value.chars().take(64).collect();
            self.wrong.push(format!("{name}: {shown:?} {why}"));
        }
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "is not the number of an event".to_owned())
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    limit.ok_or_else(|| format!("is not a number from 1 to {PAGE_MAX}"))
}

fn state(text: &str) -> Result<Became, String> {
    let known = Became::ALL.into_iter().find(|state| state.as_str() == text);
    known.ok_or_else(|| "is not one of waiting, dead, delivered, filtered, purged".to_owned())
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is not true or false".to_owned()),
    }
}

/// A time, or how long ago it was.
fn time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = parse_duration(text) {
        return now.checked_sub(ago).map_err(|_| "is too long ago".to_owned());
    }
    let why = "is neither a duration such as 1h nor a time such as 2026-01-02T03:04:05Z";
    text.parse().map_err(|_| why.to_owned())
}

impl Selector {
    /// Whether every event is meant.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it says at which backends something is meant.
    pub(super) const fn is_about_backends(&self) -> bool {
        !self.backends.is_empty() || !self.states.is_empty()
    }

    /// Whether an event may be meant, by all but its body and what became of it.
    pub(super) fn may_fit(&self, position: Position, summary: &Summary) -> bool {
        let listed =
            |list: &[String], text: &str| list.is_empty() || list.iter().any(|one| one == text);
        (self.ids.is_empty() || self.ids.contains(&position))
            && listed(&self.deliveries, &summary.delivery)
            && listed(&self.sources, &summary.source)
            && self.since.is_none_or(|since| summary.received >= since)
            && self.until.is_none_or(|until| summary.received < until)
    }

    /// Whether what became of an event at a backend is meant.
    pub(super) fn fits_backend(&self, backend: &str, became: Became) -> bool {
        (self.backends.is_empty() || self.backends.iter().any(|name| name == backend))
            && (self.states.is_empty() || self.states.contains(&became))
    }

    /// Whether it asks what an event says of itself.
    pub(super) const fn wants_facts(&self) -> bool {
        !self.events.is_empty() || !self.actions.is_empty() || !self.repositories.is_empty()
    }

    /// Whether that fits. What is unknown fits nothing.
    pub(super) fn fits_facts(&self, facts: &Facts) -> bool {
        let listed = |list: &[String], fact: &Option<Box<str>>| {
            list.is_empty()
                || fact.as_ref().is_some_and(|fact| list.iter().any(|one| **one == **fact))
        };
        let globbed = |name: &str| self.repositories.iter().any(|glob| glob.matches(name));
        listed(&self.events, &facts.event)
            && listed(&self.actions, &facts.action)
            && (self.repositories.is_empty() || facts.repository.as_deref().is_some_and(globbed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2026-01-02T03:00:00Z";

    fn parse(text: &str) -> Result<Query, String> {
        Query::parse(text, NOW.parse().unwrap())
    }

    #[test]
    fn a_query_selects() {
        let query = parse(
            "id=1&id=7&source=a&backend=b&state=dead&event=push&since=1h&until=2026-01-02T02%3A30:00+00:00&limit=5&continue=9&dryRun",
        );
        let query = query.unwrap();
        let selector = &query.selector;
        assert_eq!(selector.ids, [Position(1), Position(7)].into());
        assert_eq!(selector.since, Some("2026-01-02T02:00:00Z".parse().unwrap()));
        assert_eq!(selector.until, Some("2026-01-02T02:30:00Z".parse().unwrap()));
        assert!(selector.fits_backend("b", Became::Dead));
        assert!(!selector.fits_backend("b", Became::Waiting));
        assert!(!selector.fits_backend("c", Became::Dead));
        assert_eq!((query.limit, query.next), (5, Some(Position(9))));
        assert_eq!((query.dry_run, query.all), (true, false));
        assert!(parse("").unwrap().selector.is_empty());
        assert!(parse("limit=3&all=true").unwrap().selector.is_empty());
    }

    #[test]
    fn every_mistake_is_told_with_its_name() {
        for (text, why) in [
            ("id=x", "id: \"x\" is not the number of an event"),
            ("state=lost", "is not one of waiting"),
            ("repository=a%20b", "is not a pattern"),
            ("since=yesterday", "neither a duration"),
            ("limit=0", "from 1 to 500"),
            ("limit=501", "from 1 to 500"),
            ("dryRun=maybe", "true or false"),
            ("sourc=a", "is not known"),
            ("source=%ff", "is not UTF-8"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.contains(why), "{text}: {wrong}");
        }
        assert_eq!(parse("id=x&limit=0").unwrap_err().matches(';').count(), 1);
        assert!(parse(&"id=1&".repeat(VALUES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_query_panics(text in "[a-z]{0,6}[=&%a-zA-Z0-9.:+-]{0,60}") {
            let _ = parse(&text);
        }
    }
}
