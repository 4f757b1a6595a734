//! Lists of services out of their parts.

use super::{Announced, Services};

/// Most services in a list.
pub const SERVICES_MAX: usize = 1_024;

/// Most parts of a list: more than what a configuration of the largest size takes.
const PARTS_MAX: u32 = 256;

/// What a part did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Others have to follow.
    More,
    /// It was the last: this is the list.
    Whole {
        /// The list's number.
        r#gen: i64,
        /// Of the list.
        hash: String,
        /// All services.
        list: Vec<Announced>,
    },
    /// The list cannot be taken; this is why.
    Refused(&'static str),
}

/// Puts lists together. A part that does not follow the one before it makes the list fail, and
/// one that begins a list begins it anew.
#[derive(Debug, Default)]
pub struct Lists {
    /// What came, of a list that is not whole; `part` is the last that came.
    pub(super) begun: Option<Services>,
}

impl Lists {
    /// Takes a part.
    pub fn take(&mut self, part: Services) -> Taken {
        let begun = self.begun.take();
        if part.part == 0 || part.part > part.of || part.of > PARTS_MAX {
            return Taken::Refused("its parts are misnumbered");
        }
        let mut whole = match begun {
            _ if part.part == 1 => part,
            Some(mut begun) if follows(&begun, &part) => {
                begun.part = part.part;
                begun.list.extend(part.list);
                begun
            }
            _ => return Taken::Refused("a part of it is missing"),
        };
        if whole.list.len() > SERVICES_MAX {
            return Taken::Refused("it has more than 1024 services");
        }
        if whole.part < whole.of {
            self.begun = Some(whole);
            return Taken::More;
        }
        whole.list.sort_by(|one, other| one.name.cmp(&other.name));
        if whole.list.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Taken::Refused("two of its services have one name");
        }
        Taken::Whole { r#gen: whole.r#gen, hash: whole.hash, list: whole.list }
    }
}

fn follows(begun: &Services, part: &Services) -> bool {
    begun.part + 1 == part.part
        && (begun.of, begun.r#gen, &begun.hash) == (part.of, part.r#gen, &part.hash)
}
