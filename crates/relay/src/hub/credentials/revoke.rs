//! Revoking.

use std::sync::Arc;

use strait_apiserver::behaviour::Admission;
use strait_auth::User;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_types::ClusterName;

use super::Credentials;
use crate::credential::{Subject, Within};
use crate::hub::revocations::from_now;

/// Longest identifier or user name that can be revoked, characters.
const NAME_MAX: usize = 1024;

impl Credentials {
    /// Revokes at an agent or at one of its services: `{credential}`, `{user}`, or `{}` for all.
    pub(in crate::hub) async fn revoke_at(
        &self,
        admission: &Admission<'_>,
        name: &str,
        (agent, service): (&str, Option<&str>),
        options: &Value,
    ) -> Result<Value, Status> {
        let cluster: Arc<str> = admission.cluster.as_str().into();
        let within = match service {
            Some(service) => Within::Service(cluster, agent.into(), service.into()),
            None => Within::Agent(cluster, agent.into()),
        };
        let subject = match named(options, &["credential", "user"])? {
            Some(("credential", id)) => Subject::Credential(within, id.into()),
            Some((_, user)) => Subject::User(within, user.into()),
            None => Subject::All(within),
        };
        let resource = if service.is_some() { "services" } else { "agents" };
        let object = (admission.cluster, resource, Some(name));
        self.revoke(admission.user, object, subject).await
    }

    /// Revokes everywhere: one of `{credential}`, `{user}`, `{key}`. For the hub's operators.
    ///
    /// # Errors
    /// It says none of them or several, or nothing can be written.
    pub async fn revoke_everywhere(&self, user: &User, options: &Value) -> Result<Value, Status> {
        let subject = match named(options, &["credential", "user", "key"])? {
            Some(("credential", id)) => Subject::Credential(Within::Hub, id.into()),
            Some(("user", name)) => Subject::User(Within::Hub, name.into()),
            Some((_, id)) => Subject::Key(id.into()),
            None => return Err(Status::bad_request("one of credential, user, key is needed")),
        };
        let home = ClusterName::root();
        self.revoke(user, (&home, "services", None), subject).await
    }

    async fn revoke(
        &self,
        user: &User,
        object: (&ClusterName, &str, Option<&str>),
        subject: Subject,
    ) -> Result<Value, Status> {
        let revocation = from_now(subject, &user.name, self.registry.clock().now());
        let what = format!("relay.credential.revoke {}", told(&revocation.subject));
        // Where nothing can be recorded, nothing crosses either.
        self.record(user, object, "", what).await?;
        self.revocations.add(&revocation).await?;
        Ok(object! {
            "apiVersion": "relay.strait.dev/v1alpha1",
            "kind": "ServiceRevocation",
            "revoked": told(&revocation.subject),
            "at": revocation.at.to_string(),
            "until": revocation.until.to_string(),
        })
    }
}

/// What is revoked, for people.
fn told(subject: &Subject) -> String {
    let within = |within: &Within| match within {
        Within::Hub => "everywhere".to_owned(),
        Within::Agent(_, agent) => format!("at agent {agent}"),
        Within::Service(_, agent, service) => format!("at {agent}/{service}"),
    };
    match subject {
        Subject::Key(id) => format!("every token by key {id}"),
        Subject::Credential(place, id) => format!("credential {id} {}", within(place)),
        Subject::User(place, user) => format!("every credential of {user} {}", within(place)),
        Subject::All(place) => format!("every token {}", within(place)),
    }
}

/// The one of these fields that is given, if one is.
fn named<'a>(
    options: &'a Value,
    fields: &[&'static str],
) -> Result<Option<(&'static str, &'a str)>, Status> {
    let mut given = fields.iter().filter_map(|field| Some((*field, options.get(field)?)));
    let Some((field, value)) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(Status::bad_request(format!("only one of {} can be given", fields.join(", "))));
    }
    let text = value.as_str().filter(|text| (1..=NAME_MAX).contains(&text.chars().count()));
    let bad =
        || Status::bad_request(format!("{field}: must be a text of at most {NAME_MAX} characters"));
    Ok(Some((field, text.ok_or_else(bad)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_revoked_at_a_time() {
        let parsed = |text: &str| strait_machinery::json::parse(text.as_bytes()).unwrap();
        let fields = ["credential", "user"];
        for (text, expected) in [
            ("{}", Some(None)),
            (r#"{"key":"k"}"#, Some(None)),
            (r#"{"user":"alice"}"#, Some(Some(("user", "alice")))),
            (r#"{"user":"alice","credential":"t"}"#, None),
            (r#"{"user":""}"#, None),
            (r#"{"user":1}"#, None),
        ] {
            assert_eq!(named(&parsed(text), &fields).ok(), expected, "{text}");
        }
    }
}
