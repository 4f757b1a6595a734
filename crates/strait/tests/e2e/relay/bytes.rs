//! `strait service exec` and `forward`: what people are told of their mistakes, and how it ends.

use std::fs;
use std::net::TcpListener;

use super::origin::Origin;
use super::site::{Site, eventually, program};
use crate::harness::Process;

/// The program that is run: it connects to the port, and says how that went.
fn exec(site: &Site, service: &str, more: &[&str]) -> crate::harness::Output {
    let curl = program("curl").get_program().to_str().unwrap().to_owned();
    let own = ["service", "exec", service];
    let child = ["--", &curl, "--silent", "--max-time", "30", "http://{host}:{port}/a"];
    site.hub.strait(&[&own[..], more, &child].concat())
}

/// Where nothing listens: nobody is given this port who does not ask for it.
const NOBODY: &str = "127.0.0.1:1";

/// The exit code of curl where what it is connected to breaks off.
const RESET: i32 = 56;

#[test]
fn whoever_mistakes_a_service_of_bytes_is_told_so_at_once() {
    let origin = Origin::start();
    let at = origin.address;
    let mut site = Site::start(&format!(
        "services:\n- {{name: echo, type: tcp, address: '{at}'}}\n\
         - {{name: hidden, type: tcp, address: '{at}'}}\n\
         - {{name: refused, type: tcp, address: '{NOBODY}'}}\n\
         - {{name: web, type: http, url: 'http://{at}'}}\n"
    ));
    for service in ["echo", "refused"] {
        let exposed = r#"{"spec":{"exposure":{"raw":true}}}"#;
        let object = format!("services.relay.strait.dev/{service}.smith");
        site.hub.kubectl(&["patch", &object, "--type=merge", "-p", exposed]).succeeded();
    }
    assert!(exec(&site, "smith/echo", &[]).succeeded().starts_with("GET /a "));
    let file = |name: &str, text: &str| {
        let path = site.home.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (other, two) = (file("other", &site.token("web")), file("two", "a b"));
    let revoked = file("revoked", &site.token("echo"));
    site.hub.strait(&["service", "revoke", "smith/echo"]).succeeded();
    let told = |service: &str, more: &[&str], code: i32, text: &str| {
        let said = exec(&site, service, more);
        assert_eq!(said.code, Some(code), "{service} {said:?}");
        assert!(said.stderr.contains(text), "{service} {text} {said:?}");
    };
    told("smith", &[], 64, "AGENT/SERVICE, for example smith/ci");
    told("jones/echo", &[], 1, "no service \"jones/echo\" in workspace root");
    told("smith/ecko", &[], 1, "there is smith/echo");
    told("smith/echo", &["--token-file", "/none"], 64, "--token-file: cannot read /none: ");
    told("smith/echo", &["--token-file", &two], 64, "two holds no token");
    told("smith/echo", &["--kubeconfig", "/none"], 64, "cannot read the kubeconfig /none: ");
    told("smith/web", &[], RESET, "web speaks HTTP: it is reached by its path");
    told("smith/hidden", &[], RESET, "set spec.exposure.raw of Service \"hidden.smith\"");
    told("smith/refused", &[], RESET, "could not connect to refused: connection refused");
    told("smith/echo", &["--token-file", &other], RESET, "token is for smith/web");
    eventually("the revocation", || {
        let said = exec(&site, "smith/echo", &["--token-file", &revoked]);
        said.code == Some(RESET) && said.stderr.contains("the credential was revoked ")
    });
    let missing = site.hub.strait(&["service", "exec", "smith/echo", "--", "/none"]);
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.stderr.contains("cannot start \"/none\": "), "{missing:?}");

    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("{}:", held.local_addr().unwrap().port());
    for (local, code, text) in
        [(&*port, 2, "the port is taken; `:` listens at a free one"), ("x:", 64, "local address")]
    {
        let said = site.hub.strait(&["service", "forward", "smith/echo", local]);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.stderr.contains(text), "{said:?}");
    }

    let token = file("token", &site.token("echo"));
    site.agents[0].kill();
    let offline = || exec(&site, "smith/echo", &["--token-file", &token]);
    eventually("the agent's absence", || offline().stderr.contains("on its side: `strait agent"));
    assert_eq!(offline().code, Some(RESET), "told at once, not after curl's patience");
}

#[test]
fn whoever_asks_no_hub_or_another_is_told_so() {
    let site = Site::without_agents("services: []\n");
    let shown = site.hub.kubectl(&["config", "view", "--raw", "-o", "json"]).succeeded();
    let mut config: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let server = site.hub.server();
    let nobody = format!("https://{NOBODY}");
    let mut told = |cluster: serde_json::Value, code: i32, text: &str| {
        config["clusters"][0]["cluster"] = cluster;
        let path = site.home.path().join("kubeconfig");
        fs::write(&path, config.to_string()).unwrap();
        let mut strait = site.hub.strait_command();
        strait.env("KUBECONFIG", &path).args(["service", "exec", "smith/echo", "--", "/bin/true"]);
        let said = Process::start(&mut strait).finish();
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.stderr.contains(text) && said.stderr.lines().count() == 1, "{said:?}");
    };
    let ca = site.authority();
    let gone = format!("{nobody}/ does not answer: Connection refused");
    told(serde_json::json!({"server": nobody, "certificate-authority": ca}), 2, &gone);
    let other = format!("{server}/ is not the kubeconfig's hub: invalid peer certificate");
    told(serde_json::json!({"server": server}), 78, &other);
}
