//! Puts crossings on the hub's audit log.

use futures_util::future::BoxFuture;
use strait_apiserver::crossing::{Crossings, Entry, Stage, Unrecorded};
use strait_audit::{Actor, AuditLog, Object, Record};

/// Records in the hub's audit log.
pub(crate) struct Recorder(pub(crate) AuditLog);

impl Crossings for Recorder {
    fn record(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), Unrecorded>> {
        Box::pin(async move {
            let records = entries.into_iter().map(record).collect();
            self.0.append(records).await.map(|_| ()).map_err(|_| Unrecorded)
        })
    }
}

fn record(entry: Entry) -> Record {
    Record {
        stage: match entry.stage {
            Stage::Asked => strait_audit::Stage::Asked,
            Stage::Decided => strait_audit::Stage::Decided,
            Stage::Started => strait_audit::Stage::Started,
            Stage::Ended => strait_audit::Stage::Ended,
        },
        actor: Actor {
            user: entry.user.name.to_string(),
            groups: entry.user.groups.iter().map(ToString::to_string).collect(),
        },
        object: Object {
            cluster: entry.key.cluster.to_string(),
            group: entry.key.resource.group().to_owned(),
            resource: entry.key.resource.resource().to_owned(),
            namespace: entry.key.name.namespace().unwrap_or_default().to_owned(),
            name: entry.key.name.name().to_owned(),
            uid: entry.crossing.clone(),
        },
        crossing: entry.crossing,
        rule: String::new(),
        outcome: entry.outcome,
    }
}
