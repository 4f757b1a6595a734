//! `strait __exec`: the supervisor of one program, see [`strait_sandbox::exec`].

use clap::Args;
use strait_runtime::SystemClock;
use strait_sandbox::exec::{Options, supervise};

use crate::exit::{Exit, Failure};

/// Supervises the execution whose directory is the working directory
#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    /// End when this process, the parent, ends
    #[arg(long, value_name = "PID")]
    parent: Option<u32>,
}

/// Supervises; the process has one thread and does nothing else.
pub(crate) fn run(args: &ExecArgs) -> Result<Exit, Failure> {
    supervise(Options { parent: args.parent }, &SystemClock)?;
    Ok(Exit::Done)
}
