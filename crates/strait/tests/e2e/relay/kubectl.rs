//! kubectl in front: an API behind an agent, as a plain HTTPS service.

use std::time::{Duration, Instant};

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

use super::site::{Site, program, rest};
use super::trust::{in_files, in_memory};
use crate::harness::{Hub, Output, Process};

/// Longer than any limit of a silent answer, and the whole of a watch with two of them.
const SILENCE: Duration = Duration::from_secs(5 * 60 + 10);
/// Time for kubectl to say the next thing.
const PATIENCE: Duration = Duration::from_mins(1);

/// A hub whose API is the service `api` behind an agent of another hub.
struct Api {
    site: Site,
    _hub: Hub,
    _keys: TempDir,
    /// Where the key is with which the agent asks.
    key: String,
    token: String,
}

impl Api {
    fn start() -> Self {
        let hub = Hub::start();
        let keys = TempDir::new().unwrap();
        let key = keys.path().join("admin").display().to_string();
        for (data, end) in [("certificate", "crt"), ("key", "key")] {
            let path = format!("jsonpath={{.users[0].user.client-{data}-data}}");
            let text = hub.kubectl(&["config", "view", "--raw", "-o", &path]).succeeded();
            let mut decode = program("base64");
            let pem = Process::start_with_input(decode.arg("--decode"), &text).finish().succeeded();
            std::fs::write(format!("{key}.{end}"), pem).unwrap();
        }
        let site = Site::start(&format!(
            "services:\n- {{name: api, type: http, url: \"{}\", tls: {{caFile: {}}}, credentials: {{clientCertificate: {{certFile: {key}.crt, keyFile: {key}.key}}}}}}\n",
            hub.server(),
            hub.data().join("ca.crt").display()
        ));
        let token = site.token("api");
        Self { site, _hub: hub, _keys: keys, key, token }
    }

    /// Runs kubectl through the agent.
    fn run(&self, arguments: &[&str]) -> Output {
        self.start_kubectl(arguments).finish()
    }

    fn start_kubectl(&self, arguments: &[&str]) -> Process {
        let server = self.site.url("api", "/clusters/root");
        let authority = self.site.authority().display().to_string();
        let own = ["--kubeconfig", "/dev/null", "--server", &server, "--token", &self.token];
        let own = [&own[..], &["--certificate-authority", &authority]].concat();
        self.site.hub.start_kubectl(&[&own[..], arguments].concat())
    }

    /// Makes two maps with this much silence before each, and removes one after as much; whoever
    /// watches sees it.
    fn watch(&self, silence: Duration) {
        let watch = ["get", "configmaps", "--watch", "--output-watch-events"];
        let mut watch = self.start_kubectl(&watch).patiently(PATIENCE);
        for (verb, name, event) in
            [("create", "one", "ADDED"), ("create", "two", "ADDED"), ("delete", "one", "DELETED")]
        {
            rest(silence);
            self.run(&[verb, "configmap", name]).succeeded();
            watch.wait_for_output(|line| line.starts_with(event) && line.contains(name));
        }
    }
}

#[test]
fn row_10_kubectl_gets_and_watches_an_api_behind_an_agent() {
    let api = Api::start();
    assert!(api.run(&["get", "namespaces"]).succeeded().contains("default"));
    api.watch(Duration::ZERO);

    // Row 36, for a client's certificate: its key stays where the agent is.
    let der = PrivatePkcs8KeyDer::from_pem_file(format!("{}.key", api.key)).unwrap();
    let at = der.secret_pkcs8_der().windows(2).position(|two| two == [0x04, 0x20]).unwrap() + 2;
    let secret = &der.secret_pkcs8_der()[at..at + 32];
    let hub = &api.site.hub;
    assert_eq!(in_memory(hub.process().pid().as_raw_pid(), secret), 0);
    assert_eq!(in_files(&hub.data(), secret), 0);
}

#[test]
#[ignore = "16 minutes; cargo xtask soak row_10"]
fn row_10_kubectl_watches_while_nothing_happens() {
    let began = Instant::now();
    Api::start().watch(SILENCE);
    println!("one watch of {:?}, three times silent for {SILENCE:?}", began.elapsed());
}
