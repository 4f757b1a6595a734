//! Requests that run programs, through real supervisors: this binary is also the supervisor.

#![expect(clippy::unwrap_used, reason = "these are tests, but without the usual harness")]

#[path = "../../../../reconcile/tests/it/fake_hub.rs"]
#[expect(dead_code, reason = "shared with the tests of reconcile, which use other parts")]
mod fake_hub;
mod programs;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "shared with the tests of calls, which use other parts")]
mod support;

use std::process::ExitCode;

use strait_runtime::SystemClock;
use strait_sandbox::exec::{Options, supervise};

type Test = (&'static str, fn());

macro_rules! tests {
    ($($module:ident { $($name:ident)* })*) => {
        &[$($((
            concat!(stringify!($module), "::", stringify!($name)),
            || block_on($module::$name()),
        ),)*)*]
    };
}

const TESTS: &[Test] = tests! {
    programs {
        a_program_gets_the_parameters_and_its_results_come_back
        a_failing_program_fails_its_request_and_its_words_stay_here
        a_program_that_cannot_be_executed_fails_its_request
        a_cancelled_program_is_stopped
        a_program_outlives_the_agent_and_the_next_one_tells_its_end
        a_program_that_ended_meanwhile_is_told_from_its_exit
        a_program_whose_supervisor_died_is_of_unknown_outcome
        a_deleted_request_goes_while_its_program_still_ends
        a_program_over_its_time_is_stopped
    }
};

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(test);
}

/// Runs the tests whose names contain an argument that is no flag; all without one.
#[expect(clippy::print_stdout, reason = "this is a test harness")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "__exec") {
        drop(supervise(Options::default(), &SystemClock));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let exact = args.iter().any(|arg| arg == "--exact");
    let fits =
        |name: &str, filter: &str| if exact { name == filter } else { name.contains(filter) };
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| fits(name, filter));
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted(name)) {
        if args.iter().any(|arg| arg == "--list") {
            println!("{name}: test");
            continue;
        }
        let passed = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u8::from(!passed);
    }
    ExitCode::from(failed)
}
