//! What people are told of their mistakes: status, reason, and what to do.

use std::fs;
use std::net::TcpListener;

use rustix::process::Signal;

use super::origin::Origin;
use super::rolling::Load;
use super::site::{Site, eventually};

#[test]
fn row_48_every_mistake_has_its_status_and_reason() {
    let origin = Origin::start();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (nobody, at) = (closed.local_addr().unwrap(), origin.address);
    drop(closed);
    let silent = silent.local_addr().map(|address| (silent, address)).unwrap();
    let services = format!(
        "services:
- {{name: ci, type: http, url: \"http://{at}\", allow: {{paths: [\"/seen/*\", \"/status/*\", \"/wait\"]}}, maxBody: 1Ki, concurrent: 1}}
- {{name: other, type: http, url: \"http://{at}\"}}
- {{name: refused, type: http, url: \"http://{nobody}\"}}
- {{name: plain, type: http, url: \"https://{at}\"}}
- {{name: silent, type: http, url: \"http://{}\", headTimeout: 1s}}
- {{name: gone, type: http, url: \"http://{at}\"}}
", silent.1);
    let mut site = Site::start(&services);
    let token = |service: &str| site.token(service);
    let (ci, other, gone) = (token("ci"), token("other"), token("gone"));
    let told =
        |token: &str, arguments: &[&str], service: &str, path: &str, status: u16, reason: &str| {
            let arguments = [&["--include", "--http1.1", "--path-as-is"], arguments].concat();
            let answer = site.curl(token, &arguments, &site.url(service, path)).succeeded();
            let first = answer.lines().next().unwrap_or_default().to_owned();
            assert!(first.contains(&format!(" {status} ")), "{service}{path} {answer}");
            let reason = format!("x-strait-error: {reason}\r\n");
            assert!(reason.contains(": \r") || answer.contains(&reason), "{reason} {answer}");
            answer
        };
    let missing = site.curl(
        "",
        &["--include", "--oauth2-bearer", "", "--header", "authorization:"],
        &site.url("ci", "/seen/a"),
    );
    let missing = missing.succeeded();
    assert!(
        missing.contains("401")
            && missing.contains("CredentialMissing")
            && missing.contains("`strait service token smith/ci`"),
        "{missing}"
    );
    told("nonsense", &[], "ci", "/seen/a", 401, "CredentialInvalid");
    told(&other, &[], "ci", "/seen/a", 403, "CredentialScope");
    told(&ci, &[], "ci", "/elsewhere", 403, "AgentRule");
    told(&ci, &[], "ci", "/seen/a%2fb", 400, "BadTarget");
    told(&ci, &[], "ci", "/seen/../x", 400, "BadTarget");
    let large = "x".repeat(2000);
    told(&ci, &["--data", &large], "ci", "/seen/a", 413, "TooLarge");
    let upgrade = ["--header", "connection: upgrade", "--header", "upgrade: websocket"];
    told(&other, &upgrade, "other", "/a", 501, "UpgradeNotAllowed");
    told(&token("refused"), &[], "refused", "/a", 502, "ConnectFailed");
    told(&token("plain"), &[], "plain", "/a", 502, "UpstreamTLS");
    told(&token("silent"), &[], "silent", "/a", 504, "HeadTimeout");
    let wrong = told(&ci, &[], "ci", "/status/401", 401, "");
    assert!(wrong.contains("x-strait-hint: 401 came from ci, not from the hub"), "{wrong}");

    let mut waits = site.curl_command(&ci);
    let waiting = crate::harness::Process::start(waits.arg(site.url("ci", "/wait")));
    eventually("the request that waits", || origin.count("GET", "/wait") == 1);
    let busy = told(&ci, &[], "ci", "/seen/a", 503, "Overloaded");
    assert!(busy.to_lowercase().contains("retry-after: "), "{busy}");
    origin.go();
    assert_eq!(waiting.finish().succeeded(), "done");

    let fewer: String = services
        .lines()
        .filter(|line| !line.contains("gone"))
        .map(|line| format!("{line}\n"))
        .collect();
    site.configure(&fewer);
    eventually("the service's end", || {
        site.curl(&gone, &["--include"], &site.url("gone", "/a"))
            .succeeded()
            .contains("ServiceWithdrawn")
    });
    told(&gone, &[], "gone", "/a", 503, "ServiceWithdrawn");
    site.hub.strait(&["service", "revoke", "smith/other"]).succeeded();
    told(&other, &[], "other", "/a", 401, "CredentialRevoked");
    site.agents[0].kill();
    let token = ci;
    eventually("the agent's absence", || {
        site.curl(&token, &["--include"], &site.url("ci", "/seen/a"))
            .succeeded()
            .contains("AgentOffline")
    });
}

#[test]
fn row_46_a_file_is_read_again_without_a_failed_request() {
    let origin = Origin::start();
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), "first\n").unwrap();
    let services = format!(
        "services:\n- {{name: ci, type: http, url: \"http://{}\", credentials: {{header: {{name: X-Key, valueFile: {}}}}}}}\n",
        origin.address,
        key.path().display()
    );
    let mut site = Site::start(&services);
    let token = site.token("ci");
    let load = Load::start(&site, &token);
    for round in 1..=100 {
        site.configure(&format!(
            "{services}# {round}\n- {{name: extra-{}, type: http, url: \"http://{}\"}}\n",
            round % 2,
            origin.address
        ));
        let agent = &site.agents[0];
        if round % 25 > 0 {
            // At once; the others are found by their change.
            rustix::process::kill_process(agent.process.pid(), Signal::HUP).unwrap();
        }
        eventually("the reload", || agent.reloads("applied") >= round);
        load.go_on(1);
    }
    site.configure("services:\n- {name: ci, type: nonsense}\n");
    let told = |line: &str| {
        line.contains("the configuration stays as it was")
            && line.contains("agent.yaml:4:14: services[0].type: ")
    };
    site.agents[0].process.wait_for_log(told);
    let counts = ["applied", "rejected"].map(|result| site.agents[0].reloads(result));
    assert_eq!(counts, [100, 1]);
    let shown = || site.hub.strait(&["agent", "show", "smith"]).succeeded();
    eventually("the condition", || shown().contains("agent.yaml:4:14: "));
    let (shown_now, status) = (shown(), site.agents[0].status());
    assert!(shown_now.contains("CONFIGREJECTED") && !shown_now.contains("nonsense"), "{shown_now}");
    assert!(!shown_now.contains(&site.home.path().display().to_string()), "{shown_now}");
    assert!(status.code == Some(1) && status.stdout.contains("nonsense"), "{status:?}");
    fs::write(key.path(), "second\n").unwrap();
    let ask = || site.curl(&token, &["--fail"], &site.url("ci", "/a")).succeeded();
    eventually("a rotated key", || ask().contains("x-key: second"));
    site.configure(&services);
    eventually("its end", || !shown().contains("agent.yaml:4:14: "));
    assert_eq!(site.agents[0].status().code, Some(0));
    load.go_on(50);
    let (asked, failed) = load.finish();
    assert!(failed.is_empty(), "{} of {asked}: {:?}", failed.len(), &failed[..failed.len().min(3)]);
}
