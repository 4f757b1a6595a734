//! `strait agent approve` and `strait agent deny`: a person's word on who joins.

use std::io::{self, Write as _};

use clap::Args;
use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_runtime::{Clock as _, SystemClock};

use super::name;
use crate::client::{ClientArgs, Workspace, failure};
use crate::exit::{Exit, Failure};
use crate::output;

const REQUESTS: &str = "/apis/relay.strait.dev/v1alpha1/certificaterequests";

/// Lets an installation join that waits for approval
///
/// `strait agent list` shows its key, which is also in the agent's log: give it with --key, and no other
/// key is let in.
#[derive(Args, Debug)]
pub(super) struct ApproveArgs {
    /// AGENT, if one installation of it waits, or AGENT/INSTANCE
    request: String,

    /// Its key, or how it begins (8 digits at least)
    #[arg(long, value_name = "HEX", value_parser = key)]
    key: Option<String>,

    #[command(flatten)]
    client: ClientArgs,
}

/// Refuses an installation that waits for approval
#[derive(Args, Debug)]
pub(super) struct DenyArgs {
    /// AGENT, if one installation of it waits, or AGENT/INSTANCE
    request: String,

    #[command(flatten)]
    client: ClientArgs,
}

/// Runs `approve`.
pub(super) async fn approve(args: &ApproveArgs) -> Result<Exit, Failure> {
    let workspace = Workspace::open(&args.client).await?;
    decide(&args.request, "Approved", args.key.as_deref(), &workspace).await
}

/// Runs `deny`.
pub(super) async fn deny(args: &DenyArgs) -> Result<Exit, Failure> {
    decide(&args.request, "Denied", None, &Workspace::open(&args.client).await?).await
}

async fn decide(
    typed: &str,
    word: &str,
    key: Option<&str>,
    workspace: &Workspace,
) -> Result<Exit, Failure> {
    let (agent, instance) = parse(typed)?;
    let list = workspace.list(REQUESTS).await;
    let list = list.map_err(|error| failure("requests to join", &error))?;
    let object = match instance {
        Some(instance) => format!("{agent}.{instance}"),
        None => only(&agent, &list, SystemClock.now())?,
    };
    let is_meant = |one: &&Value| one.str_at(&["metadata", "name"]) == Some(&object);
    let seen = list.array_at(&["items"]).iter().find(is_meant);
    let seen = seen.and_then(|one| one.str_at(&["spec", "key"])).unwrap_or_default();
    if let Some(key) = key.filter(|key| !seen.starts_with(*key)) {
        let shown = object.replacen('.', "/", 1);
        let why = match seen {
            "" => format!("{shown} does not ask to join"),
            seen => format!("{shown} asks with the key {seen}, not with {key}"),
        };
        return Err(Failure { exit: Exit::No, lines: vec![format!("{why}: nothing was decided")] });
    }
    // What was looked at is decided, and not what came since.
    let mut body = object! {"type": word};
    if !seen.is_empty() {
        body.set(&["key"], seen);
    }
    let said = workspace.create(&format!("{REQUESTS}/{object}/approval"), &body).await;
    let said = said.map_err(|error| {
        let shown = object.replacen('.', "/", 1);
        let mut failure = failure(&format!("{shown} in workspace {}", workspace.name()), &error);
        if error.code() == Some(404) {
            failure.exit = Exit::No;
            failure.lines.push("`strait agent list` shows what waits".into());
        }
        failure
    })?;
    writeln!(io::stdout(), "{}: {}", word.to_lowercase(), told(&said))?;
    Ok(Exit::Done)
}

/// A key's beginning, as it is shown.
fn key(typed: &str) -> Result<String, String> {
    let typed = typed.to_ascii_lowercase();
    if typed.len() < 8 || !typed.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("must be 8 hexadecimal digits or more of what `strait agent list` shows".into());
    }
    Ok(typed)
}

/// Agent and installation.
fn parse(typed: &str) -> Result<(String, Option<&str>), Failure> {
    let Some((agent, instance)) = typed.split_once('/') else {
        return Ok((name(typed)?, None));
    };
    if instance.is_empty() || !instance.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let why = format!("{instance:?} is no installation; `strait agent list` shows what waits");
        return Err(Failure::usage(vec![why]));
    }
    Ok((name(agent)?, Some(instance)))
}

/// The name of the one request of an agent that waits.
fn only(agent: &str, list: &Value, now: Timestamp) -> Result<String, Failure> {
    let waiting = waiting(list, Some(agent), now);
    let no = |lines| Err(Failure { exit: Exit::No, lines });
    match &waiting[..] {
        [] => no(vec![format!("no installation of agent {agent} waits for approval")]),
        [one] => Ok(one.str_at(&["metadata", "name"]).unwrap_or_default().to_owned()),
        several => {
            let mut lines = vec![format!("{} wait; which one?", several.len())];
            lines.extend(several.iter().map(|one| told(one)));
            no(lines)
        }
    }
}

/// The requests that wait, of one agent or of all.
fn waiting<'a>(list: &'a Value, agent: Option<&str>, now: Timestamp) -> Vec<&'a Value> {
    let waits = |one: &&Value| {
        let expires = one.str_at(&["spec", "expires"]).and_then(|text| text.parse().ok());
        one.array_at(&["status", "conditions"]).is_empty()
            && expires.is_some_and(|end: Timestamp| now < end)
            && agent.is_none_or(|agent| one.str_at(&["spec", "agent"]) == Some(agent))
    };
    list.array_at(&["items"]).iter().filter(waits).collect()
}

/// A request, for people; what it says of itself is its own claim.
fn told(request: &Value) -> String {
    let text = |field| {
        let text = request.str_at(&["spec", field]).unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).collect::<String>()
    };
    let (agent, instance, host) = (text("agent"), text("instance"), text("host"));
    format!("{agent}/{instance} on {host} from {}, key {}", text("address"), text("key"))
}

/// Says on standard error what waits for approval; nothing to those who may not read it.
pub(super) async fn tell_of_waiting(workspace: &Workspace, agent: Option<&str>) {
    let Ok(list) = workspace.list(REQUESTS).await else { return };
    for one in waiting(&list, agent, SystemClock.now()) {
        output::note(&format!("waits for `strait agent approve`: {}", told(one)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_named_whole_or_by_its_agent() {
        assert_eq!(parse("smith").unwrap(), ("smith".into(), None));
        assert_eq!(parse("smith/6f1c").unwrap(), ("smith".into(), Some("6f1c")));
        for text in ["", "Smith", "smith/", "smith/../x", "smith/a/b", "a.b", "smith/a.b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_that_waits_is_meant_if_there_is_one() {
        let request = |agent: &str, instance: &str, expires: &str| {
            object! {
                "metadata": object!{"name": format!("{agent}.{instance}")},
                "spec": object!{
                    "agent": agent,
                    "instance": instance,
                    "host": "h\u{1b}[2J1",
                    "address": "192.0.2.7",
                    "key": "ab12",
                    "expires": expires,
                },
            }
        };
        let (now, then) = ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z");
        let mut decided = request("smith", "c", then);
        decided.set(&["status", "conditions"], vec![object! {"type": "Denied"}]);
        let over = request("smith", "d", "2026-01-01T00:00:00Z");
        let (one, two) = (request("smith", "a", then), request("smith", "b", then));
        let meant = |items: Vec<Value>| {
            only("smith", &object! {"items": items}, now.parse().unwrap())
                .map_err(|failure| failure.lines.join("\n"))
        };
        let others = [decided, over, request("jones", "a", then)];
        assert!(meant(others.to_vec()).unwrap_err().contains("no installation of agent smith"));
        let with = |more: &[Value]| [&others[..], more].concat();
        assert_eq!(meant(with(std::slice::from_ref(&one))).unwrap(), "smith.a");
        let asked = meant(with(&[one, two])).unwrap_err();
        assert!(asked.contains("2 wait; which one?\nsmith/a on h[2J1 from 192.0.2.7, key ab12"));
    }
}
