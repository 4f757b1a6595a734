//! Gates, adoption, and who ends with whom.

use std::process::Command;

use strait_sandbox::exec::{Adopted, Ending, Handle, HandleError};

use crate::support::{Dir, gone, launcher, run, script, spawn, start, text_in};

/// Writes its number and waits to be killed.
const WAITS: &str = "echo $$ > pid; exec sleep 1000";

pub(crate) async fn a_program_gets_its_input_and_nothing_else() {
    let dir = Dir::new();
    let mut spec = script("cat; echo; /usr/bin/env; pwd; ls /proc/self/fd >&2");
    spec.env.insert("DECLARED".into(), "a b".into());
    let exit = run(&dir, &spec).await;
    assert_eq!(exit.ending, Ending::Exited { code: 0 });
    assert!(exit.started.is_some_and(|started| started <= exit.finished));
    let stdout = dir.text("stdout");
    let mut lines: Vec<&str> = stdout.lines().collect();
    let pwd = lines.pop().unwrap();
    assert!(pwd.ends_with("/k/out"), "{pwd}");
    assert_eq!(lines[0], "input");
    // The shell itself sets PWD and its like.
    let own = ["PATH=", "PWD=", "OLDPWD=", "SHLVL=", "_=", "DECLARED=a b"];
    for line in &lines[1..] {
        assert!(own.iter().any(|own| line.starts_with(own)), "{line}");
    }
    // Three standard ones, and the one that lists.
    assert_eq!(dir.text("stderr").lines().count(), 4);
}

pub(crate) async fn an_exit_code_and_a_signal_are_told_apart() {
    for (text, ending) in
        [("exit 3", Ending::Exited { code: 3 }), ("kill -9 $$", Ending::Killed { signal: 9 })]
    {
        assert_eq!(run(&Dir::new(), &script(text)).await.ending, ending);
    }
}

pub(crate) async fn a_program_that_cannot_be_executed_says_so() {
    let mut spec = script("");
    spec.program = "/nowhere/to/be/found".into();
    let exit = run(&Dir::new(), &spec).await;
    assert!(matches!(exit.ending, Ending::NotExecuted { .. }), "{exit:?}");
    assert_eq!(exit.started, None);
}

pub(crate) async fn a_gate_that_closes_executes_nothing() {
    let dir = Dir::new();
    drop(spawn(&dir, &script("touch ran")).await);
    let exit = match Handle::adopt(&dir.path).await.unwrap() {
        Adopted::Running(mut handle) => handle.wait().await.unwrap(),
        Adopted::Over(exit) => exit,
    };
    assert_eq!(exit.ending, Ending::NeverStarted);
    assert!(!dir.file("out/ran").exists());
}

pub(crate) async fn a_directory_is_used_once_and_is_private() {
    use std::os::unix::fs::PermissionsExt;

    let dir = Dir::new();
    drop(spawn(&dir, &script("")).await);
    let mode = std::fs::metadata(&dir.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let again = launcher().spawn(&dir.path, &script(""), b"").await;
    assert!(again.is_err());
}

pub(crate) async fn a_supervisor_that_cannot_work_says_why() {
    let dir = Dir::new();
    let mut launcher = launcher();
    launcher.args.extend(["--parent".into(), u32::MAX.to_string().into()]);
    let launched = launcher.spawn(&dir.path, &script(""), b"").await;
    let error = launched.unwrap_err().to_string();
    assert_eq!(error, "the supervisor does not work: the parent is no longer process 4294967295");
}

pub(crate) async fn the_program_dies_with_its_supervisor_and_the_outcome_is_unknown() {
    let dir = Dir::new();
    let mut handle = start(&dir, &script(WAITS)).await;
    let program = text_in(&dir.file("out/pid")).await;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.trim())).unwrap();
    let supervisor = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().to_owned();
    assert!(Command::new("kill").args(["-9", &supervisor]).status().unwrap().success());
    gone(&program).await;
    assert!(matches!(handle.wait().await, Err(HandleError::Lost)));
    assert!(matches!(Handle::adopt(&dir.path).await, Err(HandleError::Lost)));
}

/// Starts an agent as a process of its own, which starts one execution; then kills it.
async fn killed_agent(dir: &Dir, bound: &str) -> String {
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["agent".as_ref(), dir.path.as_os_str(), bound.as_ref()])
        .spawn()
        .unwrap();
    let program = text_in(&dir.file("out/pid")).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    program
}

/// The body of that agent.
pub(crate) async fn agent(dir: &str, bound: bool) {
    let mut launcher = launcher();
    if bound {
        let parent = std::process::id().to_string();
        launcher.args.extend(["--parent".into(), parent.into()]);
    }
    let gate = launcher.spawn(dir.as_ref(), &script(WAITS), b"").await.unwrap();
    gate.open().await.unwrap().wait().await.unwrap();
}

pub(crate) async fn an_execution_outlives_its_agent_and_is_adopted() {
    let dir = Dir::new();
    let program = killed_agent(&dir, "free").await;
    assert!(std::fs::exists(format!("/proc/{}", program.trim())).unwrap());
    let Adopted::Running(mut handle) = Handle::adopt(&dir.path).await.unwrap() else {
        panic!("the execution is over");
    };
    handle.cancel(std::time::Duration::from_secs(60)).await.unwrap();
    let exit = handle.wait().await.unwrap();
    gone(&program).await;
    assert!(matches!(Handle::adopt(&dir.path).await, Ok(Adopted::Over(same)) if same == exit));
    // Over is over.
    handle.cancel(std::time::Duration::ZERO).await.unwrap();
}

pub(crate) async fn a_bound_execution_ends_with_its_agent() {
    let dir = Dir::new();
    let program = killed_agent(&dir, "bound").await;
    gone(&program).await;
}
