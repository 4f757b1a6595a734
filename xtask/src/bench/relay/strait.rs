//! `strait hub` and `strait agent`, joined with a token as anybody joins them.

use std::ffi::OsString;
use std::fs;
use std::path::Path as FilePath;
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

/// The agent, and the service that it offers.
const AGENT: &str = "bench";
const SERVICE: &str = "echo";
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
    let hub = Hub::launch(ground, &QUIET).await?;
    let directory = ground.directory.join("agent");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    let kubeconfig = hub.data("admin.kubeconfig");
    let join = ask(ground, &kubeconfig, &["agent", "token", "create", AGENT])?;
    let (token, config) = (directory.join("token"), directory.join("agent.yaml"));
    fs::write(&token, join)?;
    fs::write(&config, offer(service))?;
    let logs = vec![hub.log(), directory.join("log")];
    let mut arguments: Vec<OsString> = ["agent", "--health", "127.0.0.1:0"].map(Into::into).into();
    arguments.extend(QUIET.map(Into::into));
    arguments.extend(["--parent".into(), std::process::id().to_string().into()]);
    arguments.extend(["--data-dir".into(), directory.join("data").into()]);
    arguments.extend(["--token-file".into(), token.into(), "--config".into(), config.into()]);
    let program = ground.binary.clone();
    let mut inner = Process::start(Recipe { program, arguments, log: directory.join("log") })?;
    let tls = https::tls(hub.roots()?, None)?;
    let mut target = target(hub.port(), Some(tls), format!("/services/relay/{AGENT}/{SERVICE}"));
    target.tokens =
        tokens(ground, &kubeconfig, &mut inner).with_context(|| last_lines(&logs[1]))?;
    Ok(Path { kind: Kind::Strait, target, outer: Outer::Hub(hub), inner: Some(inner), logs })
}

/// The agent's configuration.
fn offer(service: &Service) -> String {
    let address = service.address;
    format!(
        "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n\
         defaults: {{concurrent: {CONCURRENT}}}\n\
         services:\n- {{name: {SERVICE}, type: http, url: \"http://{address}\"}}\n"
    )
}

/// Tokens for the service, as soon as the hub knows it.
fn tokens(ground: &Ground, kubeconfig: &FilePath, agent: &mut Process) -> Result<Vec<String>> {
    let name = format!("{AGENT}/{SERVICE}");
    let stopwatch = Stopwatch::start();
    let mut tokens = Vec::new();
    while tokens.len() < TOKENS {
        match ask(ground, kubeconfig, &["service", "token", &name]) {
            Ok(token) => tokens.push(token),
            Err(_) if !agent.is_running() => bail!("the agent ended"),
            Err(error) if stopwatch.elapsed() > ANNOUNCED_MAX => return Err(error),
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
    Ok(tokens)
}

/// Runs a command of the administrator; what it prints.
fn ask(ground: &Ground, kubeconfig: &FilePath, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(&ground.binary);
    command.args(arguments).arg("--kubeconfig").arg(kubeconfig);
    let output = command.output().context("cannot run strait")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("strait {}: {}", arguments.join(" "), said.lines().next().unwrap_or_default());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
