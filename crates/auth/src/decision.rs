//! What an authorizer answers.

/// An answer with its reason. Reasons of refusals may reach the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Yes, and nobody else is asked.
    Allow(String),
    /// No, and nobody else is asked.
    Deny(String),
    /// Not known here; if nobody knows, no.
    NoOpinion(String),
}

impl Decision {
    /// Whether this is a yes.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// The reason given.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Allow(reason) | Self::Deny(reason) | Self::NoOpinion(reason) => reason,
        }
    }

    /// This answer, or the next one's where this one does not know.
    pub fn or_else(self, next: impl FnOnce() -> Self) -> Self {
        match self {
            Self::NoOpinion(own) => match next() {
                Self::NoOpinion(other) if other.is_empty() => Self::NoOpinion(own),
                decided => decided,
            },
            decided => decided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_who_knows_decides() {
        let unknown = || Decision::NoOpinion(String::new());
        let yes = || Decision::Allow("a".into());
        let no = || Decision::Deny("d".into());
        assert_eq!(unknown().or_else(yes), yes());
        assert_eq!(no().or_else(yes), no());
        assert_eq!(yes().or_else(no), yes());
        assert!(!unknown().or_else(unknown).is_allowed());
    }
}
