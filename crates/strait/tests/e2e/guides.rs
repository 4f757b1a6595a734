//! The commands of the guides, run as they stand there: copied and pasted, on an empty directory.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::harness::{Hub, Process, tool};

const RELAY: &str = include_str!("../../../../docs/relay.md");
const OPERATIONS: &str = include_str!("../../../../docs/operations.md");

/// Time for something to become so.
const PATIENCE: Duration = Duration::from_secs(40);

/// What runs on in a shell of its own.
const SERVERS: [&str; 3] = ["strait hub ", "strait agent --data-dir ", "python3 -m http.server "];

/// Whoever follows a guide.
struct Reader {
    home: TempDir,
    /// What stands in the guide, and what it is here.
    here: Vec<(&'static str, String)>,
    hub: SocketAddr,
    /// What was exported, for the shells that follow.
    exported: String,
}

impl Reader {
    fn new(hub: SocketAddr, here: &[(&'static str, &str)]) -> Self {
        let here = here.iter().map(|(there, here)| (*there, (*here).to_owned())).collect();
        Self { home: TempDir::new().unwrap(), here, hub, exported: String::new() }
    }

    fn shell(&self, commands: &str) -> Command {
        let mut script = format!("{}{commands}", self.exported);
        for (there, here) in &self.here {
            script = script.replace(there, here);
        }
        let own = Path::new(env!("CARGO_BIN_EXE_strait")).parent().unwrap().display();
        let tools = tool("kubectl").parent().unwrap().display().to_string();
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().args(["-euc", &script]).current_dir(self.home.path());
        shell.env("PATH", format!("{own}:{tools}:/usr/local/bin:/usr/bin:/bin"));
        shell.env("HOME", self.home.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        // What is fixed in a guide is whoever is first's on the machine of the tests.
        shell.env("STRAIT_LISTEN", self.hub.to_string()).env("STRAIT_HEALTH", "127.0.0.1:0");
        shell
    }

    /// What commands say that end well.
    fn run(&mut self, commands: &str) -> String {
        let said = Process::start(&mut self.shell(commands)).finish().succeeded();
        let exports = commands.lines().filter(|line| line.starts_with("export "));
        self.exported.extend(exports.flat_map(|line| [line, "\n"]));
        said
    }

    fn serve(&self, command: &str) -> Process {
        Process::start(&mut self.shell(&format!("exec {command}")))
    }
}

/// The blocks of shell below a heading.
fn blocks(document: &'static str, heading: &str) -> Vec<&'static str> {
    let (_, rest) = document.split_once(&format!("\n{heading}\n")).expect(heading);
    let end = rest.find("\n## ").unwrap_or(rest.len());
    let blocks = rest[..end].split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

/// A port that is free for whoever asks for it by number, and is given to nobody who asks for any.
fn free() -> (TcpSocket, SocketAddr) {
    let kept = TcpSocket::new_v4().unwrap();
    kept.set_reuseaddr(true).unwrap();
    kept.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = kept.local_addr().unwrap();
    (kept, address)
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn the_relays_guide_leads_from_an_empty_directory_to_an_answer() {
    let ((_hub, hub), (_service, service)) = (free(), free());
    let port = format!("http.server {}", service.port());
    let here = [
        ("127.0.0.1:6443", &*hub.to_string()),
        ("127.0.0.1:8080", &*service.to_string()),
        ("http.server 8080", &*port),
    ];
    let mut reader = Reader::new(hub, &here);
    let (mut servers, mut said) = (Vec::new(), String::new());
    for block in blocks(RELAY, "## Try it on one machine") {
        if !SERVERS.iter().any(|server| block.starts_with(server)) {
            if block.starts_with("strait service list") {
                let list = |reader: &mut Reader| reader.run("strait service list");
                eventually("the service", || list(&mut reader).contains("True"));
            }
            said.push_str(&reader.run(block));
            continue;
        }
        let mut server = reader.serve(block);
        if block.starts_with("python3") {
            eventually("the service inside", || TcpStream::connect(service).is_ok());
        } else {
            server.wait_for_output(|line| line.starts_with("ready "));
        }
        servers.push(server);
    }
    assert_eq!(servers.len(), SERVERS.len());
    assert!(said.contains("smith/files") && said.ends_with("hello from inside\n"), "{said}");
    let cloned = reader.home.path().join("repo");
    assert!(cloned.join(".git/HEAD").exists());

    // It was told of nothing that does not concern it, and is what it says everywhere.
    let agents = reader.run("strait agent list && strait agent show smith");
    let version = env!("CARGO_PKG_VERSION");
    assert!(agents.contains(version) && !agents.contains("strait/"), "{agents}");
    let agent = servers.pop().unwrap().terminate();
    assert_eq!(agent.code, Some(0), "{agent:?}");
    assert!(agent.stderr.contains("\"carriage\":\"direct\""), "{}", agent.stderr);
    assert!(!agent.stderr.contains("WARN"), "{}", agent.stderr);
}

#[test]
fn prometheus_gets_what_operations_says() {
    let hub = Hub::start();
    let address = hub.server().trim_start_matches("https://").to_owned();
    let data = hub.data().display().to_string();
    let here = [("hub.example.org:6443", &*address), ("/var/lib/strait", &*data)];
    let mut reader = Reader::new(address.parse().unwrap(), &here);
    let section = OPERATIONS.split_once("\n### Health and metrics\n").unwrap().1;
    let commands = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let said = reader.run(commands);
    assert!(said.contains("\napiserver_request_total"), "{said}");
    // That, and nothing else.
    let ask = commands.lines().last().unwrap().replace("/metrics", "/clusters/root/api/v1/secrets");
    let refused = reader.run(&ask);
    assert!(refused.contains("\"reason\":\"Forbidden\""), "{refused}");
    assert!(hub.kubectl(&["get", "--raw", "/metrics"]).succeeded().contains("strait_"));
    let config = section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(config.matches("- job_name: ").count(), 2);
    for file in ["prometheus.key", "prometheus.crt"] {
        assert!(config.contains(file) && fs::exists(reader.home.path().join(file)).unwrap());
    }
}
