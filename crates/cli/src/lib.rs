//! The command line.
//!
//! Results go to standard output, talk to standard error. Exit codes: 0 done, 1 a negative
//! answer, 2 failed, 64 wrong usage or configuration, 77 not allowed, 78 not trusted.

mod agent;
mod args;
mod audit;
mod client;
mod completion;
mod example_signer;
mod exec;
mod exit;
mod hook;
mod hooks;
mod hub;
mod log;
mod near;
mod objects;
mod output;
mod process;
mod service;
mod settings;
mod stream;
mod traces;
mod up;

use std::process::ExitCode;

use args::{Cli, Command};
use exit::Exit;

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = hooks::arguments(std::env::args_os().collect());
    let cli = match Cli::of(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Help and version that were asked for are no mistakes.
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.explain();
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, exit::Failure> {
    match cli.command {
        Command::Up(args) => up::run(&args, &cli.log),
        Command::Hub(args) => hub::run(&args, &cli.log),
        Command::Hooks(args) => hooks::run(&args, &cli.log),
        Command::Agent(args) => agent::run(&args, &cli.log),
        Command::Service(args) => service::run(&args),
        Command::Stream(args) => stream::run(&args),
        Command::Hook(args) => hook::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Completion(args) => completion::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::ExampleSigner(args) => example_signer::run(&args, &cli.log),
    }
}
