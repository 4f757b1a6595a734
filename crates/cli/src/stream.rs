//! `strait stream`: what is open to services, and its end.

mod cut;
mod row;

use std::time::Duration;

use clap::{Args, Subcommand};
use strait_machinery::json::Value;
use strait_runtime::units::parse_duration;

use crate::client::{ClientArgs, Workspace};
use crate::exit::{Exit, Failure};
use crate::objects::{Output, print, read};
use crate::process;
use cut::CutArgs;
use row::STREAMS;

/// Shows streams to services and from agents that are open, and cuts them
#[derive(Args, Debug)]
pub(crate) struct StreamArgs {
    #[command(subcommand)]
    command: StreamCommand,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum StreamCommand {
    List(StreamListArgs),
    Cut(CutArgs),
}

/// Lists the streams that are open now, the oldest first
#[derive(Args, Debug)]
struct StreamListArgs {
    /// Those to this agent, and from it
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,

    /// Those of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Those that have been open for longer
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    older_than: Option<Duration>,

    /// How to print
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

impl StreamListArgs {
    fn fits(&self, stream: &Value) -> bool {
        let is = |key, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| stream.str_at(&["spec", key]) == Some(wanted))
        };
        let age = stream.at(&["status", "ageSeconds"]).and_then(Value::as_i64);
        let age = Duration::from_secs(age.and_then(|age| u64::try_from(age).ok()).unwrap_or(0));
        let is_old = self.older_than.is_none_or(|limit| age >= limit);
        is("agent", &self.agent) && is("user", &self.user) && is_old
    }
}

/// Runs a subcommand.
pub(crate) fn run(args: &StreamArgs) -> Result<Exit, Failure> {
    process::call(async {
        let workspace = Workspace::open(&args.client).await?;
        match &args.command {
            StreamCommand::List(args) => {
                let mut list = read(&STREAMS, &workspace).await?;
                let items = list.array_at(&["items"]).iter().filter(|stream| args.fits(stream));
                list.set(&["items"], items.cloned().collect::<Vec<_>>());
                print(&STREAMS, args.output, &list, &workspace)?;
                Ok(Exit::Done)
            }
            StreamCommand::Cut(args) => cut::run(args, &workspace).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_machinery::object;

    #[test]
    fn streams_are_listed_that_fit() {
        let stream = object! {
            "spec": object! {"agent": "smith", "user": "alice"},
            "status": object! {"ageSeconds": 90},
        };
        for (agent, user, older_than, expected) in [
            ("", "", "", true),
            ("smith", "alice", "1m", true),
            ("smith", "", "90s", true),
            ("jones", "", "", false),
            ("", "bob", "", false),
            ("", "", "2m", false),
        ] {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let args = StreamListArgs {
                agent: given(agent),
                user: given(user),
                older_than: given(older_than).map(|text| parse_duration(&text).unwrap()),
                output: Output::Table,
            };
            assert_eq!(args.fits(&stream), expected, "{agent} {user} {older_than}");
        }
    }
}
