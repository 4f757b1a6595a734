//! What a caller says of one stage of a crossing.

use std::fmt;
use std::str::FromStr;

use strait_machinery::json::{Map, Value};

/// All texts of a record together have at most this many bytes. Written, a line is then shorter
/// than 100 KiB however much needs escaping.
pub const RECORD_BYTES_MAX: usize = 16 << 10;

/// How far a crossing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Somebody asked for it.
    Asked,
    /// A policy allowed or rejected it.
    Decided,
    /// Its effect is about to begin.
    Started,
    /// Its effect is over, or its outcome is unknown.
    Ended,
    /// The log itself: a torn tail was cut.
    Repaired,
    /// The log itself: lines that were written are missing.
    Truncated,
}

impl Stage {
    const ALL: [Self; 6] =
        [Self::Asked, Self::Decided, Self::Started, Self::Ended, Self::Repaired, Self::Truncated];

    /// The word in the line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Decided => "decided",
            Self::Started => "started",
            Self::Ended => "ended",
            Self::Repaired => "repaired",
            Self::Truncated => "truncated",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word is not a stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a stage (asked, decided, started, ended, repaired, truncated)")]
pub struct InvalidStage(String);

impl FromStr for Stage {
    type Err = InvalidStage;

    fn from_str(text: &str) -> Result<Self, InvalidStage> {
        let mut all = Self::ALL.into_iter();
        all.find(|stage| stage.as_str() == text).ok_or_else(|| InvalidStage(text.to_owned()))
    }
}

/// Who caused a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user: String,
    /// Its groups, in the order in which they were proved.
    pub groups: Vec<String>,
}

/// The request that crosses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// The logical cluster.
    pub cluster: String,
    /// The API group.
    pub group: String,
    /// The resource in the plural.
    pub resource: String,
    /// Empty if cluster-scoped.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
}

/// One line, but for what the log adds to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The request's uid.
    pub crossing: String,
    /// How far it is.
    pub stage: Stage,
    /// Who caused this stage.
    pub actor: Actor,
    /// The request.
    pub object: Object,
    /// The rule that decided, or empty.
    pub rule: String,
    /// What came of the stage, or empty.
    pub outcome: String,
}

impl Record {
    /// A line about the log itself.
    pub(crate) fn of_the_log(stage: Stage, outcome: String) -> Self {
        Self {
            crossing: String::new(),
            stage,
            actor: Actor { user: "system:strait:audit".to_owned(), groups: Vec::new() },
            object: Object::default(),
            rule: String::new(),
            outcome,
        }
    }

    /// Bytes of all texts.
    pub(crate) fn size(&self) -> usize {
        let Object { cluster, group, resource, namespace, name, uid } = &self.object;
        let fields = [cluster, group, resource, namespace, name, uid];
        let fields =
            fields.into_iter().chain([&self.crossing, &self.actor.user, &self.rule, &self.outcome]);
        // A group also takes quotes and a comma.
        let groups = self.actor.groups.iter().map(|group| group.len() + 3);
        fields.map(String::len).chain(groups).sum()
    }

    /// Puts the record's members into a line.
    pub(crate) fn write_into(&self, line: &mut Map) {
        let groups: Vec<Value> = self.actor.groups.iter().map(|g| g.as_str().into()).collect();
        let actor =
            [("user", Value::from(self.actor.user.as_str())), ("groups", Value::Array(groups))];
        let object = &self.object;
        let object = [
            ("cluster", object.cluster.as_str()),
            ("group", object.group.as_str()),
            ("resource", object.resource.as_str()),
            ("namespace", object.namespace.as_str()),
            ("name", object.name.as_str()),
            ("uid", object.uid.as_str()),
        ];
        line.insert("crossing", self.crossing.as_str());
        line.insert("stage", self.stage.as_str());
        line.insert("actor", Value::Object(actor.into_iter().collect()));
        line.insert("object", Value::Object(object.into_iter().collect()));
        line.insert("rule", self.rule.as_str());
        line.insert("outcome", self.outcome.as_str());
    }

    /// Reads the record's members of a line; none if one is missing or of another type.
    pub(crate) fn read_from(line: &Value) -> Option<Self> {
        let text = |path: &[&str]| line.str_at(path).map(str::to_owned);
        let groups = line.at(&["actor", "groups"])?.as_array()?;
        let groups = groups.iter().map(|group| group.as_str().map(str::to_owned));
        Some(Self {
            crossing: text(&["crossing"])?,
            stage: line.str_at(&["stage"])?.parse().ok()?,
            actor: Actor {
                user: text(&["actor", "user"])?,
                groups: groups.collect::<Option<_>>()?,
            },
            object: Object {
                cluster: text(&["object", "cluster"])?,
                group: text(&["object", "group"])?,
                resource: text(&["object", "resource"])?,
                namespace: text(&["object", "namespace"])?,
                name: text(&["object", "name"])?,
                uid: text(&["object", "uid"])?,
            },
            rule: text(&["rule"])?,
            outcome: text(&["outcome"])?,
        })
    }
}
