//! `strait up`: a hub, an agent and an example on one machine, each a process of its own.

mod agent;
mod child;
mod demo;
mod proof;
mod relayed;
mod steps;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use strait_hub::kubeconfig;
use strait_pki::{Authority, ClientSubject};
use strait_runtime::{Context, fs};
use strait_types::Report;

use crate::client::{ClientArgs, Workspace};
use crate::exit::{Exit, Failure};
use crate::log::LogArgs;
use crate::process;
use crate::settings::Setting;
use child::Child;
use steps::Steps;

/// Life of the certificates in the kubeconfig, which is written anew at every start.
const CREDENTIALS_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Group of those who administer the whole hub.
const ADMINS: &str = "system:kcp:admin";

/// Starts a hub and an agent on this machine, with an example, and proves that requests cross
///
/// Ends with Ctrl-C: first the agent, then the hub. Started again on the same directory it finds
/// everything as it was. Standard output gets one line, beginning with `ready`.
#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// Directory of everything; made if it is not there [default: strait-data]
    #[arg(long, env = "STRAIT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<String>,

    /// Address that the hub listens on [default: 127.0.0.1:6443]
    #[arg(long, env = "STRAIT_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<String>,

    /// Kubeconfig file to write [default: DIR/kubeconfig]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// No example: only the hub and an agent that is connected
    #[arg(long)]
    no_demo: bool,
}

/// What is being brought up.
struct Up {
    directory: PathBuf,
    kubeconfig: PathBuf,
    listen: String,
    demo: bool,
    log: LogArgs,
    context: Context,
}

/// Brings everything up, and keeps it up until told to end.
pub(crate) fn run(args: &UpArgs, log: &LogArgs) -> Result<Exit, Failure> {
    let log = log.or_default("warn");
    let mut mistakes = Vec::new();
    let listen = Setting::of(args.listen.as_ref(), "listen", "127.0.0.1:6443");
    let address =
        listen.parse::<std::net::SocketAddr>("ADDR:PORT", "127.0.0.1:6443", &mut mistakes);
    if address.is_some_and(|address| !address.ip().is_loopback()) {
        mistakes.push(format!(
            "{}: {} can be reached from other machines; `up` is for one machine, `strait hub` for more",
            listen.from, listen.text
        ));
    }
    let directory = Setting::of(args.data_dir.as_ref(), "data-dir", "strait-data");
    if directory.text.is_empty() {
        mistakes.push(format!("{}: is empty; expected a directory", directory.from));
    }
    if !mistakes.is_empty() {
        return Err(Failure::usage(mistakes));
    }
    // Children run elsewhere, and what is printed should hold in any directory.
    let directory = std::path::absolute(&directory.text)?;
    let kubeconfig = match &args.kubeconfig {
        Some(path) => std::path::absolute(path)?,
        None => directory.join("kubeconfig"),
    };
    process::run(&log, None, None, |context| {
        let up = Up {
            directory,
            kubeconfig,
            listen: listen.text,
            demo: !args.no_demo,
            log: log.clone(),
            context,
        };
        up.run()
    })
}

/// The processes, in the order in which they are ended.
#[derive(Default)]
struct Children {
    agent: Option<Child>,
    signer: Option<Child>,
    hub: Option<Child>,
}

impl Children {
    /// Ends the agent before the hub, so that what it does is written down.
    async fn stop(&mut self) {
        for child in [&mut self.agent, &mut self.signer, &mut self.hub] {
            if let Some(child) = child.take() {
                child.stop().await;
            }
        }
    }

    /// Waits until one of them ends, which none should.
    async fn one_ended(&mut self) -> String {
        tokio::select! {
            ended = child::ended(&mut self.agent) => ended,
            ended = child::ended(&mut self.signer) => ended,
            ended = child::ended(&mut self.hub) => ended,
        }
    }
}

impl Up {
    async fn run(self) -> Result<Exit, Failure> {
        let mut children = Children::default();
        let steps = Steps::new(self.context.clock.clone());
        let shutdown = self.context.shutdown.clone();
        let started = tokio::select! {
            () = shutdown.asked() => None,
            started = self.start(&mut children, &steps) => Some(started),
        };
        steps.finish();
        let result = match started {
            None => Ok(Exit::Done),
            Some(Err(failure)) => Err(failure),
            Some(Ok(ready)) => {
                process::announce(&ready)?;
                tokio::select! {
                    () = shutdown.asked() => Ok(Exit::Done),
                    ended = children.one_ended() => Err(Failure { exit: Exit::Failed, lines: vec![ended] }),
                }
            }
        };
        children.stop().await;
        result
    }

    /// Starts everything and proves the path; what standard output is told.
    async fn start(&self, children: &mut Children, steps: &Steps) -> Result<String, Failure> {
        steps.next("starting the hub");
        let args = ["hub", "--data-dir", path(&self.directory)?, "--listen", &self.listen];
        // Whoever ends it is waiting for that.
        let at_once = ["--relay-drain", "0s", "--relay-drain-hard", "0s"];
        let args = [&args[..], &at_once].concat();
        let hub = children.hub.insert(Child::start("hub", &args, &self.log)?);
        let url = hub.ready().await?;
        let admin = self.directory.join("admin.kubeconfig");
        let workspace = async |name: &str| {
            let args = ClientArgs {
                kubeconfig: Some(admin.clone()),
                context: None,
                workspace: Some(name.to_owned()),
            };
            Workspace::open(&args).await
        };
        if !self.demo {
            steps.next("starting the agent");
            agent::start(self, &url, &workspace("root").await?, None, children).await?;
            self.write_kubeconfig(&url)?;
            let commands = [
                "get workspaces",
                "api-resources",
                "get agents -o yaml",
                "create namespace first",
                "auth whoami",
            ];
            self.explain(&commands, "");
            return Ok(format!("{url} agent=connected"));
        }
        steps.next("making the example");
        demo::ensure(self, &workspace).await?;
        let signer = demo::start_signer(self, children).await?;
        steps.next("starting the agent");
        let provider = workspace(demo::PROVIDER).await?;
        agent::start(self, &url, &provider, Some(&signer), children).await?;
        self.write_kubeconfig(&url)?;
        steps.next("crossing");
        let crossing = proof::cross(self, &workspace(demo::TENANT).await?).await?;
        let relayed = relayed::relay(self, &provider).await?;
        if relayed.key != crossing.key {
            let (one, other) = (&crossing.key, &relayed.key);
            return Err(Failure::failed(&format!("the signer has two keys: {one} and {other}")));
        }
        steps.say(&crossing.to_string());
        steps.say(&relayed.to_string());
        let commands = [
            "apply -f examples/signing-request.yaml",
            "wait --for=condition=Succeeded signingrequest/release-1",
            "get signingrequests -o yaml",
            "explain signingrequest.spec",
            "--context root get workspaces",
        ];
        self.explain(&commands, &self.curl(&url)?);
        let (crossing_ms, relay_ms) = (crossing.total_ms(), relayed.total_ms());
        Ok(format!("{url} agent=connected crossing={crossing_ms}ms relay={relay_ms}ms"))
    }

    /// What asks the private service as a client outside does, with a token for it.
    fn curl(&self, url: &str) -> Result<String, Failure> {
        let program = std::env::current_exe()?;
        Ok(format!(
            "  curl --cacert {} -H \"Authorization: Bearer $({} service token {}/{} --kubeconfig {} \
             --context {})\" {url}{}\n",
            self.directory.join("ca.crt").display(),
            program.display(),
            agent::NAME,
            demo::SERVICE,
            self.kubeconfig.display(),
            demo::PROVIDER,
            relayed::path(),
        ))
    }

    /// A kubeconfig with a certificate for each context.
    fn write_kubeconfig(&self, url: &str) -> Result<(), Failure> {
        let pki = self.directory.join("pki");
        let (clock, entropy) = (self.context.clock.clone(), self.context.entropy.clone());
        let authority = Authority::load(&pki, clock, entropy)?;
        let authority = authority.ok_or_else(|| Failure::failed("the hub's CA is not there"))?;
        let people: &[(&str, &str, Option<&str>)] = if self.demo {
            &[
                ("root", "admin", Some(ADMINS)),
                (demo::PROVIDER, demo::PROVIDER_USER, None),
                (demo::TENANT, demo::TENANT_USER, None),
            ]
        } else {
            &[("root", "admin", Some(ADMINS))]
        };
        let mut written = Vec::new();
        for (workspace, user, group) in people {
            let subject = ClientSubject {
                user: (*user).to_owned(),
                group: group.map(str::to_owned),
                uri: None,
            };
            let issued = authority.issue_client(&subject, CREDENTIALS_LIFE)?;
            let server = format!("{url}/clusters/{workspace}");
            written.push((*workspace, server, issued.certificate_pem(), issued.key_pem()?));
        }
        let contexts: Vec<_> = written
            .iter()
            .map(|(name, server, certificate, key)| kubeconfig::Context {
                name,
                server,
                certificate,
                key: key.expose(),
            })
            .collect();
        let current = contexts.last().map_or("root", |context| context.name);
        let text = kubeconfig::render(&authority.certificate_pem(), &contexts, current);
        fs::write_atomic(&self.kubeconfig, text.as_bytes(), 0o600)?;
        Ok(())
    }

    /// What to try next, for people: kubectl's commands, and what follows them.
    fn explain(&self, commands: &[&str], last: &str) {
        let mut text = format!("\nkubeconfig: {}\n\nTry:\n", self.kubeconfig.display());
        for command in commands {
            text.push_str(&format!(
                "  kubectl --kubeconfig {} {command}\n",
                self.kubeconfig.display()
            ));
        }
        text.push_str(last);
        steps::say(&text);
    }
}

/// A path as an argument.
fn path(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure::usage(vec![format!("{}: is not UTF-8", path.display())]))
}

/// A failed call to the hub, in what it was to do.
fn failed(what: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::failed(&format!("{what}: {}", Report(error)))
}
