//! What can be typed.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::agent::AgentArgs;
use crate::audit::AuditArgs;
use crate::completion::CompletionArgs;
use crate::example_signer::SignerArgs;
use crate::exec::ExecArgs;
use crate::hook::HookArgs;
use crate::hooks::HooksArgs;
use crate::hub::HubArgs;
use crate::log::LogArgs;
use crate::service::ServiceArgs;
use crate::stream::StreamArgs;
use crate::up::UpArgs;

/// Strait: a control plane for crossing security boundaries.
///
/// The hub, on the public side, is a Kubernetes-compatible API server with workspaces. The
/// agent, on the private side, only dials out. `strait up` shows both on one machine.
#[derive(Debug, Parser)]
#[command(name = "strait", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli<C: Subcommand = Command> {
    #[command(flatten)]
    pub(crate) log: LogArgs,

    #[command(subcommand)]
    pub(crate) command: C,
}

impl Cli {
    /// What was typed. A server that is to be small does not learn of all the other commands.
    pub(crate) fn of(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        if arguments.get(1).is_none_or(|first| first != "hooks") {
            return Self::try_parse_from(arguments);
        }
        let Cli { log, command: Hooks::Hooks(args) } = Cli::try_parse_from(arguments)?;
        Ok(Self { log, command: Command::Hooks(args) })
    }
}

/// One of the commands alone.
#[derive(Debug, Subcommand)]
enum Hooks {
    Hooks(HooksArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(UpArgs),
    Hub(HubArgs),
    Agent(AgentArgs),
    Service(ServiceArgs),
    Stream(StreamArgs),
    Hooks(HooksArgs),
    Hook(HookArgs),
    Audit(AuditArgs),
    Completion(CompletionArgs),
    #[command(name = "__exec", hide = true)]
    Exec(ExecArgs),
    #[command(name = "__example-signer", hide = true)]
    ExampleSigner(SignerArgs),
}
