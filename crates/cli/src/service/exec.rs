//! `strait service exec`.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use strait_runtime::Context;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::ServiceName;
use super::bytes::Dialer;
use super::forward::{accept, listen};
use crate::client::Workspace;
use crate::exit::{Exit, Failure};

/// Runs a program that reaches a raw service at a local port
///
/// The program finds the port in STRAIT_HOST and STRAIT_PORT, and for {host} and {port} in its
/// arguments. The port ends with the program, whose exit code is this command's.
#[derive(Args, Debug)]
pub(super) struct ExecArgs {
    /// The service: AGENT/SERVICE
    service: String,

    /// The program and its arguments, for example `psql -h {host} -p {port}`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,

    /// File with a token for the service; by default one is made, and made anew before it ends
    #[arg(long, env = "STRAIT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Runs the program to its end.
pub(super) async fn run(args: &ExecArgs, workspace: Workspace) -> Result<Exit, Failure> {
    let name: ServiceName = args.service.parse()?;
    let context = Context::of_system();
    let dialer = Dialer::new(&context, workspace, name, args.token_file.clone()).await?;
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let address = listener.local_addr()?;
    let accepted = accept(listener, Arc::new(dialer), context.tasks.clone());
    drop(context.tasks.spawn("forward", accepted));
    // Before there is a child: what comes for it is not to end this process.
    let (mut interrupts, mut terms) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut child = start(&args.command, address)?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(Exit::Of(code(status?))),
            // A terminal tells the child too.
            _ = interrupts.recv() => {}
            _ = terms.recv() => terminate(&child),
        }
    }
}

fn start(command: &[String], address: SocketAddr) -> Result<Child, Failure> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let filled = |text: &String| text.replace("{host}", &host).replace("{port}", &port);
    let (program, args) = command.split_first().expect("clap requires one");
    let mut command = Command::new(program);
    command.args(args.iter().map(filled));
    command.env("STRAIT_HOST", &host).env("STRAIT_PORT", &port).kill_on_drop(true);
    command.spawn().map_err(|error| Failure::failed(&format!("cannot start {program:?}: {error}")))
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// A program's exit code, as shells have it for one that a signal ended.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
