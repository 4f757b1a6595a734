//! What happens beside crossings.

use strait_audit::{Actor, Object, Record, Stage};

use super::clip;

/// What happened to an agent, or to what one goes by.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Who did it.
    pub user: &'a str,
    /// The logical cluster; empty for none.
    pub cluster: &'a str,
    /// The agent, or who offers services.
    pub agent: &'a str,
    /// Its installation; empty where it is about none.
    pub instance: &'a str,
    /// The event's name and what else there is to it. Nothing secret.
    pub what: String,
}

impl Event<'_> {
    pub(super) fn record(self) -> Record {
        let Self { user, cluster, agent, instance, mut what } = self;
        clip(&mut what);
        Record {
            crossing: instance.to_owned(),
            stage: Stage::Started,
            actor: Actor { user: user.to_owned(), groups: Vec::new() },
            object: Object {
                cluster: cluster.to_owned(),
                group: "relay.strait.dev".into(),
                resource: "agents".into(),
                name: agent.to_owned(),
                ..Object::default()
            },
            rule: String::new(),
            outcome: what,
        }
    }
}
