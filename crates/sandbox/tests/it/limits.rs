//! What stops a program.

use std::time::Duration;

use strait_sandbox::exec::{Ending, Stop, stdout_of};

use crate::support::{Dir, gone, run, script, start, text_in};

const STUBBORN: &str = "trap '' TERM; echo $$ > pid; while :; do sleep 1000; done";

fn stopped(why: Stop) -> Ending {
    Ending::Stopped { why }
}

pub(crate) async fn signals_are_not_blocked_in_the_program() {
    let dir = Dir::new();
    run(&dir, &script("grep SigBlk /proc/self/status")).await;
    assert_eq!(dir.text("stdout"), "SigBlk:\t0000000000000000\n");
}

pub(crate) async fn the_time_limit_ends_the_whole_group() {
    let dir = Dir::new();
    let mut spec = script("sleep 1000 & echo $! > pid; wait");
    spec.time_limit = Duration::from_millis(300);
    let exit = run(&dir, &spec).await;
    assert_eq!(exit.ending, stopped(Stop::TimeLimit));
    gone(&text_in(&dir.file("out/pid")).await).await;
}

pub(crate) async fn who_ignores_the_signal_is_killed_after_the_grace() {
    let dir = Dir::new();
    let mut spec = script(STUBBORN);
    spec.time_limit = Duration::from_millis(200);
    spec.grace = Duration::from_millis(100);
    assert_eq!(run(&dir, &spec).await.ending, stopped(Stop::TimeLimit));
}

pub(crate) async fn a_cancellation_brings_its_own_grace_which_can_be_shortened() {
    let dir = Dir::new();
    let mut handle = start(&dir, &script(STUBBORN)).await;
    text_in(&dir.file("out/pid")).await;
    handle.cancel(Duration::from_secs(600)).await.unwrap();
    handle.cancel(Duration::from_millis(1)).await.unwrap();
    assert_eq!(handle.wait().await.unwrap().ending, stopped(Stop::Cancelled));
}

pub(crate) async fn who_finishes_well_within_the_grace_has_finished() {
    let dir = Dir::new();
    let text = "trap 'echo done; exit 0' TERM; echo $$ > pid; while :; do sleep 0.01; done";
    let mut handle = start(&dir, &script(text)).await;
    text_in(&dir.file("out/pid")).await;
    handle.cancel(Duration::from_secs(60)).await.unwrap();
    assert_eq!(handle.wait().await.unwrap().ending, Ending::Exited { code: 0 });
    assert_eq!(dir.text("stdout"), "done\n");
}

pub(crate) async fn too_much_output_stops_the_program() {
    for text in ["yes", "printf abcdefghijk"] {
        let dir = Dir::new();
        let mut spec = script(text);
        spec.stdout_bytes_max = 10;
        let exit = run(&dir, &spec).await;
        assert_eq!(exit.ending, stopped(Stop::OutputTooLarge), "{text}");
        assert_eq!(stdout_of(&dir.path, 10).unwrap().len(), 10);
    }
}

pub(crate) async fn too_much_error_output_is_cut_and_noted() {
    let dir = Dir::new();
    let mut spec = script("yes | head -c 300000 >&2; echo fine");
    spec.stderr_bytes_max = 1000;
    let exit = run(&dir, &spec).await;
    assert_eq!(exit.ending, Ending::Exited { code: 0 });
    assert!(exit.stderr_truncated);
    assert_eq!(dir.text("stderr").len(), 1000);
    assert_eq!(dir.text("stdout"), "fine\n");
}

pub(crate) async fn output_at_the_limit_is_whole() {
    let dir = Dir::new();
    let mut spec = script("head -c 200000 /dev/zero");
    spec.stdout_bytes_max = 200_000;
    let exit = run(&dir, &spec).await;
    assert_eq!(exit.ending, Ending::Exited { code: 0 });
    assert_eq!(stdout_of(&dir.path, 200_000).unwrap().len(), 200_000);
    assert!(stdout_of(&dir.path, 199_999).is_err());
}

pub(crate) async fn who_stays_behind_is_killed_with_the_group() {
    let dir = Dir::new();
    let text = "(trap '' HUP TERM; echo 1; exec sleep 1000) & echo $! > pid; exit 0";
    let exit = run(&dir, &script(text)).await;
    assert_eq!(exit.ending, Ending::Exited { code: 0 });
    gone(&text_in(&dir.file("out/pid")).await).await;
}

pub(crate) async fn a_signal_to_the_supervisor_ends_the_program_and_is_told() {
    let dir = Dir::new();
    let mut handle = start(&dir, &script("echo $PPID > pid; exec sleep 1000")).await;
    let supervisor = text_in(&dir.file("out/pid")).await;
    let killed = std::process::Command::new("kill").arg(supervisor.trim()).status().unwrap();
    assert!(killed.success());
    assert_eq!(handle.wait().await.unwrap().ending, stopped(Stop::Terminated));
}
