//! `strait service revoke`.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_relay::REVOCATIONS_PATH;
use strait_types::is_dns1123_label;

use super::{SERVICES, ServiceName};
use crate::agent::AGENTS;
use crate::client::{Workspace, failure};
use crate::exit::{Exit, Failure};
use crate::objects::{Kind, missing};

/// Ends credentials before their time; what lives by them is cut within two seconds
///
/// For a service or an agent: one token, one user's, or all. Without one, what is named ends in
/// all workspaces, which needs a permission of the hub's. What is made later is good.
#[derive(Args, Debug)]
pub(super) struct RevokeArgs {
    /// AGENT/SERVICE, or AGENT for all its services
    target: Option<String>,

    /// A token, or its identifier
    #[arg(long, value_name = "ID", conflicts_with_all = ["user", "key"])]
    token: Option<String>,

    /// All of a user's
    #[arg(long, value_name = "NAME", conflicts_with = "key")]
    user: Option<String>,

    /// All that a key of the hub's signed; the first part of a token's identifier names it
    #[arg(long, value_name = "ID", conflicts_with = "target")]
    key: Option<String>,
}

/// What is revoked where.
#[derive(Debug, PartialEq)]
pub(super) struct Revoke {
    target: Option<Target>,
    body: Value,
}

#[derive(Debug, PartialEq)]
enum Target {
    Service(ServiceName),
    Agent(String),
}

impl RevokeArgs {
    /// What is meant.
    pub(super) fn read(&self) -> Result<Revoke, Failure> {
        let usage = |why: String| Failure::usage(vec![why]);
        let target = match &self.target {
            None => None,
            Some(text) if is_dns1123_label(text) => Some(Target::Agent(text.clone())),
            Some(text) => Some(Target::Service(text.parse()?)),
        };
        let body = match (&self.token, &self.user, &self.key) {
            (Some(token), ..) => object! {"credential": id(token)},
            (_, Some(user), _) => object! {"user": user.as_str()},
            (.., Some(key)) => object! {"key": key.as_str()},
            _ if target.is_none() => {
                let why = "what is to be revoked? AGENT/SERVICE, AGENT, --token, --user or --key";
                return Err(usage(why.into()));
            }
            _ => Value::object(),
        };
        Ok(Revoke { target, body })
    }
}

/// The identifier of a token, which is no secret, so that the token need not be sent.
fn id(token: &str) -> String {
    let token = token.trim();
    let payload = token.split('.').nth(1).filter(|_| token.split('.').count() == 3);
    let payload = payload.and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let claims = payload.and_then(|payload| parse(&payload).ok());
    let id = claims.and_then(|claims| claims.str_at(&["jti"]).map(str::to_owned));
    id.unwrap_or_else(|| token.to_owned())
}

/// Revokes.
pub(super) async fn run(revoke: &Revoke, workspace: &Workspace) -> Result<Exit, Failure> {
    let answer = match &revoke.target {
        None => {
            let answer = workspace.post_outside(REVOCATIONS_PATH, &revoke.body).await;
            answer.map_err(|error| failure("in all workspaces", &error))?
        }
        Some(Target::Agent(agent)) => {
            revoke_at(&AGENTS, agent, agent, &revoke.body, workspace).await?
        }
        Some(Target::Service(name)) => {
            revoke_at(&SERVICES, &name.object(), &name.to_string(), &revoke.body, workspace).await?
        }
    };
    let revoked = answer.str_at(&["revoked"]).unwrap_or_default();
    writeln!(std::io::stdout().lock(), "revoked {revoked}")?;
    Ok(Exit::Done)
}

async fn revoke_at(
    kind: &Kind,
    object: &str,
    typed: &str,
    body: &Value,
    workspace: &Workspace,
) -> Result<Value, Failure> {
    let path = format!("{}/{object}/revocations", kind.collection);
    match workspace.create(&path, body).await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(missing(kind, typed, workspace, &error).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(target: &str, token: &str, user: &str, key: &str) -> RevokeArgs {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        RevokeArgs {
            target: given(target),
            token: given(token),
            user: given(user),
            key: given(key),
        }
    }

    #[test]
    fn what_is_named_is_revoked_where_it_is_named() {
        let service = || Some(Target::Service("smith/ci".parse().unwrap()));
        let agent = || Some(Target::Agent("smith".into()));
        for (args, target, body) in [
            (args("smith/ci", "", "", ""), service(), Value::object()),
            (args("ci.smith", "", "alice", ""), service(), object! {"user": "alice"}),
            (args("smith", "k.t1", "", ""), agent(), object! {"credential": "k.t1"}),
            (args("", "", "alice", ""), None, object! {"user": "alice"}),
            (args("", "", "", "k"), None, object! {"key": "k"}),
        ] {
            assert_eq!(args.read().unwrap(), Revoke { target, body });
        }
        for wrong in [args("", "", "", ""), args("no such", "", "", "")] {
            assert_eq!(wrong.read().unwrap_err().exit, Exit::Usage);
        }
    }

    #[test]
    fn a_token_is_known_by_its_identifier() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"jti":"k.t1"}"#);
        assert_eq!(id(&format!("e30.{payload}.c2ln\n")), "k.t1");
        for other in ["k.t1", "a.b.c", "x"] {
            assert_eq!(id(other), other);
        }
    }
}
