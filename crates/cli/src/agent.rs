//! `strait agent`.

mod approve;
mod check;
mod manifest;
mod objects;
mod settings;
mod status;
mod token;
mod top;

use clap::{Args, Subcommand};
use strait_agent::AgentError;
use strait_relay::agent::Membership;
use strait_runtime::raise_descriptor_limit;
use strait_sandbox::exec::Launcher;

use crate::client::{ClientArgs, Workspace};
use crate::exit::{Exit, Failure};
use crate::log::LogArgs;
use crate::objects::{ListArgs, ShowArgs, list, show};
use crate::process;
use approve::{ApproveArgs, DenyArgs};
use check::CheckArgs;
use manifest::ManifestArgs;
use status::StatusArgs;
use token::TokenArgs;
use top::TopArgs;

pub(crate) use objects::AGENTS;
pub(crate) use token::make;

/// Runs the private side, which only dials out; and lets agents join
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    command: Option<AgentCommand>,

    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    Token(AgentTokenArgs),
    Check(CheckArgs),
    List(AgentListArgs),
    #[command(visible_alias = "get")]
    Show(AgentShowArgs),
    Top(AgentTopArgs),
    Approve(ApproveArgs),
    Deny(DenyArgs),
    Manifest(ManifestArgs),
    Status(StatusArgs),
}

/// Lists agents, with what is connected of each
#[derive(Args, Debug)]
struct AgentListArgs {
    #[command(flatten)]
    list: ListArgs,

    #[command(flatten)]
    client: ClientArgs,
}

/// Shows an agent and its instances
#[derive(Args, Debug)]
struct AgentShowArgs {
    #[command(flatten)]
    show: ShowArgs,

    #[command(flatten)]
    client: ClientArgs,
}

/// Shows what agents carry now: connections, streams, requests and bytes a second
#[derive(Args, Debug)]
struct AgentTopArgs {
    #[command(flatten)]
    top: TopArgs,

    #[command(flatten)]
    client: ClientArgs,
}

/// Lets agents join
#[derive(Args, Debug)]
struct AgentTokenArgs {
    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    client: ClientArgs,
}

/// How an agent runs.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Directory of the agent's key, journal and audit log; made if it is not there
    #[arg(long, env = "STRAIT_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<String>,

    /// File with the token to join with; once joined it is not needed and may be gone
    #[arg(long, env = "STRAIT_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<String>,

    /// In a pod: Secret of its namespace to keep key and certificate in, so that a pod that is made
    /// anew under the same name, as those of a StatefulSet are, goes on without a token
    #[arg(long, env = "STRAIT_STATE_SECRET", value_name = "NAME")]
    pub(crate) state_secret: Option<String>,

    /// YAML file of the services that the agent offers (AgentConfig) and of the requests that it
    /// does and for whom; may be given again. Services are applied again as the file changes
    #[arg(long, env = "STRAIT_CONFIG", value_name = "FILE", value_delimiter = ',')]
    pub(crate) config: Vec<String>,

    /// Let services be trusted whatever their certificate, where the file says so
    #[arg(long)]
    pub(crate) allow_insecure: bool,

    /// The data directory goes with this installation, as that of a pod does: once it is gone, its
    /// place (`maxInstances`) may be given to another
    #[arg(long)]
    pub(crate) ephemeral: bool,

    /// The hub's address, if not as the token says, for example https://hub.example:6443
    #[arg(long, env = "STRAIT_HUB", value_name = "URL")]
    pub(crate) hub: Option<String>,

    /// File with the CA that the hub's certificate must come from, if not as the token says
    #[arg(long, env = "STRAIT_CA", value_name = "FILE")]
    pub(crate) ca: Option<String>,

    /// Loopback address for /livez, /readyz and /metrics [default: 127.0.0.1:9102]
    #[arg(long, env = "STRAIT_HEALTH", value_name = "ADDR:PORT")]
    pub(crate) health: Option<String>,

    /// End when this process, the parent, ends
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) parent: Option<u32>,
}

/// Runs an agent until it is told to end, or a subcommand.
pub(crate) fn run(args: &AgentArgs, log: &LogArgs) -> Result<Exit, Failure> {
    match &args.command {
        Some(AgentCommand::Token(args)) => process::call(token::run(&args.token, &args.client)),
        Some(AgentCommand::Check(args)) => check::run(args),
        Some(AgentCommand::List(args)) => process::call(async {
            let workspace = Workspace::open(&args.client).await?;
            if args.list.is_for_people() {
                approve::tell_of_waiting(&workspace, None).await;
            }
            list(&AGENTS, &args.list, &workspace).await
        }),
        Some(AgentCommand::Top(args)) => process::call(async {
            let workspace = Workspace::open(&args.client).await?;
            top::run(&args.top, &workspace).await
        }),
        Some(AgentCommand::Show(args)) => process::call(async {
            let workspace = Workspace::open(&args.client).await?;
            let name = name(&args.show.name)?;
            if args.show.is_for_people() {
                approve::tell_of_waiting(&workspace, Some(&name)).await;
            }
            show(&AGENTS, &name, &args.show, &workspace).await
        }),
        Some(AgentCommand::Approve(args)) => process::call(approve::approve(args)),
        Some(AgentCommand::Manifest(args)) => process::call(manifest::run(args)),
        Some(AgentCommand::Status(args)) => process::call(status::run(args)),
        Some(AgentCommand::Deny(args)) => process::call(approve::deny(args)),
        None => serve(&args.run, log),
    }
}

/// An agent's name, if it can be one.
fn name(typed: &str) -> Result<String, Failure> {
    if strait_types::is_dns1123_label(typed) {
        return Ok(typed.to_owned());
    }
    Err(Failure::usage(vec![format!("{typed:?} is no name of an agent, for example smith")]))
}

fn serve(args: &RunArgs, log: &LogArgs) -> Result<Exit, Failure> {
    let config = settings::read(args)?;
    let descriptors = raise_descriptor_limit()?;
    let launcher = launcher(args.parent.is_some(), descriptors)?;
    process::run(log, args.parent, Some("strait-agent"), |context| async move {
        let connected = |membership: &Membership| {
            // Whoever does not read it does without.
            drop(process::announce(&format!("{} at hub {}", membership.agent, membership.hub)));
        };
        match strait_agent::run(config, launcher, context, connected).await {
            Ok(()) => Ok(Exit::Done),
            Err(error) => Err(failure(&error)),
        }
    })
}

/// Starts supervisors: this program again. They outlive the agent, unless it is itself bound to
/// a parent. Their programs may have so many `descriptors`, if there is a limit.
fn launcher(bound: bool, descriptors: Option<u64>) -> Result<Launcher, Failure> {
    let mut args = vec!["__exec".to_owned()];
    if bound {
        args.extend(["--parent".to_owned(), std::process::id().to_string()]);
    }
    if let Some(count) = descriptors {
        args.extend(["--descriptors".to_owned(), count.to_string()]);
    }
    Ok(Launcher {
        program: std::env::current_exe()?,
        args: args.into_iter().map(Into::into).collect(),
    })
}

fn failure(error: &AgentError) -> Failure {
    let exit = match error {
        AgentError::Config(_) => Exit::Usage,
        error if error.is_refusal() => Exit::NotAllowed,
        error if error.is_distrust() => Exit::NotTrusted,
        _ => Exit::Failed,
    };
    Failure { exit, lines: vec![strait_types::Report(error).to_string()] }
}
