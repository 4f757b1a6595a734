//! PostgreSQL over bytes: its own server behind the agent, psql in front of a forwarded port.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use super::site::{Site, eventually, program};
use crate::harness::{Output, Process, tool};

/// Who the server is where the test is root, whom it does not serve: `nobody`.
const NOBODY: u32 = 65534;
/// Rows that are copied in and out, of 32 bytes and a number.
const ROWS: usize = 200_000;

/// A server with a database of its own, with TLS. Dropping it kills it.
struct Server {
    _process: Process,
    home: TempDir,
    port: u16,
}

/// What whoever connects has to know where that is asked.
const PASSWORD: &str = "open sesame";

impl Server {
    /// One that takes everybody's word.
    fn start() -> Self {
        Self::start_with("trust")
    }

    fn start_with(authentication: &str) -> Self {
        let home = TempDir::new().unwrap();
        let data = home.path().join("data");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (key, certificate) = (home.path().join("key"), home.path().join("certificate"));
        let mut openssl = program("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-nodes", "-subj", "/CN=db", "-addext", "subjectAltName=IP:127.0.0.1"]);
        // An authority is no server for everybody.
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        Process::start(&mut openssl).finish().succeeded();
        let password = home.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        if geteuid().is_root() {
            for path in [home.path(), &key, &certificate, &password] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let mut initdb = server_program("initdb", home.path());
        initdb.arg(format!("--auth={authentication}")).arg("--pwfile").arg(&password);
        initdb.args(["--username=somebody", "--no-sync", "--pgdata"]).arg(&data);
        Process::start(&mut initdb).finish().succeeded();
        let mut postgres = server_program("postgres", home.path());
        postgres.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "ssl=on",
            "client_connection_check_interval=1s",
        ] {
            postgres.args(["-c", setting]);
        }
        postgres.args(["-c", &format!("ssl_key_file={}", key.display())]);
        postgres.args(["-c", &format!("ssl_cert_file={}", certificate.display())]);
        let mut process = Process::start(&mut postgres);
        process.wait_for_log(|line| line.contains("ready to accept connections"));
        Self { _process: process, home, port }
    }

    /// The file of its certificate, which signs itself.
    fn certificate(&self) -> PathBuf {
        self.home.path().join("certificate")
    }

    /// Starts psql against a port at which it can be reached.
    fn psql(&self, port: u16, arguments: &[&str]) -> Process {
        let verifies = format!("sslmode=verify-full sslrootcert={}", self.certificate().display());
        self.psql_with(&verifies, port, arguments)
    }

    /// The same with this of TLS.
    fn psql_with(&self, tls: &str, port: u16, arguments: &[&str]) -> Process {
        let mut psql = Command::new(programs().join("psql"));
        let server = format!("host=127.0.0.1 port={port} user=somebody dbname=postgres {tls}");
        psql.env_clear().env("HOME", self.home.path()).env("PGPASSWORD", PASSWORD).arg(server);
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        Process::start(psql.args(arguments))
    }

    fn ask(&self, port: u16, query: &str) -> Output {
        self.psql(port, &["--command", query]).finish()
    }
}

/// The directory of PostgreSQL's programs.
fn programs() -> PathBuf {
    let versions = fs::read_dir(tool("postgresql/usr/lib/postgresql")).unwrap();
    versions.flatten().next().expect("a version").path().join("bin")
}

/// A program that does not run as root.
fn server_program(name: &str, home: &Path) -> Command {
    let mut command = Command::new(programs().join(name));
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(home);
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Whether a session is encrypted, as its server sees it.
const ENCRYPTED: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

/// An agent that offers the server, with this beside its address, and a port that leads there until
/// the process ends.
fn forwarded(server: &Server, more: &str) -> (Site, Process, u16) {
    let address = format!("address: '127.0.0.1:{}'", server.port);
    let site = Site::start(&format!("services:\n- {{name: db, type: tcp, {address}{more}}}\n"));
    let exposed = r#"{"spec":{"exposure":{"raw":true}}}"#;
    site.hub
        .kubectl(&["patch", "services.relay.strait.dev/db.smith", "--type=merge", "-p", exposed])
        .succeeded();
    let mut forward = site.hub.start_strait(&["service", "forward", "smith/db", ":"]);
    let line = forward.wait_for_output(|line| line.starts_with("Forwarding from 127.0.0.1:"));
    let port = line.rsplit(':').next().unwrap().parse().unwrap();
    (site, forward, port)
}

#[test]
fn row_15_the_agent_sees_to_tls_and_psql_speaks_without() {
    // Over TLS that offers to bind the password to it.
    let server = Server::start_with("scram-sha-256");
    let certificate = server.certificate();
    let tls = format!(", tls: {{caFile: '{}', starttls: postgres}}", certificate.display());
    let (_site, _forward, port) = forwarded(&server, &tls);
    // As psql begins unless told otherwise: it asks for TLS, and goes on without.
    for mode in ["sslmode=prefer", "sslmode=disable"] {
        let said = server.psql_with(mode, port, &["--command", ENCRYPTED]).finish();
        assert_eq!(said.succeeded().trim(), "t", "{mode}");
    }
    let insists = server.psql_with("sslmode=require", port, &["--command", ENCRYPTED]).finish();
    let told = insists.failed();
    assert!(told.contains("server does not support SSL, but SSL was required"), "{told}");
}

#[test]
fn row_15_psql_works_over_a_forwarded_port() {
    let server = Server::start();
    let (site, _forward, port) = forwarded(&server, "");
    assert_eq!(server.ask(port, ENCRYPTED).succeeded().trim(), "t");
    server.ask(port, "create table t (id int primary key, text text)").succeeded();
    let rows: String = (0..ROWS).map(|id| format!("{id}\t{id:032x}\n")).collect();
    let (file, copied) = (site.home.path().join("rows"), site.home.path().join("copied"));
    fs::write(&file, &rows).unwrap();
    let copy = |how: &str, file: &Path| {
        server.ask(port, &format!("\\copy t {how} '{}'", file.display())).succeeded()
    };
    copy("from", &file);
    copy("to", &copied);
    assert!(fs::read_to_string(copied).unwrap() == rows, "what came back is not what went");
    let wrong = server.ask(port, "select * from nothing").failed();
    assert!(wrong.contains("\"nothing\" does not exist"), "{wrong}");

    // Ctrl-C goes over a connection of its own.
    let waiting = server.psql(port, &["--command", "select pg_sleep(600)"]);
    let asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    eventually("the query", || server.ask(server.port, asleep).succeeded().trim() == "1");
    let cancelled = waiting.end_with(Signal::INT);
    assert_eq!(cancelled.code, Some(1), "{cancelled:?}");
    assert!(cancelled.stderr.contains("canceling statement due to user request"), "{cancelled:?}");

    // Who leaves without a word is gone for the server, too.
    let waiting = server.psql(port, &["--command", "select pg_sleep(600)"]);
    eventually("the query", || server.ask(server.port, asleep).succeeded().trim() == "1");
    waiting.end_with(Signal::KILL);
    eventually("its end", || server.ask(server.port, asleep).succeeded().trim() == "0");
}
