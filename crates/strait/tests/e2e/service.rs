//! Bytes of a service behind an agent, at a local port.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Process, Up, strait};

const CONTEXT: [&str; 2] = ["--context", "root:provider"];

/// A service that sends back what it is sent once that has ended, and so needs half-closes.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut heard = Vec::new();
                // Who breaks off is told nothing.
                if stream.read_to_end(&mut heard).is_ok() {
                    let _ = stream.write_all(&heard);
                }
            });
        }
    });
    port
}

/// An agent that offers `echo` and `nobody`, where nobody listens, exposed as bytes but `hidden`.
fn agent(up: &Up, home: &Path) -> Process {
    let (token, config) = (home.join("token"), home.join("agent.yaml"));
    let create = [&["agent", "token", "create", "edge"][..], &CONTEXT].concat();
    std::fs::write(&token, up.strait(&create).succeeded()).unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = echo();
    let text = format!(
        "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\nservices:\n\
         - {{name: echo, type: tcp, address: '127.0.0.1:{port}'}}\n\
         - {{name: nobody, type: tcp, address: '127.0.0.1:{nobody}'}}\n\
         - {{name: hidden, type: tcp, address: '127.0.0.1:{port}'}}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = strait();
    command.args(["agent", "--health", "127.0.0.1:0", "--data-dir"]);
    command.arg(home.join("data")).arg("--token-file").arg(token).arg("--config").arg(config);
    command.args(["--parent", &std::process::id().to_string()]);
    let mut agent = Process::start(&mut command);
    agent.wait_for_output(|line| line.starts_with("ready edge "));
    for service in ["echo", "nobody", "hidden"] {
        let object = format!("services.relay.strait.dev/{service}.edge");
        let wait = ["wait", &object, "--for=create", "--timeout=30s"];
        up.kubectl(&[&CONTEXT[..], &wait].concat()).succeeded();
        if service != "hidden" {
            let exposed = r#"{"spec":{"exposure":{"raw":true}}}"#;
            let patch = ["patch", &object, "--type=merge", "-p", exposed];
            up.kubectl(&[&CONTEXT[..], &patch].concat()).succeeded();
        }
    }
    agent
}

fn service(up: &Up, arguments: &[&str]) -> Process {
    up.start_strait(&[&["service"], arguments, &CONTEXT].concat())
}

/// Connects to where a forward says that it listens.
fn connect(forward: &mut Process) -> TcpStream {
    let line = forward.wait_for_output(|line| line.starts_with("Forwarding from 127.0.0.1:"));
    let stream = TcpStream::connect(line.strip_prefix("Forwarding from ").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn token_file(up: &Up, home: &Path, service: &str) -> PathBuf {
    let token = up.strait(&[&["service", "token", service][..], &CONTEXT].concat()).succeeded();
    let file = home.join("service-token");
    std::fs::write(&file, token).unwrap();
    file
}

#[test]
fn a_local_port_is_the_service_and_each_direction_ends_in_its_own_time() {
    let (up, home) = (Up::start(), TempDir::new().unwrap());
    let _agent = agent(&up, home.path());
    let file = token_file(&up, home.path(), "edge/echo");
    let own = ["forward", "edge/echo", ":", "--token-file", file.to_str().unwrap()];
    for arguments in [&["forward", "edge/echo", ":"][..], &["forward", "echo.edge"], &own] {
        let mut forward = service(&up, arguments);
        let mut stream = connect(&mut forward);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert!(heard == sent, "{arguments:?}");
        let output = forward.end_with(Signal::INT);
        assert_eq!(output.code, Some(0), "{output:?}");
    }

    let mut forward = service(&up, &["forward", "edge/echo", ":"]);
    let mut stream = connect(&mut forward);
    stream.write_all(b"more to come").unwrap();
    let revoke = ["service", "revoke", "edge/echo"];
    up.strait(&[&revoke[..], &CONTEXT].concat()).succeeded();
    let why = forward.wait_for_log(|line| line.contains("connection from 127.0.0.1:"));
    assert!(why.contains("CredentialRevoked: "), "{why}");
    stream.read(&mut [0; 8]).expect_err("what breaks off is no end");
}

#[test]
fn mistakes_are_told_and_break_local_connections_off() {
    let (up, home) = (Up::start(), TempDir::new().unwrap());
    let _agent = agent(&up, home.path());
    for (name, why) in [
        ("nobody", "edge could not connect to nobody: "),
        ("hidden", "set spec.exposure.raw of Service \"hidden.edge\""),
    ] {
        let mut forward = service(&up, &["forward", &format!("edge/{name}")]);
        let mut stream = connect(&mut forward);
        forward.wait_for_log(|line| line.contains(why));
        stream.read(&mut [0; 8]).expect_err("what breaks off is no end");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("{}:", taken.local_addr().unwrap().port());
    for (arguments, code, why) in [
        (&["forward", "edge/none"][..], 1, "no service \"edge/none\" in workspace root:provider"),
        (&["forward", "edge"], 64, "\"edge\" is no name of a service"),
        (&["forward", "edge/echo", "x:", "y:"], 64, "\"y:\" is no local address"),
        (&["forward", "edge/echo", "--token-file", "/nowhere"], 64, "--token-file: "),
        (&["forward", "edge/echo", &port], 2, "cannot listen at 127.0.0.1:"),
        (&["exec", "edge/echo"], 64, "COMMAND"),
        (&["exec", "edge/echo", "--", "/nowhere"], 2, "cannot start \"/nowhere\""),
    ] {
        let refused = up.strait(&[&["service"], &CONTEXT[..], arguments].concat());
        assert_eq!(refused.code, Some(code), "{arguments:?} {refused:?}");
        assert!(refused.stderr.contains(why), "{arguments:?} {refused:?}");
    }
}

#[test]
fn a_program_reaches_the_service_and_its_end_is_the_commands() {
    let (up, home) = (Up::start(), TempDir::new().unwrap());
    let _agent = agent(&up, home.path());
    let script = "test $STRAIT_HOST:$STRAIT_PORT = {host}:{port} || exit 1
        exec 3<>/dev/tcp/$STRAIT_HOST/$STRAIT_PORT && echo there >&3 && exit 7";
    let run = |script: &str| {
        let service = ["service", "exec", "edge/echo"];
        let program = ["--", "/bin/bash", "-c", script];
        up.strait(&[&service[..], &CONTEXT, &program].concat())
    };
    let output = run(script);
    assert_eq!(output.code, Some(7), "{output:?}");
    let output = run("kill -9 $$");
    assert_eq!(output.code, Some(137), "{output:?}");
}
