//! What stands between a program and the machine.

use strait_types::{Classified, ErrorKind};

/// The least that a class of requests demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing but a process group, limits of time and output, and an empty environment.
    None,
    /// Also limits on files, system calls and resources, without new rights.
    Restricted,
    /// Also namespaces of its own.
    Namespaced,
    /// Also a user and a control group of its own.
    Dedicated,
}

/// A level that cannot be given here. The program must not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("isolation {level:?} is not available in this release: it has no {missing}")]
pub struct IsolationUnavailable {
    /// What was demanded.
    level: &'static str,
    /// What it would take.
    missing: &'static str,
}

impl Classified for IsolationUnavailable {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

impl Isolation {
    /// Every level, from the least to the most.
    pub const ALL: [Self; 4] = [Self::None, Self::Restricted, Self::Namespaced, Self::Dedicated];

    /// The word in configuration files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restricted => "restricted",
            Self::Namespaced => "namespaced",
            Self::Dedicated => "dedicated",
        }
    }

    /// The level of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }

    /// Whether programs can be isolated so.
    ///
    /// # Errors
    /// They cannot; the text names what is missing.
    pub const fn require(self) -> Result<(), IsolationUnavailable> {
        let missing = match self {
            Self::None => return Ok(()),
            Self::Restricted => "landlock, seccomp and resource limits",
            Self::Namespaced => "user, mount, process and network namespaces",
            Self::Dedicated => "users and control groups per request",
        };
        Err(IsolationUnavailable { level: self.as_str(), missing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_none_can_be_given_and_the_others_say_why() {
        for level in Isolation::ALL {
            assert_eq!(Isolation::from_word(level.as_str()), Some(level));
            assert_eq!(level.require().is_ok(), level == Isolation::None, "{level:?}");
        }
        assert_eq!(
            Isolation::Restricted.require().unwrap_err().to_string(),
            "isolation \"restricted\" is not available in this release: \
             it has no landlock, seccomp and resource limits"
        );
        assert_eq!(Isolation::from_word("best-effort"), None);
    }
}
