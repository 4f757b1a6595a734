//! Who gave a request up that had begun.

/// Who gave a request up that had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aborter {
    /// The agent: it ends, or is short of memory.
    Agent,
    /// A person with the right to.
    Operator,
    /// The hub, which ends.
    Hub,
    /// The agent's file, which has no such listener any more, or another one in its place.
    Listener,
}

impl Aborter {
    pub(super) fn text(self, agent: &str) -> String {
        let who = match self {
            Self::Agent => &format!("{agent} gave the request up after it began"),
            Self::Operator => "an operator cut the request off",
            Self::Hub => "the hub ended before the request did",
            Self::Listener => "the agent's file took this listener away or changed it",
        };
        format!("{who}; it may have been executed")
    }
}
