//! `strait hook`: what became of webhooks, and what to do about it.

mod change;
mod list;
mod progress;
mod select;
mod server;
mod show;
mod tail;

use clap::{Args, Subcommand, ValueEnum};

use crate::exit::{Exit, Failure};
use crate::process;
use server::{Server, ServerArgs};

pub(crate) use list::age;

/// Shows webhooks and what became of them; delivers them again or takes them out
#[derive(Args, Debug)]
pub(crate) struct HookArgs {
    #[command(subcommand)]
    command: HookCommand,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum HookCommand {
    List(list::ListArgs),
    /// Lists events that a backend did not get and is not tried for any more, newest first
    Dead(list::ListArgs),
    Show(show::ShowArgs),
    Replay(change::ReplayArgs),
    Purge(change::PurgeArgs),
    Tail(tail::TailArgs),
}

/// Formats of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    /// With actions, delivery ids, sizes and reasons
    Wide,
    Json,
    Yaml,
    /// Ids alone
    Name,
}

/// Runs a subcommand.
pub(crate) fn run(args: &HookArgs) -> Result<Exit, Failure> {
    process::call(async {
        let server = Server::open(&args.server).await?;
        match &args.command {
            HookCommand::List(list) => list::run(list, &server, false).await,
            HookCommand::Dead(list) => list::run(list, &server, true).await,
            HookCommand::Show(show) => show::run(show, &server).await,
            HookCommand::Replay(args) => change::replay(args, &server).await,
            HookCommand::Purge(args) => change::purge(args, &server).await,
            HookCommand::Tail(tail) => tail::run(tail, &server).await,
        }
    })
}
