//! Which events are meant, as it can be typed.

use clap::{Args, ValueEnum};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What need not be escaped in a query (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/');

/// Which events; those that fit everything that is given.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Events")]
pub(crate) struct SelectArgs {
    /// Only this event: its number, or the sender's id of the delivery; may be given again
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,

    /// Only events of this source; may be given again
    #[arg(long = "source", value_name = "NAME")]
    sources: Vec<String>,

    /// Only events of this backend, and what became of them there; may be given again
    #[arg(long = "backend", value_name = "NAME")]
    backends: Vec<String>,

    /// Only events of which this became at a backend; may be given again
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<State>,

    /// Only this event in the sender's word, for example push; may be given again
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,

    /// Only this action, for example opened; may be given again
    #[arg(long = "action", value_name = "ACTION")]
    actions: Vec<String>,

    /// Only repositories that fit, for example 'acme/*'; may be given again
    #[arg(long = "repository", value_name = "PATTERN")]
    repositories: Vec<String>,

    /// Only events since then: a time (RFC 3339), or how long ago, for example 1h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Only events before then, written alike
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    Waiting,
    Dead,
    Delivered,
    Filtered,
    Purged,
}

impl SelectArgs {
    /// The same, of dead letters only.
    pub(crate) fn dead(&self) -> Self {
        Self { states: vec![State::Dead], ..self.clone() }
    }

    /// Whether nothing is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.query().is_empty()
    }

    /// As a query, without `?`.
    pub(crate) fn query(&self) -> String {
        let mut query = Query::default();
        for id in &self.ids {
            let is_number = id.bytes().all(|byte| byte.is_ascii_digit());
            query.add(if is_number { "id" } else { "delivery" }, id);
        }
        let lists = [
            ("source", &self.sources),
            ("backend", &self.backends),
            ("event", &self.events),
            ("action", &self.actions),
            ("repository", &self.repositories),
        ];
        for (name, values) in lists {
            values.iter().for_each(|value| query.add(name, value));
        }
        for state in &self.states {
            let value = state.to_possible_value();
            query.add("state", value.as_ref().map_or("", |value| value.get_name()));
        }
        for (name, value) in [("since", &self.since), ("until", &self.until)] {
            value.iter().for_each(|value| query.add(name, value));
        }
        query.0
    }
}

/// A query that grows.
#[derive(Default)]
pub(crate) struct Query(pub(crate) String);

impl Query {
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, ESCAPED));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        select: SelectArgs,
    }

    #[test]
    fn what_is_typed_becomes_a_query() {
        for (line, expected) in [
            ("", ""),
            ("--id 7 --id 72d3-aa", "id=7&delivery=72d3-aa"),
            ("--backend b --state dead --state waiting", "backend=b&state=dead&state=waiting"),
            ("--event push --repository acme/*", "event=push&repository=acme/%2A"),
            (
                "--since 1h --until 2026-01-02T03:04:05+01:00",
                "since=1h&until=2026-01-02T03:04:05%2B01:00",
            ),
            ("--source a&all=true", "source=a%26all%3Dtrue"),
        ] {
            let words = ["x"].into_iter().chain(line.split_whitespace());
            assert_eq!(
                Line::try_parse_from(words).ok().unwrap().select.query(),
                expected,
                "{line}"
            );
        }
        assert!(Line::try_parse_from(["x", "--state", "lost"]).is_err());
        let dead = Line::try_parse_from(["x", "--backend", "b"]).ok().unwrap().select.dead();
        assert_eq!(dead.query(), "backend=b&state=dead");
    }
}
