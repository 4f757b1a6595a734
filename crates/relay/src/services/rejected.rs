//! What a hub is told of a configuration that its agent does not take: where the mistake is and of
//! which kind. Nothing that stands in the file is in it, nor where the file is.

use std::path::Path;

use serde::{Deserialize, Serialize};
use strait_machinery::yaml::Mistake;

/// A configuration that is not taken; what was taken before it holds on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The name of the file with the first mistake, without its directory; empty where it is about
    /// no file.
    pub file: String,
    /// The line of that, from 1; 0 where it is in no line.
    #[serde(default)]
    pub line: usize,
    /// The character in that line, from 1; 0 where there is none.
    #[serde(default)]
    pub column: usize,
    /// Of which kind it is.
    pub why: Why,
    /// How many mistakes there are beside it.
    #[serde(default)]
    pub more: usize,
}

/// A kind of mistakes. What this release does not know is [`Invalid`]: whatever the other side
/// writes, people are shown one of these.
///
/// [`Invalid`]: Self::Invalid
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The file cannot be read.
    Unreadable,
    /// A listener cannot have its address.
    Listen,
    /// Something has to be there.
    Required,
    /// Something is there twice.
    Duplicate,
    /// A value is none of those that there are.
    Unsupported,
    /// Something may not be there.
    Forbidden,
    /// Anything else.
    #[serde(other)]
    Invalid,
}

impl Rejected {
    /// Of files that were read and have mistakes; none where there is no mistake.
    #[must_use]
    pub fn of(mistakes: &[Mistake]) -> Option<Self> {
        let first = mistakes.first()?;
        let file = Path::new(&first.file).file_name().unwrap_or_default();
        Some(Self {
            file: file.to_string_lossy().into_owned(),
            line: first.position.line,
            column: first.position.column,
            why: Why::of(&first.message),
            more: mistakes.len() - 1,
        })
    }

    /// Of what is in no line.
    #[must_use]
    pub fn elsewhere(why: Why, count: usize) -> Self {
        Self { file: String::new(), line: 0, column: 0, why, more: count.saturating_sub(1) }
    }
}

impl Why {
    /// Of a mistake's text, which begins with a field and goes on in the words of Kubernetes.
    fn of(message: &str) -> Self {
        let words = [
            (": Required value", Self::Required),
            (": Duplicate value", Self::Duplicate),
            (": Unsupported value", Self::Unsupported),
            (": Forbidden", Self::Forbidden),
            (": Invalid value", Self::Invalid),
        ];
        let found = words.iter().filter_map(|(words, why)| Some((message.find(words)?, *why)));
        found.min_by_key(|(at, _)| *at).map_or(Self::Invalid, |(_, why)| why)
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Unreadable => "a file cannot be read",
            Self::Listen => "a listener cannot have its address",
            Self::Required => "a value is required",
            Self::Duplicate => "a value is there twice",
            Self::Unsupported => "a value is not supported",
            Self::Forbidden => "something may not be there",
            Self::Invalid => "something is not valid",
        }
    }
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, column, why, more } = self;
        if !file.is_empty() {
            write!(f, "{file}:{line}:{column}: ")?;
        }
        f.write_str(why.text())?;
        if *more > 0 {
            write!(f, ", and {more} more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use strait_machinery::yaml::Position;

    use super::*;
    use crate::link::control::Message;

    #[test]
    fn a_place_and_a_kind_are_told_and_nothing_that_stands_there() {
        for (message, expected) in [
            ("services[0].type: Unsupported value: \"x\"", "a value is not supported"),
            ("services[0].url: Required value: an address", "a value is required"),
            ("services[1].name: Duplicate value: \"ci\"", "a value is there twice"),
            ("services[0].tls.insecure: Forbidden: not here", "something may not be there"),
            ("url: Invalid value: \"x: Forbidden\": no URL", "something is not valid"),
            ("expected ':' after \"canary.internal\"", "something is not valid"),
        ] {
            let mistake = |line| Mistake {
                file: "/etc/canary/agent.yaml".into(),
                position: Position { line, column: 7 },
                message: format!("{message} canary.internal /canary"),
            };
            let rejected = Rejected::of(&[mistake(3), mistake(4)]).unwrap();
            assert_eq!(rejected.to_string(), format!("agent.yaml:3:7: {expected}, and 1 more"));
            let sent = serde_json::to_string(&rejected).unwrap();
            assert!(!sent.contains("canary"), "{sent}");
            assert_eq!(serde_json::from_str::<Rejected>(&sent).unwrap(), rejected);
        }
        assert_eq!(Rejected::of(&[]), None);
        let listen = Rejected::elsewhere(Why::Listen, 1).to_string();
        assert_eq!(listen, "a listener cannot have its address");
        let said = r#"{"t":"config","rejected":{"file":"a","why":"Required"}}"#;
        let Ok(Message::Config { rejected: Some(rejected) }) = serde_json::from_str(said) else {
            panic!("{said}");
        };
        assert_eq!(rejected.to_string(), "a:0:0: a value is required");
        let none = serde_json::from_str::<Message>(r#"{"t":"config"}"#).unwrap();
        assert_eq!(none, Message::Config { rejected: None });
        let later = serde_json::from_str::<Rejected>(r#"{"file":"a","why":"Haunted","new":1}"#);
        assert_eq!(later.unwrap().why, Why::Invalid);
    }
}
