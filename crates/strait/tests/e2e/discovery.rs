//! What kubectl learns before it does anything: the version, the kinds, their fields, one's rights.

use crate::harness::Hub;

#[test]
fn tells_its_version() {
    let hub = Hub::start();
    let version = hub.kubectl(&["version"]).succeeded();
    assert!(version.contains("\nServer Version: v1.34."), "{version}");
    hub.stop();
}

#[test]
fn lists_the_kinds_it_serves() {
    let hub = Hub::start();
    let listed = hub.kubectl(&["api-resources", "--no-headers"]).succeeded();
    let lines: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split_whitespace().collect()).collect();
    for wanted in [
        &["configmaps", "cm", "v1", "true", "ConfigMap"][..],
        &["events", "ev", "v1", "true", "Event"],
        &["namespaces", "ns", "v1", "false", "Namespace"],
        &["secrets", "v1", "true", "Secret"],
        &["serviceaccounts", "sa", "v1", "true", "ServiceAccount"],
        &["leases", "coordination.k8s.io/v1", "true", "Lease"],
        &["clusterroles", "rbac.authorization.k8s.io/v1", "false", "ClusterRole"],
        &["rolebindings", "rbac.authorization.k8s.io/v1", "true", "RoleBinding"],
        &["workspaces", "ws", "tenancy.kcp.io/v1alpha1", "false", "Workspace"],
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted:?} in\n{listed}");
    }
    let versions = hub.kubectl(&["api-versions"]).succeeded();
    assert!(versions.lines().any(|line| line == "apis.kcp.io/v1alpha2"), "{versions}");
    hub.stop();
}

#[test]
fn explains_kinds_and_fields() {
    let hub = Hub::start();
    let kind = hub.kubectl(&["explain", "configmap"]).succeeded();
    assert!(kind.starts_with("KIND:       ConfigMap\nVERSION:    v1\n"), "{kind}");
    for field in ["  binaryData\t<map[string]string>", "  metadata\t<ObjectMeta>"] {
        assert!(kind.contains(field), "{field:?} in\n{kind}");
    }
    let field = hub.kubectl(&["explain", "namespace.metadata.labels"]).succeeded();
    assert!(field.contains("\nFIELD: labels <map[string]string>\n"), "{field}");
    let group = hub.kubectl(&["explain", "rolebinding.roleRef"]).succeeded();
    assert!(group.starts_with("GROUP:      rbac.authorization.k8s.io\n"), "{group}");
    assert!(group.contains("\nFIELD: roleRef <RoleRef>\n"), "{group}");
    let unknown = hub.kubectl(&["explain", "configmap.nothing"]).failed();
    assert_eq!(unknown, "error: field \"nothing\" does not exist\n");
    hub.stop();
}

#[test]
fn tells_people_who_they_are_and_what_they_may_do() {
    let hub = Hub::start();
    let allowed = hub.kubectl(&["auth", "can-i", "create", "configmaps"]).succeeded();
    assert_eq!(allowed, "yes\n");
    let everything = hub.kubectl(&["auth", "can-i", "--list", "--no-headers"]).succeeded();
    assert!(everything.contains("*.*"), "{everything}");
    let name = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}"];
    assert_eq!(hub.kubectl(&name).succeeded(), r#"["system:masters","system:authenticated"]"#);
    hub.stop();
}
