//! A chart's life with helm.
//!
//! Helm 4 applies on the server unless it is told not to; the hub answers that with 415 for now.

use crate::harness::Hub;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/chart");
const ON_THE_CLIENT: &str = "--server-side=false";

#[test]
fn installs_upgrades_rolls_back_and_uninstalls() {
    let hub = Hub::start();
    let greeting = || {
        let map = hub.kubectl(&["get", "cm", "one", "-o", "jsonpath={.data.greeting}"]);
        let secret = hub.kubectl(&["get", "secret", "one", "-o", "jsonpath={.data.greeting}"]);
        (map.succeeded(), secret.succeeded())
    };
    let shown = |text: &str, encoded: &str| (text.to_owned(), encoded.to_owned());

    let installed = hub.helm(&["install", "one", CHART, ON_THE_CLIENT, "--wait"]).succeeded();
    assert!(installed.contains("\nSTATUS: deployed\nREVISION: 1\n"), "{installed}");
    assert_eq!(greeting(), shown("hello", "aGVsbG8="));
    let listed = hub.helm(&["list", "--short"]).succeeded();
    assert_eq!(listed, "one\n");

    let upgrade = ["upgrade", "one", CHART, ON_THE_CLIENT, "--set", "greeting=good day"];
    let upgraded = hub.helm(&upgrade).succeeded();
    assert!(upgraded.contains("\nSTATUS: deployed\nREVISION: 2\n"), "{upgraded}");
    assert_eq!(greeting(), shown("good day", "Z29vZCBkYXk="));

    hub.helm(&["rollback", "one", "1", ON_THE_CLIENT]).succeeded();
    assert_eq!(greeting(), shown("hello", "aGVsbG8="));
    let history = hub.helm(&["history", "one", "-o", "json"]).succeeded();
    let history: serde_json::Value = serde_json::from_str(&history).unwrap();
    let states: Vec<&str> =
        history.as_array().unwrap().iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["superseded", "superseded", "deployed"]);

    assert_eq!(hub.helm(&["uninstall", "one"]).succeeded(), "release \"one\" uninstalled\n");
    assert_eq!(hub.helm(&["list", "--short"]).succeeded(), "");
    let rest = ["get", "cm,secret", "one", "--ignore-not-found", "-o", "name"];
    assert_eq!(hub.kubectl(&rest).succeeded(), "");
    hub.stop();
}

#[test]
fn a_chart_that_cannot_be_installed_leaves_a_failed_release() {
    let hub = Hub::start();
    hub.kubectl(&["create", "configmap", "one"]).succeeded();
    let refused = hub.helm(&["install", "one", CHART, ON_THE_CLIENT]).failed();
    assert!(refused.contains("ConfigMap \"one\" in namespace \"default\" exists"), "{refused}");
    hub.stop();
}
