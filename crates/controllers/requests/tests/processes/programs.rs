//! Programs as the work of requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use strait_machinery::json::Value;

use crate::fake_hub::FakeHub;
use crate::support::{ALLOW, Agent, Home, condition, digest, documents, finalizers, phase};

const AT: (&str, &str, &str) = ("a", "ns", "release-1");

/// A class whose program is a shell script with the home's directory as its first argument.
fn config(home: &Home, script: &str, class: &str) -> String {
    let dir = home.path("");
    let executor = format!(
        "process:
      program: /bin/sh
      args: [-c, '{script}', sh, '{}']
      env: [{{name: PATH, value: '/usr/bin:/bin'}}]
      isolation: none",
        dir.display()
    );
    documents(&executor, class, ALLOW)
}

/// Answers with a signature of what it read.
const SIGN: &str = r#"read line; printf "{\"signature\": %s}" "$line""#;

/// Notes each run, then waits to be let on, then answers.
const WAIT: &str = r#"echo $$ >> "$1/runs"; while ! test -e "$1/go"; do sleep 0.02; done; echo "{\"signature\": 1}""#;

async fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    for _ in 0..3000 {
        match look() {
            Some(found) => return found,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{what} did not come");
}

/// The numbers of the processes that ran.
async fn runs(home: &Home) -> Vec<String> {
    let text = until("a run", || {
        std::fs::read_to_string(home.path("runs")).ok().filter(|text| text.ends_with('\n'))
    });
    text.await.lines().map(str::to_owned).collect()
}

fn stat(pid: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).ok().filter(|stat| !stat.contains(") Z "))
}

async fn gone(pid: &str) {
    until("a process's end", || stat(pid).is_none().then_some(())).await;
}

fn kept(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn ended(hub: &FakeHub, as_phase: &str) -> Value {
    let over = |object: Option<&Value>| {
        object.is_some_and(|object| phase(object) == as_phase && finalizers(object) == 0)
    };
    hub.wait(AT, over).await.unwrap()
}

pub(crate) async fn a_program_gets_the_parameters_and_its_results_come_back() {
    let (hub, home) = (FakeHub::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&home, SIGN, ""));
    let uid = hub.create(AT, digest("d1")).to_string();
    let object = ended(&hub, "Succeeded").await;
    let signature = object.at(&["status", "signature"]).unwrap().to_string();
    assert_eq!(signature, r#"{"digest":"d1"}"#);
    assert!(hub.calls("/release-1/status") <= 3);
    until("an empty directory", || kept(&home.path("exec")).is_empty().then_some(())).await;
    agent.stop().await;
    assert_eq!(home.audited(&uid), ["decided all allowed", "started  process", "ended  Succeeded"]);
}

pub(crate) async fn a_failing_program_fails_its_request_and_its_words_stay_here() {
    let (hub, home) = (FakeHub::start().await, Home::new());
    let script = "echo secret-host; echo secret-host >&2; exit 3";
    let agent = Agent::start(&hub, &home, &config(&home, script, ""));
    hub.create(AT, digest("d1"));
    let object = ended(&hub, "Failed").await;
    assert_eq!(object.str_at(&["status", "failure", "code"]), Some("ExitCode"));
    assert!(!object.to_string().contains("secret-host"));
    agent.stop().await;
}

pub(crate) async fn a_program_that_cannot_be_executed_fails_its_request() {
    let (hub, home) = (FakeHub::start().await, Home::new());
    let file = home.path("not-a-program");
    std::fs::write(&file, "").unwrap();
    let text = config(&home, SIGN, "").replace("/bin/sh\n", &format!("{}\n", file.display()));
    let agent = Agent::start(&hub, &home, &text);
    hub.create(AT, digest("d1"));
    let object = ended(&hub, "Failed").await;
    assert_eq!(object.str_at(&["status", "failure", "code"]), Some("NotExecutable"));
    assert!(!object.to_string().contains("not-a-program"));
    agent.stop().await;
}

pub(crate) async fn a_cancelled_program_is_stopped() {
    let (hub, home) = (FakeHub::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&home, WAIT, ""));
    hub.create(AT, digest("d1"));
    let pid = runs(&home).await.remove(0);
    hub.edit(AT, |object| object.set(&["spec", "cancel"], true));
    let object = ended(&hub, "Cancelled").await;
    assert_eq!(condition(&object, "Complete"), "Complete=True Cancelled");
    gone(&pid).await;
    agent.stop().await;
}

pub(crate) async fn a_program_outlives_the_agent_and_the_next_one_tells_its_end() {
    for crashes in [true, false] {
        let (hub, home) = (FakeHub::start().await, Home::new());
        let text = config(&home, WAIT, "");
        let agent = Agent::start(&hub, &home, &text);
        hub.create(AT, digest("d1"));
        let pid = runs(&home).await.remove(0);
        hub.wait_phase(AT, "Running").await;
        if crashes {
            agent.crash().await
        } else {
            agent.stop().await
        }
        assert!(stat(&pid).is_some(), "it goes on");
        let agent = Agent::start(&hub, &home, &text);
        std::fs::write(home.path("go"), "").unwrap();
        ended(&hub, "Succeeded").await;
        assert_eq!(runs(&home).await.len(), 1);
        agent.stop().await;
    }
}

pub(crate) async fn a_program_that_ended_meanwhile_is_told_from_its_exit() {
    let (hub, home) = (FakeHub::start().await, Home::new());
    let text = config(&home, WAIT, "");
    let agent = Agent::start(&hub, &home, &text);
    hub.create(AT, digest("d1"));
    let pid = runs(&home).await.remove(0);
    agent.crash().await;
    std::fs::write(home.path("go"), "").unwrap();
    gone(&pid).await;
    let agent = Agent::start(&hub, &home, &text);
    ended(&hub, "Succeeded").await;
    assert_eq!(runs(&home).await.len(), 1);
    agent.stop().await;
}

pub(crate) async fn a_program_whose_supervisor_died_is_of_unknown_outcome() {
    let (hub, home) = (FakeHub::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&home, WAIT, ""));
    hub.create(AT, digest("d1"));
    let pid = runs(&home).await.remove(0);
    let stat = stat(&pid).unwrap();
    let supervisor = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().to_owned();
    let kill = std::process::Command::new("kill").args(["-9", &supervisor]).status().unwrap();
    assert!(kill.success());
    let object = hub.wait_phase(AT, "Indeterminate").await;
    assert_eq!(condition(&object, "Succeeded"), "Succeeded=Unknown Indeterminate");
    gone(&pid).await;
    assert_eq!(runs(&home).await.len(), 1);
    agent.stop().await;
}

pub(crate) async fn a_deleted_request_goes_while_its_program_still_ends() {
    let (hub, home) = (FakeHub::start().await, Home::new());
    let script =
        r#"trap "" TERM; echo $$ >> "$1/runs"; while ! test -e "$1/go"; do sleep 0.02; done"#;
    let agent = Agent::start(&hub, &home, &config(&home, script, "  cancelGrace: 10m"));
    let uid = hub.create(AT, digest("d1")).to_string();
    let pid = runs(&home).await.remove(0);
    hub.delete(AT);
    hub.wait(AT, |object| object.is_none()).await;
    assert!(stat(&pid).is_some());
    std::fs::write(home.path("go"), "").unwrap();
    until("the end in the audit log", || {
        home.audited(&uid).last().filter(|line| line.starts_with("ended")).map(|_| ())
    })
    .await;
    agent.stop().await;
}

pub(crate) async fn a_program_over_its_time_is_stopped() {
    let (hub, home) = (FakeHub::start().await, Home::new());
    let class = "  executionTimeout: 200ms";
    let agent = Agent::start(&hub, &home, &config(&home, WAIT, class));
    hub.create(AT, digest("d1"));
    let object = ended(&hub, "TimedOut").await;
    assert_eq!(condition(&object, "Succeeded"), "Succeeded=False ExecutionTimeout");
    gone(&runs(&home).await[0]).await;
    agent.stop().await;
}
