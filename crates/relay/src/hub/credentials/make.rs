//! Making of tokens.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_apiserver::behaviour::Admission;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_net::Network;
use strait_runtime::random_16;
use strait_runtime::units::{format_duration, parse_duration};
use strait_types::{InstanceId, Report};

use super::{Credentials, subjects};
use crate::credential::{Claims, SignError, Subjects, clipped_life};

/// Verbs that a token can be bound to.
const VERBS: [&str; 5] = ["get", "create", "update", "patch", "delete"];
/// Networks that a token can be bound to, at most.
const NETWORKS_MAX: usize = 16;
impl Credentials {
    /// Makes a token for whoever asks, for one service of an agent. `options`: `{ttl, verbs,
    /// networks}`.
    ///
    /// # Errors
    /// The options are out of bounds, the service is not there, or nothing can be written.
    pub(in crate::hub) async fn make(
        &self,
        admission: &Admission<'_>,
        (agent, service): (&Object, &Value),
        options: &Value,
    ) -> Result<Value, Status> {
        let options = Options::of(options)?;
        let (life, clipped) = clipped_life(options.life, self.life_max);
        let key_is_revoked = |id: &str| self.key_is_revoked(id);
        let keys = self.keys.signing(key_is_revoked).await?;
        let key = keys.ring.current().id();
        let random = InstanceId::from_random(random_16(self.registry.entropy()));
        let spec = |field| service.str_at(&["spec", field]).unwrap_or_default().to_owned();
        let user = admission.user;
        let mut claims = Claims {
            iss: String::new(),
            aud: String::new(),
            sub: user.name.to_string(),
            groups: user.groups.iter().map(ToString::to_string).collect(),
            cluster: admission.cluster.to_string(),
            agent: spec("agent"),
            agent_uid: agent.header.uid.to_string(),
            service: spec("name"),
            service_type: Some(spec("type")),
            verbs: options.verbs,
            networks: options.networks,
            jti: format!("{key}.{random}"),
            iat: 0,
            exp: 0,
        };
        self.date(&mut claims, key, life).await?;
        let (id, expires) = (claims.jti.clone(), claims.expires());
        let what = format!(
            "relay.credential.create {id} for {}/{} until {expires}, verbs {}",
            claims.agent,
            claims.service,
            if claims.verbs.is_empty() { "all".to_owned() } else { claims.verbs.join(",") },
        );
        let token = keys.ring.sign(claims).map_err(|error| match error {
            SignError::TooLong => {
                Status::bad_request("a token with all your groups would be too long")
            }
            SignError::Crypto(_) => {
                tracing::error!(err = %Report(&error), "a token cannot be signed");
                Status::internal("the token cannot be signed")
            }
        })?;
        let object = (admission.cluster, "services", service.str_at(&["metadata", "name"]));
        self.record(user, object, &id, what).await?;
        let mut answer = object! {
            "apiVersion": "relay.strait.dev/v1alpha1",
            "kind": "ServiceCredential",
            "token": token.expose().as_str(),
            "id": id,
            "expires": expires.to_string(),
            "ttl": format_duration(life),
        };
        if clipped {
            let why = format!("the longest life that this hub allows is {}", format_duration(life));
            answer.set(&["clipped"], why);
        }
        Ok(answer)
    }

    /// Dates a token. Times in tokens are whole seconds, and what was made in the second of a
    /// revocation counts as made before it: then the next one is waited for.
    async fn date(&self, claims: &mut Claims, key: &str, life: Duration) -> Result<(), Status> {
        for _ in 0..2 {
            let now = self.registry.clock().now();
            claims.iat = now.as_second();
            claims.exp = claims.iat.saturating_add(i64::try_from(life.as_secs()).unwrap_or(0));
            if self.revocations.find(&subjects(claims, key)).is_none() {
                return Ok(());
            }
            let left = 1_000 - i64::from(now.subsec_millisecond());
            tokio::time::sleep(Duration::from_millis(left.unsigned_abs())).await;
        }
        Err(Status::unavailable("credentials for this are being revoked").retry_after(1))
    }

    fn key_is_revoked(&self, id: &str) -> bool {
        let nothing: Arc<str> = "".into();
        let by_key = Subjects {
            credential: nothing.clone(),
            key: Some(id.into()),
            user: nothing.clone(),
            cluster: nothing.clone(),
            agent: nothing.clone(),
            service: nothing,
            issued: Timestamp::MAX,
        };
        self.revocations.find(&by_key).is_some()
    }
}

/// What may be asked of a new token.
#[derive(Debug)]
struct Options {
    life: Option<Duration>,
    verbs: Vec<String>,
    networks: Vec<String>,
}

impl Options {
    fn of(value: &Value) -> Result<Self, Status> {
        let life = match value.str_at(&["ttl"]) {
            None => None,
            Some(text) => {
                let life = parse_duration(text).ok().filter(|life| *life >= Duration::from_secs(1));
                let bad =
                    || Status::bad_request(format!("ttl: {text:?} is no duration, such as 1h"));
                Some(life.ok_or_else(bad)?)
            }
        };
        let texts = |field: &str| -> Result<Vec<String>, Status> {
            let given = value.array_at(&[field]).iter();
            let texts: Option<Vec<String>> =
                given.map(|one| one.as_str().map(str::to_owned)).collect();
            texts.ok_or_else(|| Status::bad_request(format!("{field}: must be texts")))
        };
        let (mut verbs, networks) = (texts("verbs")?, texts("networks")?);
        verbs.sort();
        verbs.dedup();
        if let Some(verb) = verbs.iter().find(|verb| !VERBS.contains(&verb.as_str())) {
            let why = format!("verbs: {verb:?} is none of {}", VERBS.join(", "));
            return Err(Status::bad_request(why));
        }
        if networks.len() > NETWORKS_MAX {
            return Err(Status::bad_request(format!("networks: at most {NETWORKS_MAX}")));
        }
        if let Some(network) = networks.iter().find(|one| one.parse::<Network>().is_err()) {
            let why = format!("networks: {network:?} is no network, such as 192.0.2.0/24");
            return Err(Status::bad_request(why));
        }
        Ok(Self { life, verbs, networks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_a_token_is_checked() {
        let asked =
            |text: &str| Options::of(&strait_machinery::json::parse(text.as_bytes()).unwrap());
        let all = asked(r#"{"ttl":"2h","verbs":["get","create","get"],"networks":["10.0.0.0/8"]}"#);
        let all = all.unwrap();
        assert_eq!(all.life, Some(Duration::from_secs(7200)));
        assert_eq!((all.verbs, all.networks.len()), (vec!["create".into(), "get".into()], 1));
        assert_eq!(asked("{}").unwrap().life, None);
        for text in [
            r#"{"ttl":"soon"}"#,
            r#"{"ttl":"0s"}"#,
            r#"{"verbs":["connect"]}"#,
            r#"{"verbs":["*"]}"#,
            r#"{"verbs":[1]}"#,
            r#"{"networks":["everywhere"]}"#,
        ] {
            assert_eq!(asked(text).unwrap_err().code, 400, "{text}");
        }
    }
}
