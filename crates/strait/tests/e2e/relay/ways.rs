//! Ways between an agent and its hub that others own: a proxy, and an ingress that ends TLS.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::origin::Origin;
use super::site::{Site, eventually, idle, program};
use crate::harness::{Process, tool};

/// What the proxy wants to be shown: `user` and `pass word`.
const AUTHORIZATION: &str = "Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=";

/// Where the hub is said to be: nobody is there but by the proxy.
const BEHIND: &str = "localhost:1";

/// Whom the proxy connected, and whom not.
#[derive(Default)]
struct Count {
    connected: AtomicUsize,
    refused: AtomicUsize,
}

/// A proxy that connects who shows a password, with the hub whatever is asked for.
fn proxy(hub: SocketAddr) -> (SocketAddr, Arc<Count>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::<Count>::default();
    let shared = count.clone();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let count = shared.clone();
            thread::spawn(move || pass(near, hub, &count));
        }
    });
    (address, count)
}

fn pass(mut near: TcpStream, hub: SocketAddr, count: &Count) -> std::io::Result<()> {
    let mut reader = BufReader::new(near.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    assert!(head.starts_with(&format!("CONNECT {BEHIND} ")), "{head}");
    if !head.to_lowercase().contains(&AUTHORIZATION.to_lowercase()) {
        count.refused.fetch_add(1, Ordering::Relaxed);
        return near.write_all(b"HTTP/1.1 407 Who Are You\r\ncontent-length: 0\r\n\r\n");
    }
    let mut far = TcpStream::connect(hub)?;
    count.connected.fetch_add(1, Ordering::Relaxed);
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut back, mut to) = (far.try_clone()?, near.try_clone()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut to);
        to.shutdown(std::net::Shutdown::Write)
    });
    std::io::copy(&mut reader, &mut far)?;
    far.shutdown(std::net::Shutdown::Write)
}

/// A megabyte both ways, and an answer that goes on.
fn is_good(site: &Site, origin: &Origin) {
    let token = site.token("ci");
    eventually("the agent", || site.works("ci", &token));
    fs::write(site.home.path().join("body"), vec![b'b'; 1 << 20]).unwrap();
    for version in ["--http1.1", "--http2"] {
        let told = site.curl(&token, &[version, "--upload-file", "body"], &site.url("ci", "/up"));
        assert!(told.clone().succeeded().starts_with("PUT /up HTTP/1.1 1048576"), "{told:?}");
        let size = ["--output", "/dev/null", "--write-out", "%{size_download}", version];
        let told = site.curl(&token, &size, &site.url("ci", "/bytes/1048576"));
        assert_eq!(told.succeeded(), "1048576");
        let mut events = site.start_curl(&token, &["--no-buffer"], &site.url("ci", "/events"));
        events.wait_for_output(|line| line == "data: the first");
        origin.go();
        events.finish().succeeded();
    }
}

/// Adds where the hub is to an agent's file.
fn with_hub(services: &str, hub: &str) -> String {
    format!("hub: {{{hub}}}\n{services}")
}

#[test]
fn row_33_a_proxy_that_wants_a_password_is_a_way() {
    let origin = Origin::start();
    let mut site = Site::without_agents(&origin.service());
    let (address, count) = proxy(site.address());
    let file = site.home.path().join("proxy");
    fs::write(&file, format!("http://user:wrong@{address}\n")).unwrap();
    for transport in ["tls", "websocket"] {
        let hub = format!(
            "proxyFile: {}, addresses: ['{BEHIND}'], transport: {transport}",
            file.display()
        );
        site.configure(&with_hub(&origin.service(), &hub));
        let before = count.refused.load(Ordering::Relaxed);
        let agent = site.begin_to_join(None);
        agent.process.wait_for_log(|line| line.contains("wants a user and a password (407)"));
        assert!(count.refused.load(Ordering::Relaxed) > before);
        fs::write(&file, format!("http://user:pass%20word@{address}\n")).unwrap();
        site.agents.last_mut().unwrap().wait_until_ready();
        site.wait_for_services();
        is_good(&site, &origin);
        site.agents.last_mut().unwrap().renew();
        is_good(&site, &origin);
        site.agents.last_mut().unwrap().kill();
        fs::write(&file, format!("http://user:wrong@{address}\n")).unwrap();
    }
    assert!(count.connected.load(Ordering::Relaxed) > 0);
}

/// nginx as the documentation says, with a certificate that nobody knows.
fn nginx(home: &Path, port: u16, hub: SocketAddr) -> Process {
    let (key, certificate) = (home.join("nginx.key"), home.join("nginx.crt"));
    let mut openssl = program("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-subj", "/CN=ingress.example", "-keyout"]).arg(&key);
    Process::start(openssl.arg("-out").arg(&certificate)).finish().succeeded();
    let (root, docs) = (home.display(), include_str!("../../../../../docs/relay.md"));
    let location = docs.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next());
    let location = location.expect("the documentation has a configuration");
    let location = location.replace("https://hub:6443", &format!("https://{hub}"));
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {root}/nginx.pid;\nerror_log stderr notice;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}server {{\nlisten 127.0.0.1:{port} ssl;\n\
         ssl_protocols TLSv1.2 TLSv1.3;\nssl_certificate {};\nssl_certificate_key {};\n{location}}}\n}}\n",
        certificate.display(),
        key.display()
    );
    fs::write(home.join("nginx.conf"), config).unwrap();
    let mut nginx = std::process::Command::new(tool("nginx/usr/sbin/nginx"));
    nginx.env_clear().arg("-p").arg(home).arg("-c").arg(home.join("nginx.conf"));
    let mut nginx = Process::start(nginx.args(["-e", "stderr"]));
    nginx.wait_for_log(|line| line.contains("start worker") || line.contains("using the"));
    nginx
}

#[test]
fn row_33_an_ingress_that_ends_tls_is_a_way() {
    let origin = Origin::start();
    let mut site = Site::without_agents(&origin.service());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _nginx = nginx(site.home.path(), port, site.address());
    for transport in ["websocket", "auto"] {
        let hub = format!("addresses: ['127.0.0.1:{port}'], transport: {transport}");
        site.configure(&with_hub(&origin.service(), &hub));
        site.join(None);
        site.wait_for_services();
        is_good(&site, &origin);
        site.agents.last_mut().unwrap().renew();
        is_good(&site, &origin);
        site.agents.last_mut().unwrap().kill();
        eventually("the agent's absence", || {
            let token = site.token("ci");
            site.curl(&token, &["--include"], &site.url("ci", "/a")).stdout.contains("AgentOffline")
        });
    }
    // Told to go directly, an agent says who is there in the hub's place.
    let hub = format!("addresses: ['127.0.0.1:{port}'], transport: tls");
    site.configure(&with_hub(&origin.service(), &hub));
    let mut process = std::mem::replace(&mut site.begin_to_join(None).process, idle());
    process.wait_for_log(|line| line.contains("CN=ingress.example"));
    assert_eq!(process.finish().code, Some(78));
}
