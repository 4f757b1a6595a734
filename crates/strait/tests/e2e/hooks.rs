//! Webhooks as senders, backends and operators meet them.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use aws_lc_rs::hmac;
use tempfile::TempDir;

use crate::harness::{Message, Output, Process, Recorder, ask, strait};

const SECRET: &str = "known to the sender alone";
const BODY: &str = r#"{"action":"opened","repository":{"full_name":"acme/site"}}"#;

fn sign(secret: &str, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// Sends a webhook as GitHub does.
fn send(to: SocketAddr, path: &str, delivery: &str, secret: &str) -> Message {
    let signature = sign(secret, BODY);
    let fields = [
        ("content-type", "application/json"),
        ("x-github-event", "pull_request"),
        ("x-github-delivery", delivery),
        ("x-hub-signature-256", &signature),
        ("authorization", "Bearer the-senders-own"),
    ];
    ask(to, &format!("POST {path}"), &fields, BODY)
}

/// Starts a process, waits until it says that it is ready, and returns where.
fn ready(command: &mut Command) -> (Process, SocketAddr) {
    let mut process = Process::start(command);
    let line = process.wait_for_output(|line| line.starts_with("ready http://"));
    let address = line.rsplit_once('/').unwrap().1.parse().unwrap();
    (process, address)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn write_config(home: &Path, rest: &str) -> std::path::PathBuf {
    let text = format!(
        "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\nlisten: 127.0.0.1:0\n\
         dataDir: {}\n{rest}",
        home.join("data").display()
    );
    let path = home.join("hooks.yaml");
    // In one step: it may be read at any moment.
    fs::write(home.join("new"), text).unwrap();
    fs::rename(home.join("new"), &path).unwrap();
    path
}

fn source(secret: &Path) -> String {
    let secret = secret.display();
    format!("sources:\n- {{name: forge, path: /forge, scheme: github, secretFiles: [{secret}]}}\n")
}

fn backends(of: &[&Recorder]) -> String {
    let one = |(number, recorder): (usize, &&Recorder)| {
        format!(
            "- {{name: b{number}, url: 'http://{}', sources: [forge], allowPrivate: true}}\n",
            recorder.address
        )
    };
    format!("backends:\n{}", of.iter().enumerate().map(one).collect::<String>())
}

/// The program under sprayproxy's name, as a container that starts it.
fn sprayproxy(home: &TempDir, arguments: &[&str]) -> Command {
    let program = home.path().join("sprayproxy");
    if !program.exists() {
        symlink(env!("CARGO_BIN_EXE_strait"), &program).unwrap();
    }
    let mut command = Command::new(program);
    command.env_clear().env("GH_APP_WEBHOOK_SECRET", SECRET).arg("server").args(arguments);
    command
}

#[test]
fn a_deployment_of_sprayproxy_changes_its_image() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (Recorder::start(), Recorder::start());
    let (port, metrics) = (free_port().to_string(), free_port());
    let urls =
        [format!("http://{}/hooks?team=a", one.address), format!("http://{}", other.address)];
    let mut command = sprayproxy(
        &home,
        &[
            "--host=127.0.0.1",
            &format!("--port={port}"),
            &format!("--metrics-port={metrics}"),
            "--backend",
            &urls[0],
            "--backend",
            &urls[1],
        ],
    );
    let (process, address) = ready(command.arg("--data-dir").arg(home.path().join("data")));
    assert_eq!(address.port().to_string(), port);

    for path in ["/", "/proxy", "/healthz"] {
        let answer = ask(address, &format!("GET {path}"), &[], "");
        assert_eq!((answer.status(), &*answer.body), (200, "healthy"), "{path}");
    }
    let answer = send(address, "/proxy?x=1", "d-1", SECRET);
    assert_eq!((answer.status(), &*answer.body), (200, "proxied"));
    let (first, second) = (one.next(), other.next());
    assert_eq!(first.first, "POST /hooks?team=a&x=1 HTTP/1.1");
    assert_eq!(second.first, "POST /?x=1 HTTP/1.1");
    for request in [first, second] {
        assert_eq!(request.body, BODY);
        assert_eq!(request.field("x-github-delivery"), Some("d-1"));
        assert_eq!(request.field("x-hub-signature-256"), Some(&*sign(SECRET, BODY)));
        assert_eq!(request.field("authorization"), None);
    }
    let answer = send(address, "/", "d-2", "another secret");
    assert_eq!((answer.status(), &*answer.body), (400, "bad request"));
    assert_eq!(ask(address, "GET /backends", &[], "").status(), 404);

    let text = ask(([127, 0, 0, 1], metrics).into(), "GET /metrics", &[], "").body;
    for name in [
        "sprayproxy_http_inbound_requests_total 2",
        "sprayproxy_http_forwarded_requests_total{",
        "sprayproxy_http_response_time_duration_seconds_bucket{",
    ] {
        assert!(text.contains(name), "{name} in\n{text}");
    }
    assert_eq!(process.terminate().code, Some(0));
}

#[test]
fn what_cannot_work_is_refused_with_its_name() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, secret, expected) in [
        (&["--backend=http://b"][..], None, "GH_APP_WEBHOOK_SECRET is not set"),
        (&["--backend=ht!tp://%%%"], Some(SECRET), "--backend"),
        (&["--host=nowhere.example"], Some(SECRET), "--host"),
    ] {
        let mut command = sprayproxy(&home, arguments);
        match secret {
            Some(secret) => command.env("GH_APP_WEBHOOK_SECRET", secret),
            None => command.env_remove("GH_APP_WEBHOOK_SECRET"),
        };
        let ended = Process::start(&mut command).finish();
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    // A root that nobody can write, and no volume.
    let port = free_port().to_string();
    let arguments = ["--host=127.0.0.1", "--port", &port, "--data-dir=/sys/hooks"];
    let ended = Process::start(&mut sprayproxy(&home, &arguments)).finish();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for expected in ["volumeMounts", "volumes", "--ack=sync"] {
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
}

#[test]
fn sync_acknowledgement_needs_no_disk_and_says_what_the_backends_said() {
    let home = tempfile::tempdir().unwrap();
    let backend = Recorder::start();
    let closed = free_port();
    let run = |backends: &[String]| {
        let (port, metrics) = (free_port().to_string(), free_port().to_string());
        let mut command = sprayproxy(&home, &["--host=127.0.0.1", "--ack=sync"]);
        command.args(["--port", &port, "--metrics-port", &metrics]);
        ready(command.args(backends.iter().map(|url| format!("--backend={url}"))))
    };
    let good = format!("http://{}", backend.address);
    let (process, address) = run(std::slice::from_ref(&good));
    let answer = send(address, "/proxy", "d-1", SECRET);
    assert_eq!((answer.status(), &*answer.body), (200, "proxied"));
    assert_eq!(backend.next().body, BODY);
    assert_eq!(process.terminate().code, Some(0));

    let (process, address) = run(&[good, format!("http://127.0.0.1:{closed}")]);
    let answer = send(address, "/proxy", "d-2", SECRET);
    assert_eq!((answer.status(), &*answer.body), (502, "failed to proxy"));
    assert_eq!(backend.next().field("x-github-delivery"), Some("d-2"));
    assert_eq!(process.terminate().code, Some(0));
}

#[test]
fn secrets_and_backends_change_while_it_runs() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (Recorder::start(), Recorder::start());
    // As Kubernetes mounts a Secret: a link to a link that is replaced.
    let version = |name: &str, secret: &str| {
        fs::create_dir(home.path().join(name)).unwrap();
        fs::write(home.path().join(name).join("secret"), secret).unwrap();
        let _ = fs::remove_file(home.path().join("next"));
        symlink(name, home.path().join("next")).unwrap();
        fs::rename(home.path().join("next"), home.path().join("..data")).unwrap();
    };
    version("v1", SECRET);
    let secret = home.path().join("..data/secret");
    let (admin, token) = (free_port(), home.path().join("token"));
    fs::write(&token, "an operator's").unwrap();
    let token = token.display();
    let source = |secret: &Path| {
        format!(
            "admin: {{listen: '127.0.0.1:{admin}', tokens: [{{name: t, file: {token}, may: [view]}}]}}\n{}",
            source(secret)
        )
    };
    let configured = || {
        let field = [("authorization", "Bearer an operator's")];
        let text = ask(([127, 0, 0, 1], admin).into(), "GET /metrics", &field, "").body;
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        (value("strait_hooks_config_generation "), value("strait_hooks_config_stuck "))
    };
    let config = write_config(home.path(), &(source(&secret) + &backends(&[&one])));
    let mut command = strait();
    let (mut process, address) = ready(command.args(["hooks", "serve", "--config"]).arg(config));
    assert_eq!(send(address, "/forge", "d-1", SECRET).status(), 202);
    assert_eq!(one.next().body, BODY);

    version("v2", "the next one");
    process.wait_for_log(|line| line.contains("secrets changed"));
    assert_eq!(send(address, "/forge", "d-2", SECRET).status(), 401);
    assert_eq!(send(address, "/forge", "d-3", "the next one").status(), 202);
    assert_eq!(one.next().field("x-github-delivery"), Some("d-3"));

    write_config(home.path(), &(source(&secret) + "backnds: []\n"));
    process.wait_for_log(|line| line.contains("unknown field") && line.contains("backnds"));
    assert_eq!(configured(), (Some(1), Some(1)));
    assert_eq!(send(address, "/forge", "d-4", "the next one").status(), 202);
    assert_eq!(one.next().field("x-github-delivery"), Some("d-4"));

    write_config(home.path(), &(source(&secret) + &backends(&[&one, &other])));
    process.wait_for_log(|line| line.contains("the configuration changed"));
    assert_eq!(configured(), (Some(2), Some(0)));
    assert_eq!(send(address, "/forge", "d-5", "the next one").status(), 202);
    assert_eq!(one.next().field("x-github-delivery"), Some("d-5"));
    assert_eq!(other.next().field("x-github-delivery"), Some("d-5"));

    // A secret that is there a moment after the file that names it.
    let late = home.path().join("late");
    write_config(home.path(), &(source(&late) + &backends(&[&one])));
    process.wait_for_log(|line| line.contains("stays as it was") && line.contains("late"));
    fs::write(&late, "the last one").unwrap();
    process.wait_for_log(|line| line.contains("the configuration changed"));
    assert_eq!(send(address, "/forge", "d-6", "the last one").status(), 202);
    assert_eq!(one.next().field("x-github-delivery"), Some("d-6"));
    assert_eq!(process.terminate().code, Some(0));
}

#[test]
fn a_hub_takes_webhooks_beside_its_work() {
    let home = tempfile::tempdir().unwrap();
    let backend = Recorder::start();
    let secret = home.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let config = write_config(home.path(), &(source(&secret) + &backends(&[&backend])));
    let hooks = free_port();
    let mut command = strait();
    command.args(["hub", "--listen", "127.0.0.1:0", "--data-dir"]).arg(home.path().join("hub"));
    command.arg("--hooks-config").arg(config);
    command.args(["--hooks-listen", &format!("127.0.0.1:{hooks}")]);
    let mut process = Process::start(&mut command);
    process.wait_for_output(|line| line.starts_with("ready https://"));
    let address = ([127, 0, 0, 1], hooks).into();
    assert_eq!(send(address, "/forge", "d-1", SECRET).status(), 202);
    assert_eq!(backend.next().body, BODY);
    // The hub's own credentials and rights are the operators'.
    let kubeconfig = home.path().join("hub/admin.kubeconfig");
    let server = ["--kubeconfig", kubeconfig.to_str().unwrap()];
    assert!(operate(&server, &["list"]).succeeded().contains("acme/site"));
    assert_eq!(process.terminate().code, Some(0));

    let mut command = strait();
    command.args(["hub", "--hooks-listen", "127.0.0.1:0"]);
    let ended = Process::start(&mut command).finish();
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("--hooks-config is missing"), "{}", ended.stderr);
}

/// Runs a command of operators.
fn operate(server: &[&str], arguments: &[&str]) -> Output {
    let mut command = strait();
    command.arg("hook").args(arguments).args(server);
    Process::start(&mut command).finish()
}

#[test]
fn operators_see_and_repair_over_a_socket() {
    let home = tempfile::tempdir().unwrap();
    let backend = Recorder::start();
    let secret = home.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let refuses = free_port();
    let rest = format!(
        "admin: {{listen: 'unix:{}'}}\n{}backends:\n\
         - {{name: good, url: 'http://{}', sources: [forge], allowPrivate: true}}\n\
         - {{name: down, url: 'http://127.0.0.1:{refuses}', sources: [forge], allowPrivate: true}}\n",
        home.path().join("admin.sock").display(),
        source(&secret),
        backend.address
    );
    let config = write_config(home.path(), &rest);
    let (process, address) = ready(strait().args(["hooks", "serve", "--config"]).arg(config));
    assert_eq!(send(address, "/forge", "d-1", SECRET).status(), 202);
    assert_eq!(backend.next().body, BODY);
    let socket = format!("unix:{}", home.path().join("admin.sock").display());
    let server = ["--server", &*socket];

    let list = operate(&server, &["list", "-o", "wide"]).succeeded();
    for expected in ["forge", "pull_request", "acme/site", "down"] {
        assert!(list.contains(expected), "{expected} in\n{list}");
    }
    let id = operate(&server, &["list", "-o", "name"]).succeeded();
    let id = id.trim();
    assert_eq!(operate(&server, &["show", id, "--payload"]).succeeded(), BODY);
    let dry = operate(&server, &["replay", "--backend", "good", "--dry-run"]).succeeded();
    assert!(dry.contains('1'), "{dry}");
    operate(&server, &["replay", "--id", id, "--backend", "good"]).succeeded();
    assert_eq!(backend.next().field("x-github-delivery"), Some("d-1"));
    let ended = operate(&server, &["replay"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");

    operate(&server, &["purge", "--id", id]).succeeded();
    operate(&server, &["show", id, "--payload"]).failed();
    assert_eq!(process.terminate().code, Some(0));

    let mut command = strait();
    command.args(["audit", "list", "--data-dir"]).arg(home.path().join("data"));
    let audit = Process::start(&mut command).finish().succeeded();
    for expected in ["replay", "purge", "payload"] {
        assert!(audit.contains(expected), "{expected} in\n{audit}");
    }
    let mut command = strait();
    command.args(["audit", "verify", "--data-dir"]).arg(home.path().join("data"));
    assert!(Process::start(&mut command).finish().succeeded().starts_with("intact"));
}

#[test]
fn backends_come_and_go_for_those_who_may() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (Recorder::start(), Recorder::start());
    fs::write(home.path().join("token"), "an operator's").unwrap();
    let data = home.path().join("data");
    let run = || {
        let (port, metrics) = (free_port().to_string(), free_port().to_string());
        let mut command = sprayproxy(&home, &["--host=127.0.0.1", "--enable-dynamic-backends"]);
        command.args(["--port", &port, "--metrics-port", &metrics, "--admin-listen=127.0.0.1:0"]);
        command.args(["--dynamic-backend-network", "127.0.0.0/8", "--backend"]);
        command.arg(format!("http://{}", one.address)).arg("--data-dir").arg(&data);
        ready(command.arg("--admin-token-file").arg(home.path().join("token")))
    };
    let (process, address) = run();
    let ask_backends = |address, method: &str, token: &str, url: &str| {
        let token = format!("Bearer {token}");
        let fields = [("authorization", &*token), ("content-type", "application/json")];
        let body = if url.is_empty() { String::new() } else { format!("{{\"url\":\"{url}\"}}") };
        ask(address, &format!("{method} /backends"), &fields, &body)
    };
    let url = format!("http://{}", other.address);
    assert_eq!(ask_backends(address, "POST", "a stranger's", &url).status(), 401);
    let answer = ask_backends(address, "POST", "an operator's", &url);
    assert_eq!((answer.status(), &*answer.body), (200, "registered the backend server"));
    let again = ask_backends(address, "POST", "an operator's", &format!("{url}/"));
    assert_eq!(again.status(), 302);
    let metadata = ask_backends(address, "POST", "an operator's", "http://169.254.169.254/");
    assert_eq!(metadata.status(), 400, "{metadata:?}");
    assert_eq!(send(address, "/proxy", "d-1", SECRET).status(), 200);
    assert_eq!((one.next().body, other.next().body), (BODY.to_owned(), BODY.to_owned()));
    assert_eq!(process.terminate().code, Some(0));

    let (process, address) = run();
    let listed = ask_backends(address, "GET", "an operator's", "").body;
    assert!(listed.contains(&url), "{listed}");
    assert_eq!(send(address, "/proxy", "d-2", SECRET).status(), 200);
    assert_eq!(other.next().field("x-github-delivery"), Some("d-2"));
    assert_eq!(ask_backends(address, "DELETE", "an operator's", &url).status(), 200);
    assert_eq!(ask_backends(address, "DELETE", "an operator's", &url).status(), 404);
    assert_eq!(process.terminate().code, Some(0));
}
