//! A hub, agents of the name `smith`, and tokens for their services.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Hub, Output, Process, ask, strait, tool};

/// Time for something to become so.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

const AGENT: &str = "apiVersion: relay.strait.dev/v1alpha1
kind: Agent
metadata: {name: smith}
spec: {}
";

/// Both sides. Dropping it kills its processes.
pub(super) struct Site {
    pub(super) hub: Hub,
    pub(super) agents: Vec<Agent>,
    pub(super) home: TempDir,
}

/// One agent with a directory of its own.
pub(super) struct Agent {
    pub(super) process: Process,
    directory: PathBuf,
    hub: Option<String>,
}

impl Site {
    /// Starts a hub and an agent that offers these services, and waits until they are there.
    pub(super) fn start(services: &str) -> Self {
        let mut site = Self::without_agents(services);
        site.join(None);
        site.wait_for_services();
        site
    }

    /// A hub, and the file of an agent that is not there yet.
    pub(super) fn without_agents(services: &str) -> Self {
        Self::beside(Hub::start(), services)
    }

    /// The same at this hub.
    pub(super) fn beside(hub: Hub, services: &str) -> Self {
        let home = TempDir::new().unwrap();
        hub.kubectl_with(&["create"], AGENT).succeeded();
        let site = Self { hub, agents: Vec::new(), home };
        site.configure(services);
        site
    }

    /// Writes the file of services, all at once.
    pub(super) fn configure(&self, services: &str) {
        let head = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";
        let new = self.home.path().join("agent.yaml.new");
        std::fs::write(&new, format!("{head}{services}")).unwrap();
        std::fs::rename(new, self.home.path().join("agent.yaml")).unwrap();
    }

    /// Adds an agent of the same name; `hub` is where it looks for the hub.
    pub(super) fn join(&mut self, hub: Option<String>) {
        self.begin_to_join(hub).wait_until_ready();
    }

    /// The same, and the agent may not be there yet.
    pub(super) fn begin_to_join(&mut self, hub: Option<String>) -> &mut Agent {
        self.begin_to_join_by(strait(), hub)
    }

    /// The same by this command.
    pub(super) fn begin_to_join_by(&mut self, command: Command, hub: Option<String>) -> &mut Agent {
        let directory = self.home.path().join(format!("agent-{}", self.agents.len()));
        std::fs::create_dir(&directory).unwrap();
        let token = self.hub.strait(&["agent", "token", "create", "smith"]).succeeded();
        std::fs::write(directory.join("token"), token).unwrap();
        let process = begin_agent_by(command, &directory, hub.as_deref(), &[]);
        self.agents.push(Agent { process, directory, hub });
        self.agents.last_mut().unwrap()
    }

    /// Waits until a token for each service of the file can be made and it is offered.
    pub(super) fn wait_for_services(&self) {
        let text = std::fs::read_to_string(self.home.path().join("agent.yaml")).unwrap();
        for name in text.lines().filter_map(|line| line.trim().strip_prefix("- {name: ")) {
            let name = name.split([',', '}']).next().unwrap();
            eventually(&format!("service {name}"), || {
                self.hub.strait(&["service", "list"]).succeeded().contains(&format!("smith/{name}"))
            });
        }
    }

    /// A token for a service.
    pub(super) fn token(&self, service: &str) -> String {
        let output = self.hub.strait(&["service", "token", &format!("smith/{service}")]);
        output.succeeded().trim().to_owned()
    }

    /// The same that lives so long.
    pub(super) fn token_for(&self, service: &str, life: Duration) -> String {
        let (service, life) = (format!("smith/{service}"), format!("{}s", life.as_secs()));
        let output = self.hub.strait(&["service", "token", &service, "--ttl", &life]);
        output.succeeded().trim().to_owned()
    }

    /// The hub's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.hub.server().trim_start_matches("https://").parse().unwrap()
    }

    /// The public URL of something of a service.
    pub(super) fn url(&self, service: &str, path: &str) -> String {
        format!("https://{}/services/relay/smith/{service}{path}", self.address())
    }

    /// The file with the hub's authority.
    pub(super) fn authority(&self) -> PathBuf {
        self.hub.data().join("ca.crt")
    }

    /// Runs curl against a service; what it is asked for is its last argument.
    pub(super) fn curl(&self, token: &str, arguments: &[&str], url: &str) -> Output {
        self.start_curl(token, arguments, url).finish()
    }

    /// Whether a request to a service succeeds, soon.
    pub(super) fn works(&self, service: &str, token: &str) -> bool {
        let arguments = ["--fail", "--max-time", "2"];
        self.curl(token, &arguments, &self.url(service, "/a")).code == Some(0)
    }

    /// Starts curl against a service, and leaves it running.
    pub(super) fn start_curl(&self, token: &str, arguments: &[&str], url: &str) -> Process {
        Process::start(self.curl_command(token).args(arguments).arg(url))
    }

    /// curl as it is always run.
    pub(super) fn curl_command(&self, token: &str) -> Command {
        let mut curl = program("curl");
        curl.args(["--silent", "--show-error", "--max-time", "120", "--cacert"])
            .arg(self.authority())
            .args(["--oauth2-bearer", token])
            .current_dir(self.home.path());
        curl
    }
}

impl Agent {
    /// Waits until the hub has its first report.
    pub(super) fn wait_until_ready(&mut self) {
        self.process.wait_for_output(|line| line.starts_with("ready "));
    }

    /// Ends it as an operator does, and lets its certificate be due when it is started again, which
    /// is waited for.
    pub(super) fn renew(&mut self) {
        let ended = std::mem::replace(&mut self.process, idle()).terminate();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let file = self.directory.join("data/membership.json");
        let kept = std::fs::read_to_string(&file).unwrap();
        let (before, rest) = kept.split_once("\"renewAt\": \"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        let due = format!("{before}\"renewAt\": \"2026-01-01T00:00:00Z\"{after}");
        std::fs::write(&file, due).unwrap();
        self.process = begin_agent(&self.directory, self.hub.as_deref());
        self.process.wait_for_log(|line| line.contains("certificate renewed"));
    }

    /// Where it answers probes.
    pub(super) fn health(&self) -> SocketAddr {
        let health = std::fs::read_to_string(self.directory.join("data/health")).unwrap();
        health.trim().parse().unwrap()
    }

    /// Its metrics.
    pub(super) fn metrics(&self) -> String {
        ask(self.health(), "GET /metrics", &[], "").body
    }

    /// What `strait agent status` says of it.
    pub(super) fn status(&self) -> Output {
        let mut command = strait();
        command.args(["agent", "status", "--data-dir"]);
        Process::start(command.arg(self.directory.join("data"))).finish()
    }

    /// How often the file of services was read again with this result.
    pub(super) fn reloads(&self, result: &str) -> usize {
        let of = format!("strait_relay_config_reload_total{{result=\"{result}\"}} ");
        let metrics = self.metrics();
        let count = metrics.lines().find_map(|line| line.strip_prefix(&of));
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// Starts it again, on what it kept.
    pub(super) fn start_again(&mut self) {
        self.process = start_agent(&self.directory, self.hub.as_deref());
    }

    /// Its data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Ends it as an operator does, and starts it again.
    pub(super) fn roll(&mut self) {
        self.roll_by(strait(), &[]);
    }

    /// The same by this command, with more arguments.
    pub(super) fn roll_by(&mut self, command: Command, more: &[&str]) {
        let ended = std::mem::replace(&mut self.process, idle()).terminate();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        self.process = begin_agent_by(command, &self.directory, self.hub.as_deref(), more);
        self.wait_until_ready();
    }

    /// Ends it without a word.
    pub(super) fn kill(&mut self) {
        let process = std::mem::replace(&mut self.process, idle());
        process.end_with(rustix::process::Signal::KILL);
    }
}

/// A program of the machine, knowing nothing of who runs the test.
pub(super) fn program(name: &str) -> Command {
    let path = "/usr/local/bin:/usr/bin:/bin:/usr/local/go/bin";
    let found = path.split(':').map(|directory| Path::new(directory).join(name));
    let found = found.into_iter().find(|path| path.is_file());
    let found = found.unwrap_or_else(|| panic!("the tests of the relay need {name} in {path}"));
    let mut command = Command::new(found);
    command.env_clear().env("PATH", path);
    command
}

/// A script in Python that may use what `cargo xtask test` gets for it.
pub(super) fn python(script: &str) -> Command {
    let mut python = program("python3");
    python.env("PYTHONPATH", tool("python")).env("PYTHONUNBUFFERED", "1").args(["-c", script]);
    python
}

/// Waits until something is so.
#[track_caller]
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Lets so much time pass.
pub(super) fn rest(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::thread::park_timeout(time.saturating_sub(began.elapsed()));
    }
}

fn start_agent(directory: &Path, hub: Option<&str>) -> Process {
    let mut process = begin_agent(directory, hub);
    process.wait_for_output(|line| line.starts_with("ready "));
    process
}

fn begin_agent(directory: &Path, hub: Option<&str>) -> Process {
    begin_agent_by(strait(), directory, hub, &[])
}

fn begin_agent_by(
    mut command: Command,
    directory: &Path,
    hub: Option<&str>,
    more: &[&str],
) -> Process {
    command.args(["agent", "--health", "127.0.0.1:0", "--data-dir"]);
    command.arg(directory.join("data")).arg("--token-file").arg(directory.join("token"));
    command.arg("--config").arg(directory.parent().unwrap().join("agent.yaml"));
    if let Some(hub) = hub {
        command.args(["--hub", hub]);
    }
    command.args(["--parent", &std::process::id().to_string()]).args(more);
    Process::start(&mut command)
}

/// Stands in a process's place while there is none.
pub(super) fn idle() -> Process {
    Process::start(&mut program("true"))
}
