//! Development commands. `cargo xtask help` lists them.
//!
//! `test` is what CI runs, `tidy` the rules of CONTRIBUTING.md that no compiler checks, `bench`
//! the goals for speed and size beside what this machine reaches. They need a Rust toolchain,
//! a C compiler and make, and the network for what `test` fetches. Tests and measurements of the relay
//! need Debian, whose nginx and PostgreSQL they get with apt-get, and its git, curl and Python
//! with pip.

mod bench;
mod command;
mod dist;
mod fuzz;
mod https;
mod metadata;
mod rows;
mod stopwatch;
mod test;
mod tidy;
mod tools;

use std::fmt::Display;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test          everything CI runs: format, tidy, clippy, fuzz targets, tests, tools, release build,
                end to end
  tools         gets other people's programs that tests need, and prints where they are
  tidy          the rules of CONTRIBUTING.md that no compiler checks
  dist          the binary that is shipped, target/dist/strait: built by what it does under load, in
                half an hour
  bench [WHAT] [--quick] [--dist]
                goals for speed and size beside measurements of the release build, or of what dist built
                WHAT: hub-start, rss, crossing, gets, creates, hooks (or one of
                hooks-rates, hooks-bad-days, hooks-memory, hooks-slow, hooks-restart), relay (or one
                of relay-small, relay-bulk, relay-memory, relay-neighbours, relay-crowd,
                relay-restart, relay-far), or all (the default); a quick run of the relay's has fewer rounds
  soak [--minutes N]
                everything at once through hub and agents for an hour, and whether memory stays flat
  soak ROW… | list
                end-to-end tests that take more than two minutes or more than CI has, by row
                (row_16), and which there are
  fuzz [TARGET] [SECONDS]
                runs one fuzz target or all, each for so many seconds (60); needs a C++ compiler
  help          this text
";

/// How long each target is fuzzed unless said.
const FUZZ_SECONDS: u32 = 60;

/// Exit code for a command that does not exist (`EX_USAGE`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test"] => test::run(),
        ["tools"] => metadata::Metadata::read()
            .and_then(|metadata| tools::all(&metadata.target_directory))
            .map(|tools| print(tools.display())),
        ["tidy"] => tidy::run(),
        ["bench", plan @ ..] if let Some(plan) = bench::Plan::read(plan) => bench::run(plan),
        ["dist"] => dist::run(),
        ["soak"] => bench::soak::run(bench::soak::MINUTES),
        ["soak", "--minutes", minutes] if minutes.parse::<u32>().is_ok() => {
            bench::soak::run(minutes.parse().unwrap_or(bench::soak::MINUTES))
        }
        ["soak", "list"] => rows::list(),
        ["soak", chosen @ ..] if chosen.iter().all(|word| !word.starts_with('-')) => {
            rows::run(chosen)
        }
        ["fuzz"] => fuzz::run(None, FUZZ_SECONDS),
        ["fuzz", target] => fuzz::run(Some(target), FUZZ_SECONDS),
        ["fuzz", target, seconds] if seconds.parse::<u32>().is_ok() => {
            fuzz::run(Some(target), seconds.parse().unwrap_or(FUZZ_SECONDS))
        }
        ["help" | "--help" | "-h"] => {
            print(HELP.trim_end());
            Ok(())
        }
        _ => {
            say(HELP.trim_end());
            return ExitCode::from(USAGE);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what is going on.
#[expect(clippy::print_stderr, reason = "a command talks on standard error")]
fn say(line: impl Display) {
    eprintln!("{line}");
}

/// Prints a result.
#[expect(clippy::print_stdout, reason = "a command's results go to standard output")]
fn print(line: impl Display) {
    println!("{line}");
}
