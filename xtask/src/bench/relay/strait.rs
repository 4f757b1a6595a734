//! `strait hub` and `strait agent`, joined with a token as anybody joins them.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::path::{Kind, Outer, Path, target};
use super::process::{Process, Recipe};
use super::service::Service;
use crate::bench::Ground;
use crate::bench::hub::{Hub, last_lines};
use crate::https;
use crate::stopwatch::Stopwatch;

/// Where agents are, below the directory of a measurement.
const AGENTS: &str = "agents";
/// The name of all agents, and the service that they offer.
pub(crate) const AGENT: &str = "bench";
pub(crate) const SERVICE: &str = "echo";
/// What is said of each request is not written, as nginx's is not.
const QUIET: [&str; 2] = ["--log", "warn"];
/// Streams that the service may have at once: more than are opened.
const CONCURRENT: usize = 4096;
/// Credentials that clients share, so that none has more streams than one may have.
const TOKENS: usize = 8;
/// Time for the hub to know what the agent offers.
const ANNOUNCED_MAX: Duration = Duration::from_secs(10);
/// Time from one look to the next.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Starts a hub, lets an agent join that offers the service, and makes tokens for it.
///
/// # Errors
/// The hub does not start, the agent does not join, or its service does not become known.
pub(crate) async fn start(ground: &Ground, service: &Service) -> Result<Path> {
    begin(ground, service, Hub::launch(ground, &QUIET).await?, None)
}

/// The same with a hub that listens on an address, and an agent in a network of its own.
///
/// # Errors
/// As for [`start`].
pub(crate) async fn start_far(
    ground: &Ground,
    service: &Service,
    host: &'static str,
    inside: &str,
) -> Result<Path> {
    begin(ground, service, Hub::launch_at(ground, host, &QUIET).await?, Some(inside))
}

fn begin(ground: &Ground, service: &Service, hub: Hub, inside: Option<&str>) -> Result<Path> {
    let _ = fs::remove_dir_all(ground.directory.join(AGENTS));
    fs::create_dir_all(ground.directory.join(AGENTS))?;
    offer(ground, service, false)?;
    let mut inner = agent_in(ground, &hub, "first", inside)?;
    let logs = vec![hub.log(), inner.log().to_owned()];
    let tls = https::tls(hub.roots()?, None)?;
    let mut target = target(hub.port(), Some(tls), format!("/services/relay/{AGENT}/{SERVICE}"));
    target.address.set_ip(hub.host().parse()?);
    target.tokens = first_tokens(ground, &hub, &mut inner).with_context(|| last_lines(&logs[1]))?;
    Ok(Path { kind: Kind::Strait, target, outer: Outer::Hub(hub), inner: Some(inner), logs })
}

/// Lets an agent join, which has a directory of this name.
///
/// # Errors
/// There is no token for it, or it cannot be started.
pub(crate) fn agent(ground: &Ground, hub: &Hub, name: &str) -> Result<Process> {
    agent_in(ground, hub, name, None)
}

fn agent_in(ground: &Ground, hub: &Hub, name: &str, inside: Option<&str>) -> Result<Process> {
    let directory = ground.directory.join(AGENTS).join(name);
    fs::create_dir_all(&directory)?;
    let join = ask(ground, hub, &["agent", "token", "create", AGENT])?;
    let token = directory.join("token");
    fs::write(&token, join)?;
    let mut arguments: Vec<OsString> = ["agent", "--health", "127.0.0.1:0"].map(Into::into).into();
    arguments.extend(QUIET.map(Into::into));
    arguments.extend(["--parent".into(), std::process::id().to_string().into()]);
    arguments.extend(["--data-dir".into(), directory.join("data").into()]);
    arguments.extend(["--token-file".into(), token.into()]);
    arguments.extend(["--config".into(), config(ground).into()]);
    let mut program = ground.binary.clone();
    if let Some(network) = inside {
        let before = ["netns".into(), "exec".into(), network.into(), program.into()];
        arguments.splice(0..0, before);
        program = "ip".into();
    }
    Process::start(Recipe { program, arguments, log: directory.join("log") })
}

/// The file that all agents read.
fn config(ground: &Ground) -> PathBuf {
    ground.directory.join(AGENTS).join("agent.yaml")
}

/// Writes what agents offer, all at once: the service, and the same under another name, too.
///
/// # Errors
/// It cannot be written.
pub(crate) fn offer(ground: &Ground, service: &Service, twice: bool) -> Result<()> {
    write_offer(ground, service.address.port(), twice)
}

/// Writes that agents offer what listens on a port, in a directory that is made.
///
/// # Errors
/// It cannot be written.
pub(crate) fn offer_at(ground: &Ground, port: u16) -> Result<()> {
    fs::create_dir_all(ground.directory.join(AGENTS))?;
    write_offer(ground, port, false)
}

fn write_offer(ground: &Ground, port: u16, twice: bool) -> Result<()> {
    let one = |name| format!("- {{name: {name}, type: http, url: \"http://127.0.0.1:{port}\"}}\n");
    let other = if twice { one("other") } else { String::new() };
    let text = format!(
        "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n\
         defaults: {{concurrent: {CONCURRENT}}}\nservices:\n{}{other}",
        one(SERVICE)
    );
    let new = config(ground).with_extension("new");
    fs::write(&new, text)?;
    Ok(fs::rename(new, config(ground))?)
}

/// Tokens for the service, as soon as the hub knows it.
fn first_tokens(ground: &Ground, hub: &Hub, agent: &mut Process) -> Result<Vec<String>> {
    let stopwatch = Stopwatch::start();
    loop {
        match tokens(ground, hub) {
            Ok(tokens) => return Ok(tokens),
            Err(_) if !agent.is_running() => bail!("the agent ended"),
            Err(error) if stopwatch.elapsed() > ANNOUNCED_MAX => return Err(error),
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Tokens for the service.
///
/// # Errors
/// The hub makes none.
pub(crate) fn tokens(ground: &Ground, hub: &Hub) -> Result<Vec<String>> {
    let name = format!("{AGENT}/{SERVICE}");
    (0..TOKENS).map(|_| ask(ground, hub, &["service", "token", &name])).collect()
}

/// Runs a command of the administrator; what it prints.
fn ask(ground: &Ground, hub: &Hub, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(&ground.binary);
    command.args(arguments).arg("--kubeconfig").arg(hub.data("admin.kubeconfig"));
    let output = command.output().context("cannot run strait")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("strait {}: {}", arguments.join(" "), said.lines().next().unwrap_or_default());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
