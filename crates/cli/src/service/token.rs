//! `strait service token`.

use std::io::Write as _;

use clap::Args;
use strait_machinery::json::Value;

use super::{SERVICES, ServiceName};
use crate::client::Workspace;
use crate::exit::{Exit, Failure};
use crate::objects::missing;
use crate::output::{self, AnswerFormat};

/// Makes a token for one service, for yourself, and prints it
///
/// The token alone goes to standard output. It is good for that service and no other, and for no
/// more than you may do there yourself.
#[derive(Args, Debug)]
pub(super) struct TokenArgs {
    /// The service: AGENT/SERVICE
    service: String,

    /// How long it is good for, within what the hub allows [default: 1h]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,

    /// What it is good for: get, create, update, patch, delete [default: all]
    #[arg(long, value_name = "VERB", value_delimiter = ',')]
    verbs: Vec<String>,

    /// Network that it may be used from; may be given again [default: any]
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<String>,

    /// How to print; `name` prints the token's identifier only
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<AnswerFormat>,
}

/// Makes a token.
pub(super) async fn run(args: &TokenArgs, workspace: &Workspace) -> Result<Exit, Failure> {
    let name: ServiceName = args.service.parse()?;
    let mut options = Value::object();
    if let Some(ttl) = &args.ttl {
        options.set(&["ttl"], ttl.as_str());
    }
    for (key, texts) in [("verbs", &args.verbs), ("networks", &args.networks)] {
        if !texts.is_empty() {
            options.set(&[key], texts.iter().map(String::as_str).collect::<Value>());
        }
    }
    let path = format!("{}/{}/credentials", SERVICES.collection, name.object());
    let answer = match workspace.create(&path, &options).await {
        Ok(answer) => answer,
        Err(error) => {
            return Err(missing(&SERVICES, &name.to_string(), workspace, &error).await);
        }
    };
    let text = |key: &str| answer.str_at(&[key]).unwrap_or_default();
    let out = output::answer(args.output, &answer, text("token"), text("id"));
    std::io::stdout().lock().write_all(out.as_bytes())?;
    if let Some(why) = answer.str_at(&["clipped"]) {
        output::note(why);
    }
    Ok(Exit::Done)
}
