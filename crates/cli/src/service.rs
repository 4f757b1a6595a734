//! `strait service`: what agents offer, credentials for it, and ways to it.

mod bytes;
mod exec;
mod forward;
mod name;
mod revoke;
mod row;
mod token;

use clap::{Args, Subcommand};

use crate::client::{ClientArgs, Workspace};
use crate::exit::{Exit, Failure};
use crate::objects::{ListArgs, ShowArgs, list, show};
use crate::process;
use name::ServiceName;
use row::SERVICES;

/// Shows services behind agents and forwards to them; makes and revokes tokens
#[derive(Args, Debug)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    command: ServiceCommand,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum ServiceCommand {
    /// Lists services, with what is known of each
    List(ListArgs),
    /// Shows a service: AGENT/SERVICE
    #[command(visible_alias = "get")]
    Show(ShowArgs),
    Token(token::TokenArgs),
    Revoke(revoke::RevokeArgs),
    Forward(forward::ForwardArgs),
    Exec(exec::ExecArgs),
}

/// Runs a subcommand.
pub(crate) fn run(args: &ServiceArgs) -> Result<Exit, Failure> {
    process::call(async {
        let workspace = || Workspace::open(&args.client);
        match &args.command {
            ServiceCommand::List(args) => list(&SERVICES, args, &workspace().await?).await,
            ServiceCommand::Show(args) => {
                let name: ServiceName = args.name.parse()?;
                show(&SERVICES, &name.object(), args, &workspace().await?).await
            }
            ServiceCommand::Token(args) => token::run(args, &workspace().await?).await,
            ServiceCommand::Revoke(args) => {
                let revoke = args.read()?;
                revoke::run(&revoke, &workspace().await?).await
            }
            ServiceCommand::Forward(args) => forward::run(args, workspace().await?).await,
            ServiceCommand::Exec(args) => exec::run(args, workspace().await?).await,
        }
    })
}
