//! Supervisors as real processes.
//!
//! This binary is also the supervisor (`__exec`, as in `strait __exec`) and an agent that
//! starts one: both need a process with one thread, which the usual harness does not give.
#![expect(clippy::unwrap_used, reason = "these are tests, but without the usual harness")]

mod lifecycle;
mod limits;
mod support;

use std::process::ExitCode;

use strait_runtime::SystemClock;
use strait_sandbox::exec::{Options, supervise};

type Test = (&'static str, fn());

macro_rules! tests {
    ($($module:ident { $($name:ident)* })*) => {
        &[$($((
            concat!(stringify!($module), "::", stringify!($name)),
            || support::block_on($module::$name()),
        ),)*)*]
    };
}

const TESTS: &[Test] = tests! {
    lifecycle {
        a_program_gets_its_input_and_nothing_else
        an_exit_code_and_a_signal_are_told_apart
        a_program_that_cannot_be_executed_says_so
        a_gate_that_closes_executes_nothing
        a_directory_is_used_once_and_is_private
        a_supervisor_that_cannot_work_says_why
        the_program_dies_with_its_supervisor_and_the_outcome_is_unknown
        an_execution_outlives_its_agent_and_is_adopted
        a_bound_execution_ends_with_its_agent
    }
    limits {
        signals_are_not_blocked_in_the_program
        the_time_limit_ends_the_whole_group
        who_ignores_the_signal_is_killed_after_the_grace
        a_cancellation_brings_its_own_grace_which_can_be_shortened
        who_finishes_well_within_the_grace_has_finished
        too_much_output_stops_the_program
        too_much_error_output_is_cut_and_noted
        output_at_the_limit_is_whole
        who_stays_behind_is_killed_with_the_group
        a_signal_to_the_supervisor_ends_the_program_and_is_told
    }
};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &*args {
        ["__exec", parent @ ..] => {
            let parent = parent.get(1).map(|pid| pid.parse().unwrap());
            drop(supervise(Options { parent }, &SystemClock));
        }
        ["agent", dir, bound] => support::block_on(lifecycle::agent(dir, *bound == "bound")),
        _ => return run(&args),
    }
    ExitCode::SUCCESS
}

/// Runs the tests whose names contain an argument that is no flag; all without one. Says what it
/// does as the usual harness does, to those who read that.
#[expect(clippy::print_stdout, reason = "this is a test harness")]
fn run(args: &[&str]) -> ExitCode {
    let exact = args.contains(&"--exact");
    let mut filters = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
    let none = filters.peek().is_none();
    let filters: Vec<_> = filters.collect();
    let wanted = |name: &str| {
        let fits = |filter: &str| {
            if exact { name == filter } else { name.contains(filter) }
        };
        none || filters.iter().any(|filter| fits(filter))
    };
    let tests = TESTS.iter().filter(|(name, _)| wanted(name));
    if args.contains(&"--list") {
        tests.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, test) in tests {
        let passed = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u8::from(!passed);
    }
    ExitCode::from(failed)
}
