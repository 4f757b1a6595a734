//! Programs beside an agent, on their way to services beside the hub.

use std::fmt::Display;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use tempfile::TempDir;

use super::origin::Origin;
use super::site::{PATIENCE, Site, eventually, program};
use crate::harness::{Hub, Output, Process};

/// More than any buffer on the way may hold.
const LARGE: u64 = 128 << 20;

const HEAD: &str = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";

/// Listeners of the agent at a port each, and one at a socket.
pub(super) struct Way {
    pub(super) site: Site,
    pub(super) web: String,
    pub(super) bytes: String,
}

impl Way {
    pub(super) fn start(origin: &Origin) -> Self {
        Self::to(origin.address, "upgrade: true")
    }

    /// To what is at this address, both as HTTP with these options and as bytes.
    pub(super) fn to(address: impl Display, options: &str) -> Self {
        let home = TempDir::new().unwrap();
        let users = "allow: {users: ['system:strait:agent:*']}";
        let services = format!(
            "{HEAD}services:\n\
             - {{name: web, type: http, url: 'http://{address}', {options}, {users}}}\n\
             - {{name: bytes, type: tcp, address: '{address}', {users}}}\n"
        );
        std::fs::write(home.path().join("services.yaml"), services).unwrap();
        let mut site = Site::beside(Hub::start_on(home), "");
        let [web, bytes] = [free(), free()];
        let to = |kind: &str, name: &str| {
            format!("service: {{agent: hub, type: {kind}, name: {name}}}}}\n")
        };
        site.configure(&format!(
            "incoming:\n- {{name: web, listen: '{web}', {}- {{name: socket, listen: 'unix:{}', {}\
             - {{name: bytes, listen: '{bytes}', {}",
            to("http", "web"),
            site.home.path().join("web.sock").display(),
            to("http", "web"),
            to("tcp", "bytes"),
        ));
        site.join(None);
        Self { site, web: format!("http://{web}"), bytes: format!("http://{bytes}") }
    }

    pub(super) fn name(&self, services: &str) {
        let patch = format!("{{\"spec\":{{\"incoming\":[{services}]}}}}");
        let arguments = ["patch", "agent", "smith", "--type", "merge", "--patch", &patch];
        self.site.hub.kubectl(&arguments).succeeded();
    }

    fn curl(&self, arguments: &[&str], url: &str) -> Output {
        Process::start(self.command().args(arguments).arg(url)).finish()
    }

    fn command(&self) -> std::process::Command {
        let mut curl = program("curl");
        curl.args(["--silent", "--show-error", "--max-time", "120"]);
        curl.current_dir(self.site.home.path());
        curl
    }
}

/// A port that nobody has now.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn programs_beside_an_agent_reach_services_beside_its_hub() {
    let origin = Origin::start();
    let way = Way::start(&origin);
    let told = way.curl(&["--include"], &way.web).succeeded();
    assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("x-strait-error: NotOffered"));
    way.name(r#"{"type":"http","name":"web"},{"type":"tcp","name":"bytes"}"#);

    let socket = ["--unix-socket", "web.sock", "--header", "X-Remote-User: admin"];
    way.curl(&[&["--fail"], &socket[..]].concat(), "http://local/a?b=c").succeeded();
    let seen = origin.last();
    assert_eq!(seen.first, "GET /a?b=c HTTP/1.1");
    let user = seen.field("x-remote-user").unwrap();
    assert!(user.starts_with("system:strait:agent:") && user.ends_with(":smith"), "{user}");
    let redirect = way.curl(&["--include"], &format!("{}/redirect", way.web)).succeeded();
    assert!(redirect.contains("location: /there?x=1\r\n"), "{redirect}");

    let file = way.site.home.path().join("large");
    std::fs::File::create(&file).unwrap().set_len(LARGE).unwrap();
    let down = ["--output", "/dev/null", "--write-out", "%{size_download}"];
    // The same service, once as HTTP and once as bytes.
    for base in [&way.web, &way.bytes] {
        let told = way.curl(&down, &format!("{base}/bytes/{LARGE}")).succeeded();
        assert_eq!(told, LARGE.to_string(), "{base}");
        let up = ["--upload-file", file.to_str().unwrap()];
        let told = way.curl(&up, &format!("{base}/upload")).succeeded();
        assert!(told.starts_with(&format!("PUT /upload HTTP/1.1 {LARGE}")), "{base} {told}");
    }
    let broken = way.curl(&["--fail"], &format!("{}/truncated", way.web));
    assert!(!matches!(broken.code, None | Some(0)), "{broken:?}");

    let mut wire = UnixStream::connect(way.site.home.path().join("web.sock")).unwrap();
    wire.set_read_timeout(Some(PATIENCE)).unwrap();
    let asks = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    let head = format!("GET /echo-bytes HTTP/1.1\r\nHost: local\r\n{asks}");
    wire.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        wire.read_exact(&mut one).unwrap();
        answer.push(one[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    wire.write_all(b"last").unwrap();
    wire.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    wire.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "last", "each direction has its own end");
}

#[test]
fn what_an_agent_may_not_call_any_more_breaks_off() {
    let origin = Origin::start();
    let way = Way::start(&origin);
    way.name(r#"{"type":"http","name":"web"}"#);
    let mut curl = way.command();
    let download = Process::start(curl.arg("--no-buffer").arg(format!("{}/endless", way.web)));
    eventually("the download", || origin.count("GET", "/endless") == 1);
    way.name("");
    let began = std::time::Instant::now();
    let broken = download.finish();
    assert!(!matches!(broken.code, None | Some(0 | 28)), "{broken:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
    let told = way.curl(&["--include"], &way.web).succeeded();
    assert!(told.contains("x-strait-error: NotOffered"), "{told}");
}
