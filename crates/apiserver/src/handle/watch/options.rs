//! What a watch asks for.

use std::time::Duration;

use strait_machinery::field::FieldError;
use strait_machinery::json::Path;
use strait_machinery::status::Status;
use strait_runtime::Entropy;
use strait_types::Revision;

use crate::query::Query;
use crate::registry::{parse_revision, refuse};

/// Where a watch ends by itself if the client names no time: at random between this and twice
/// as much, so that clients do not come back all at once.
const DEFAULT_LIFE: Duration = Duration::from_secs(1800);

/// What a watch asks for.
pub(super) struct WatchOptions {
    pub(super) revision: Option<Revision>,
    pub(super) bookmarks: bool,
    initial_events: Option<bool>,
    pub(super) life: Duration,
}

impl WatchOptions {
    /// Reads a query.
    ///
    /// # Errors
    /// 400 or 422 as kube-apiserver answers such queries.
    pub(super) fn parse(query: &Query, entropy: &dyn Entropy) -> Result<Self, Status> {
        let life = query.seconds("timeoutSeconds")?;
        query.integer("limit")?;
        let initial_events =
            query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        check(query, initial_events.is_some())?;
        let revision = query.get("resourceVersion").filter(|version| !version.is_empty());
        let revision = revision.map(parse_revision).transpose()?;
        let life = life.unwrap_or_else(|| {
            let mut random = [0; 2];
            entropy.fill(&mut random);
            let share = f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX);
            DEFAULT_LIFE.mul_f64(1.0 + share)
        });
        Ok(Self { revision, bookmarks: query.flag("allowWatchBookmarks"), initial_events, life })
    }

    /// Whether the state comes before the changes.
    pub(super) fn starts_with_state(&self) -> bool {
        self.initial_events.unwrap_or_else(|| self.names_no_revision())
    }

    /// Whether only changes from now on are wanted.
    pub(super) fn starts_now(&self) -> bool {
        self.initial_events == Some(false) && self.names_no_revision()
    }

    /// Whether a bookmark tells where the state ends.
    pub(super) fn marks_end_of_state(&self) -> bool {
        self.initial_events == Some(true) && self.bookmarks
    }

    fn names_no_revision(&self) -> bool {
        self.revision.is_none_or(|revision| revision == Revision::ZERO)
    }
}

/// Combinations that make no sense
/// (`apimachinery/pkg/apis/meta/internalversion/validation`).
fn check(query: &Query, chooses_state: bool) -> Result<(), Status> {
    let given = |name: &str| query.get(name).filter(|text| !text.is_empty());
    let path = || Path::of(&["resourceVersionMatch"]);
    let word = given("resourceVersionMatch");
    let goes_on = given("continue").is_some();
    let mut errors = Vec::new();
    if chooses_state && word != Some("NotOlderThan") {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(path(), why));
    }
    if let Some(word) = word {
        if !chooses_state {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden(path(), why));
        }
        if word != "NotOlderThan" {
            errors.push(FieldError::not_supported(path(), word, vec!["NotOlderThan".to_owned()]));
        }
    }
    // A watch from no revision counts as one with a match.
    if goes_on && (word.is_some() || matches!(given("resourceVersion"), None | Some("0"))) {
        let why = "resourceVersionMatch is forbidden when continue is provided";
        errors.push(FieldError::forbidden(path(), why));
    }
    refuse(&errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_runtime::SeededEntropy;

    fn parse(query: &str) -> Result<WatchOptions, Status> {
        WatchOptions::parse(&Query::parse(query), &SeededEntropy::new(1))
    }

    #[test]
    fn options_decide_where_a_watch_begins() {
        let state = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        let changes = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
        for (query, with_state, now) in [
            (String::new(), true, false),
            ("resourceVersion=0".into(), true, false),
            ("resourceVersion=5".into(), false, false),
            (state.into(), true, false),
            (format!("{state}&resourceVersion=5"), true, false),
            (changes.into(), false, true),
            (format!("{changes}&resourceVersion=5"), false, false),
        ] {
            let options = parse(&query).unwrap();
            assert_eq!(
                (options.starts_with_state(), options.starts_now()),
                (with_state, now),
                "{query}"
            );
        }
    }

    #[test]
    fn combinations_without_sense_are_refused() {
        for (query, code, errors) in [
            ("sendInitialEvents=true", 422, 1),
            ("sendInitialEvents=false", 422, 1),
            ("sendInitialEvents=true&resourceVersionMatch=Exact", 422, 2),
            ("resourceVersionMatch=NotOlderThan&resourceVersion=1", 422, 1),
            ("resourceVersionMatch=x", 422, 2),
            ("continue=x", 422, 1),
            ("limit=x", 400, 0),
            ("timeoutSeconds=x", 400, 0),
            ("resourceVersion=x", 400, 0),
        ] {
            let status = parse(query).err().unwrap();
            let causes = status.details.map_or(0, |details| details.causes.len());
            assert_eq!((status.code, causes), (code, errors), "{query}");
        }
    }

    #[test]
    fn a_watch_that_names_no_time_lasts_half_an_hour_to_an_hour() {
        let life = parse("").unwrap().life;
        assert!(life >= DEFAULT_LIFE && life <= 2 * DEFAULT_LIFE);
        assert_eq!(parse("timeoutSeconds=5").unwrap().life, Duration::from_secs(5));
    }
}
