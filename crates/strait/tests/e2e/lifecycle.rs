//! A hub ends when it is told to, and what it kept is there when it starts again.

use crate::harness::Hub;

#[test]
fn finds_everything_again_after_a_restart() {
    let hub = Hub::start();
    hub.kubectl(&["create", "configmap", "kept", "--from-literal=colour=blue"]).succeeded();
    let identity =
        ["get", "cm", "kept", "-o", "jsonpath={.metadata.uid} {.metadata.resourceVersion}"];
    let before = hub.kubectl(&identity).succeeded();
    let hub = hub.stop().start();
    assert_eq!(hub.kubectl(&identity).succeeded(), before);
    hub.kubectl(&["create", "configmap", "kept"]).failed();
    hub.stop();
}

#[test]
fn ends_although_somebody_watches() {
    let hub = Hub::start();
    let mut watch = hub.start_kubectl(&["get", "namespaces", "--watch", "-o", "name"]);
    watch.wait_for_output(|line| line == "namespace/default");
    hub.stop();
}
