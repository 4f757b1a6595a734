//! `strait __exec`: the supervisor of one program, see [`strait_sandbox::exec`].

use clap::Args;
use strait_runtime::{SystemClock, set_descriptor_limit};
use strait_sandbox::exec::{Options, supervise};

use crate::exit::{Exit, Failure};

/// Supervises the execution whose directory is the working directory
#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    /// End when this process, the parent, ends
    #[arg(long, value_name = "PID")]
    parent: Option<u32>,

    /// Let the program have so many files open
    #[arg(long, value_name = "COUNT")]
    descriptors: Option<u64>,
}

/// Supervises; the process has one thread and does nothing else.
pub(crate) fn run(args: &ExecArgs) -> Result<Exit, Failure> {
    if let Some(count) = args.descriptors {
        set_descriptor_limit(count)?;
    }
    supervise(Options { parent: args.parent }, &SystemClock)?;
    Ok(Exit::Done)
}
