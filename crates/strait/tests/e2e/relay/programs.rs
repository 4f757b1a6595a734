//! Other people's programs, and protocols that are more than requests and answers.

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::origin::Origin;
use super::site::Site;
use super::trust::{in_files, in_memory};
use super::wire::Wire;
use crate::harness::Process;

#[test]
fn row_14_another_protocol_passes_both_ways_to_its_end() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let auth = format!("Host: h\r\nAuthorization: Bearer {}\r\n", site.token("ci"));
    let asks = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    let mut wire = Wire::connect(site.address(), &site.authority());
    // Some of the other protocol comes with the request.
    wire.write(
        format!("GET /services/relay/smith/ci/echo-bytes HTTP/1.1\r\n{auth}{asks}\x01: early\n")
            .as_bytes(),
    );
    let head = wire.read_head();
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.to_lowercase().contains("upgrade: websocket"),
        "{head}"
    );
    assert_eq!(wire.read(9), b"\x01: early\n");
    for size in [1, 100, 70_000] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        wire.write(&bytes);
        assert_eq!(wire.read(bytes.len()), bytes);
    }
    wire.write(b"last");
    wire.finish();
    assert_eq!(wire.read_to_end(), "last", "each direction has its own end");

    // Refused by the service: what came behind the request is no request.
    let mut wire = Wire::connect(site.address(), &site.authority());
    let hidden = format!("GET /services/relay/smith/ci/hidden HTTP/1.1\r\n{auth}\r\n");
    wire.write(
        format!("GET /services/relay/smith/ci/plain HTTP/1.1\r\n{auth}{asks}{hidden}").as_bytes(),
    );
    let said = wire.read_to_end();
    assert!(
        said.starts_with("HTTP/1.1 200 ") && said.matches("HTTP/1.1 200").count() == 1,
        "{said}"
    );
    assert_eq!(origin.count("GET", "/hidden"), 0);
}

#[test]
fn row_10_kubectl_gets_and_watches_an_api_behind_an_agent() {
    let api = crate::harness::Hub::start();
    let services = |key: &str| {
        format!(
            "services:\n- {{name: api, type: http, url: \"{}\", tls: {{caFile: {}}}, credentials: {{clientCertificate: {{certFile: {key}.crt, keyFile: {key}.key}}}}}}\n",
            api.server(),
            api.data().join("ca.crt").display()
        )
    };
    let keys = tempfile::TempDir::new().unwrap();
    let key = keys.path().join("admin").display().to_string();
    for (data, end) in [("certificate", "crt"), ("key", "key")] {
        let path = format!("jsonpath={{.users[0].user.client-{data}-data}}");
        let text = api.kubectl(&["config", "view", "--raw", "-o", &path]).succeeded();
        let mut decode = super::site::program("base64");
        let pem = Process::start_with_input(decode.arg("--decode"), &text).finish().succeeded();
        std::fs::write(format!("{key}.{end}"), pem).unwrap();
    }
    let site = Site::start(&services(&key));
    let (token, server) = (site.token("api"), site.url("api", "/clusters/root"));
    let authority = site.authority().display().to_string();
    let own = [
        "--kubeconfig",
        "/dev/null",
        "--server",
        &server,
        "--token",
        &token,
        "--certificate-authority",
        &authority,
    ];
    let map = |name: &str| ["create", "configmap", name].map(str::to_owned);
    let run = |arguments: &[&str]| site.hub.kubectl(&[&own[..], arguments].concat());
    assert!(run(&["get", "namespaces"]).succeeded().contains("default"));
    let mut watch = site.hub.start_kubectl(
        &[&own[..], &["get", "configmaps", "--watch", "--output-watch-events"]].concat(),
    );
    for name in ["one", "two"] {
        let create = map(name);
        run(&create.each_ref().map(|text| &**text)).succeeded();
        watch.wait_for_output(|line| line.starts_with("ADDED") && line.contains(name));
    }
    run(&["delete", "configmap", "one"]).succeeded();
    watch.wait_for_output(|line| line.starts_with("DELETED") && line.contains("one"));

    // Row 36, for a client's certificate: its key stays where the agent is.
    let der = PrivatePkcs8KeyDer::from_pem_file(format!("{key}.key")).unwrap();
    let at = der.secret_pkcs8_der().windows(2).position(|two| two == [0x04, 0x20]).unwrap() + 2;
    let secret = &der.secret_pkcs8_der()[at..at + 32];
    assert_eq!(in_memory(site.hub.process().pid().as_raw_pid(), secret), 0);
    assert_eq!(in_files(&site.hub.data(), secret), 0);
}
