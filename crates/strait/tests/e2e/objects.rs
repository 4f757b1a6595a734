//! Objects come, change and go as they do on any Kubernetes API server.

use crate::harness::Hub;

const CONFIG: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  labels:
    app: demo
data:
  colour: blue
";

#[test]
fn creates_reads_and_deletes() {
    let hub = Hub::start();
    let create = ["create", "configmap", "settings", "--from-literal=colour=blue"];
    assert_eq!(hub.kubectl(&create).succeeded(), "configmap/settings created\n");
    assert_eq!(
        hub.kubectl(&create).failed(),
        "error: failed to create configmap: configmaps \"settings\" already exists\n"
    );
    let table = hub.kubectl(&["get", "configmap", "settings"]).succeeded();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "DATA", "AGE"]);
    assert_eq!(rows[1][..2], ["settings", "1"]);
    let colour = ["get", "cm/settings", "-o", "jsonpath={.data.colour}"];
    assert_eq!(hub.kubectl(&colour).succeeded(), "blue");
    let yaml = hub.kubectl(&["get", "cm", "settings", "-o", "yaml"]).succeeded();
    assert!(yaml.starts_with("apiVersion: v1\ndata:\n  colour: blue\nkind: ConfigMap\n"), "{yaml}");
    assert_eq!(
        hub.kubectl(&["delete", "cm", "settings"]).succeeded(),
        "configmap \"settings\" deleted from default namespace\n"
    );
    assert_eq!(
        hub.kubectl(&["get", "cm", "settings"]).failed(),
        "Error from server (NotFound): configmaps \"settings\" not found\n"
    );
    hub.stop();
}

#[test]
fn applies_a_manifest_again_and_again() {
    let hub = Hub::start();
    let apply = |manifest: &str| hub.kubectl_with(&["apply"], manifest).succeeded();
    assert_eq!(apply(CONFIG), "configmap/settings created\n");
    assert_eq!(apply(CONFIG), "configmap/settings unchanged\n");
    let changed = CONFIG.replace("colour: blue", "shape: round");
    assert_eq!(apply(&changed), "configmap/settings configured\n");
    let data = ["get", "cm", "settings", "-o", "jsonpath={.data}"];
    assert_eq!(hub.kubectl(&data).succeeded(), r#"{"shape":"round"}"#);
    assert_eq!(
        hub.kubectl_with(&["delete"], CONFIG).succeeded(),
        "configmap \"settings\" deleted from default namespace\n"
    );
    hub.stop();
}

#[test]
fn patches_labels_and_replaces() {
    let hub = Hub::start();
    hub.kubectl_with(&["create"], CONFIG).succeeded();
    for (kind, patch) in [
        ("merge", r#"{"data":{"merge":"1"}}"#),
        ("strategic", r#"{"data":{"strategic":"1"}}"#),
        ("json", r#"[{"op":"add","path":"/data/json","value":"1"}]"#),
    ] {
        let patch = ["patch", "cm", "settings", "--type", kind, "-p", patch];
        assert_eq!(hub.kubectl(&patch).succeeded(), "configmap/settings patched\n", "{kind}");
    }
    let data = ["get", "cm", "settings", "-o", "jsonpath={.data}"];
    let all = r#"{"colour":"blue","json":"1","merge":"1","strategic":"1"}"#;
    assert_eq!(hub.kubectl(&data).succeeded(), all);
    hub.kubectl(&["label", "cm", "settings", "tier=back"]).succeeded();
    let names = ["get", "cm", "-l", "app=demo,tier in (back,front)", "-o", "name"];
    assert_eq!(hub.kubectl(&names).succeeded(), "configmap/settings\n");
    assert_eq!(hub.kubectl_with(&["replace"], CONFIG).succeeded(), "configmap/settings replaced\n");
    assert_eq!(hub.kubectl(&names).succeeded(), "");
    hub.stop();
}

#[test]
fn says_what_is_wrong_with_a_manifest() {
    let hub = Hub::start();
    let bad_name = hub.kubectl(&["create", "configmap", "Not_A_Name"]).failed();
    assert!(bad_name.contains("metadata.name: Invalid value: \"Not_A_Name\""), "{bad_name}");
    let misspelt = CONFIG.replace("data:", "dta:");
    let unknown = hub.kubectl_with(&["create"], &misspelt).failed();
    assert!(unknown.contains("strict decoding error: unknown field \"dta\""), "{unknown}");
    hub.stop();
}

#[test]
fn a_dry_run_changes_nothing() {
    let hub = Hub::start();
    let created = hub.kubectl_with(&["create", "--dry-run=server"], CONFIG).succeeded();
    assert_eq!(created, "configmap/settings created (server dry run)\n");
    hub.kubectl(&["get", "cm", "settings"]).failed();
    hub.stop();
}

#[test]
fn namespaces_hold_objects_and_take_them_along() {
    let hub = Hub::start();
    let listed = hub.kubectl(&["get", "namespaces", "-o", "name"]).succeeded();
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        assert!(listed.lines().any(|line| line == format!("namespace/{name}")), "{listed}");
    }
    let create = ["create", "namespace", "team"];
    assert_eq!(hub.kubectl(&create).succeeded(), "namespace/team created\n");
    hub.kubectl_with(&["create", "-n", "team"], CONFIG).succeeded();
    hub.kubectl(&["get", "cm", "settings"]).failed();
    hub.kubectl(&["get", "cm", "settings", "-n", "team"]).succeeded();
    let delete = ["delete", "namespace", "team", "--timeout=30s"];
    assert_eq!(hub.kubectl(&delete).succeeded(), "namespace \"team\" deleted\n");
    let create = hub.kubectl_with(&["create", "-n", "team"], CONFIG).failed();
    assert!(create.contains("namespaces \"team\" not found"), "{create}");
    hub.kubectl(&["create", "namespace", "team"]).succeeded();
    assert_eq!(
        hub.kubectl(&["get", "cm", "settings", "-n", "team", "--ignore-not-found"]).succeeded(),
        ""
    );
    hub.stop();
}
