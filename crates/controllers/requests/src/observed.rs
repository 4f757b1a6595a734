//! What matters of an object, small enough to keep for every one that waits.

use std::time::Duration;

use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_machinery::json::parse;
use strait_reconcile::Object;
use strait_runtime::units::parse_duration;

use crate::config::Mapping;
use crate::execution::SpecHash;
use crate::pointer::Pointer;

/// Set by the hub at creation and never changed: JSON with the name of who asked.
const REQUESTER: &str = "requests.strait.dev/requester";

/// Begins every claim; an agent's instance id ends it, so that of two agents that see one
/// request only one can claim it, and an agent knows another's claim from its own.
pub(crate) const CLAIM_PREFIX: &str = "requests.strait.dev/agent-";

/// What an object says, but for what it asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observed {
    /// By the hub's clock.
    pub(crate) created: Option<Timestamp>,
    pub(crate) generation: i64,
    pub(crate) deleting: bool,
    /// Whether cancellation was asked for.
    pub(crate) cancel: bool,
    pub(crate) claim: Claim,
    /// From the creation; an unreadable one counts as passed.
    pub(crate) deadline: Option<Duration>,
    pub(crate) spec_hash: SpecHash,
    pub(crate) phase: Phase,
}

/// Which agent's finalizer an object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// None's.
    Free,
    /// This one's.
    Ours,
    /// Another's.
    Foreign,
}

/// The public phase, as the hub has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// None, or one that nobody of us writes.
    None,
    Pending,
    Accepted,
    Claimed,
    Starting,
    Running,
    Cancelling,
    Indeterminate,
    Succeeded,
    Failed,
    Rejected,
    Cancelled,
    TimedOut,
}

impl Phase {
    const ALL: [Self; 12] = [
        Self::Pending,
        Self::Accepted,
        Self::Claimed,
        Self::Starting,
        Self::Running,
        Self::Cancelling,
        Self::Indeterminate,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::Cancelled,
        Self::TimedOut,
    ];

    /// The word in the status.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Pending => "Pending",
            Self::Accepted => "Accepted",
            Self::Claimed => "Claimed",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Cancelling => "Cancelling",
            Self::Indeterminate => "Indeterminate",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Rejected => "Rejected",
            Self::Cancelled => "Cancelled",
            Self::TimedOut => "TimedOut",
        }
    }

    fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word).unwrap_or(Self::None)
    }

    /// Whether nothing follows.
    pub(crate) const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Rejected | Self::Cancelled | Self::TimedOut
        )
    }

    /// Whether the work may have begun: somebody claimed it and it is not over.
    pub(crate) const fn is_claimed(self) -> bool {
        matches!(
            self,
            Self::Claimed | Self::Starting | Self::Running | Self::Cancelling | Self::Indeterminate
        )
    }
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// Who, as the hub recorded it.
    pub(crate) user: Option<String>,
    /// What is given to the class.
    pub(crate) params: Value,
}

/// Reads an object; `claim` is this agent's own finalizer.
pub(crate) fn observe(mapping: &Mapping, claim: &str, object: &Object) -> (Observed, Asked) {
    let value = &object.value;
    let asked = Asked {
        user: object.annotation(REQUESTER).and_then(requester),
        params: params(mapping, value),
    };
    let found = |place: &Option<Pointer>| place.as_ref().and_then(|place| place.find(value));
    let deadline = found(&mapping.deadline).filter(|value| !value.is_null());
    let deadline = deadline.map(|value| {
        let text = value.as_str().unwrap_or_default();
        parse_duration(text).unwrap_or_default()
    });
    let metadata = |field: &str| value.at(&["metadata", field]);
    let created = metadata("creationTimestamp").and_then(Value::as_str);
    let block = value.get("status").and_then(|status| mapping.block.find(status));
    let phase = block.and_then(|block| block.str_at(&["phase"])).unwrap_or_default();
    let observed = Observed {
        created: created.and_then(|created| created.parse().ok()),
        generation: metadata("generation").and_then(Value::as_i64).unwrap_or_default(),
        deleting: object.is_deleting(),
        cancel: found(&mapping.cancel).and_then(Value::as_bool).unwrap_or_default(),
        claim: claim_of(claim, object),
        deadline,
        spec_hash: SpecHash::of(&asked.params),
        phase: Phase::of(phase),
    };
    (observed, asked)
}

fn requester(annotation: &str) -> Option<String> {
    let value = parse(annotation.as_bytes()).ok()?;
    value.str_at(&["user"]).map(str::to_owned)
}

/// The parameters without what steers the request rather than the work: asking for its end must
/// not make it another request.
fn params(mapping: &Mapping, value: &Value) -> Value {
    let mut params = mapping.params.find(value).cloned().unwrap_or_default();
    let steering = [&mapping.cancel, &mapping.deadline];
    for place in steering.into_iter().flatten().filter_map(|place| place.below(&mapping.params)) {
        place.remove(&mut params);
    }
    params
}

fn claim_of(ours: &str, object: &Object) -> Claim {
    let mut claim = Claim::Free;
    for finalizer in object.finalizers() {
        if finalizer == ours {
            return Claim::Ours;
        }
        if finalizer.starts_with(CLAIM_PREFIX) {
            claim = Claim::Foreign;
        }
    }
    claim
}

impl Observed {
    /// When the request's own deadline passes, by the hub's clock.
    pub(crate) fn deadline_at(&self) -> Option<Timestamp> {
        self.created?.checked_add(self.deadline?).ok()
    }
}
