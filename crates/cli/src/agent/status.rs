//! `strait agent status`.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::Request;
use strait_net::{CallLimits, Client, EgressPolicy};

use super::settings::DATA_DIR_DEFAULT;
use crate::exit::{Exit, Failure};
use crate::settings::read_file;

/// Longest address, bytes.
const ADDRESS_MAX: usize = 256;

const LIMITS: CallLimits = CallLimits {
    connect: Duration::from_secs(1),
    total: Duration::from_secs(3),
    response_bytes: 64 << 10,
};

/// Says whether the agent on this machine is ready, and why not
///
/// It asks the agent's health port, which its data directory names. Exit status 1: not ready, or
/// no agent runs there. Probes of a pod can run it.
#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    /// The agent's data directory
    #[arg(long, env = "STRAIT_DATA_DIR", value_name = "DIR", default_value = DATA_DIR_DEFAULT)]
    data_dir: String,

    /// Only whether it runs, ready or not
    #[arg(long)]
    live: bool,
}

/// Runs the command.
pub(super) async fn run(args: &StatusArgs) -> Result<Exit, Failure> {
    let path = if args.live { "/livez" } else { "/readyz" };
    let (is_good, said) = ask(&args.data_dir, path).await.map_err(|why| Failure {
        exit: Exit::No,
        lines: vec![format!("no agent runs in {}: {why}", args.data_dir)],
    })?;
    io::stdout().lock().write_all(&said)?;
    Ok(if is_good { Exit::Done } else { Exit::No })
}

/// What the agent says at a path of its health port, and whether that is good.
async fn ask(data_dir: &str, path: &str) -> Result<(bool, Bytes), String> {
    let file = Path::new(data_dir).join("health").display().to_string();
    let address = read_file(&file, ADDRESS_MAX)?;
    let request = Request::get(format!("http://{}{path}", address.trim())).body(Bytes::new());
    let request = request.map_err(|_| format!("{file} holds no address"))?;
    let client = Client::new(None, EgressPolicy::unrestricted());
    let answer = client.call(request, &LIMITS).await;
    let answer = answer.map_err(|error| strait_types::Report(&error).to_string())?;
    let mut said = answer.body().to_vec();
    if !said.ends_with(b"\n") {
        said.push(b'\n');
    }
    Ok((answer.status().is_success(), said.into()))
}
