//! `strait completion`.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::{Exit, Failure};

/// Prints a shell's completions; for bash: `source <(strait completion bash)`
#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Prints completions.
pub(crate) fn run(args: &CompletionArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut <Cli>::command(), "strait", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}
