//! Lines of the audit log about agents and credentials, before what they say is done.

use strait_audit::{Actor, AuditLog, Object, Record, Stage};
use strait_auth::User;
use strait_machinery::status::Status;
use strait_types::{ClusterName, Report};

/// Records what a user is about to do to an object; `id` names the credential that it is about.
///
/// # Errors
/// It cannot be recorded, so it must not be done.
pub(super) async fn append(
    audit: &AuditLog,
    user: &User,
    (cluster, resource, name): (&ClusterName, &str, &str),
    id: &str,
    what: String,
) -> Result<(), Status> {
    let record = Record {
        crossing: id.to_owned(),
        stage: Stage::Started,
        actor: Actor {
            user: user.name.to_string(),
            groups: user.groups.iter().map(ToString::to_string).collect(),
        },
        object: Object {
            cluster: cluster.to_string(),
            group: "relay.strait.dev".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..Object::default()
        },
        rule: String::new(),
        outcome: what,
    };
    let appended = audit.append(vec![record]).await;
    appended.map(drop).map_err(|error| {
        tracing::error!(err = %Report(&error), "an agent or a credential cannot be recorded");
        Status::unavailable("this cannot be recorded now, so it was not done").retry_after(1)
    })
}
