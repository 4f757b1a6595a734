//! Where values were written.

use super::Position;
use crate::json::{Path, Segment};

/// The places of a value and of everything inside it. A member's place is that of its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    pub(super) position: Position,
    pub(super) inside: Inside,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Inside {
    Nothing,
    Elements(Vec<Places>),
    /// Sorted by key.
    Members(Vec<(Box<str>, Places)>),
}

impl Places {
    /// Where the value itself was written.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Where the value at a path was written or, if there is none, what was to hold it.
    #[must_use]
    pub fn nearest(&self, path: &Path) -> Position {
        let mut place = self;
        for segment in path.segments() {
            let next = match (segment, &place.inside) {
                (Segment::Index(at), Inside::Elements(elements)) => elements.get(*at),
                (Segment::Field(name) | Segment::Key(name), Inside::Members(members)) => {
                    let at = members.binary_search_by(|(key, _)| key.cmp(name));
                    at.ok().map(|at| &members[at].1)
                }
                _ => None,
            };
            let Some(next) = next else {
                break;
            };
            place = next;
        }
        place.position
    }
}
