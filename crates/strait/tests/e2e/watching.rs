//! Changes reach those who wait for them.

use crate::harness::Hub;

#[test]
fn a_watch_shows_changes_in_order() {
    let hub = Hub::start();
    hub.kubectl(&["create", "configmap", "first"]).succeeded();
    let mut watch = hub.start_kubectl(&[
        "get",
        "configmaps",
        "--field-selector=metadata.name!=kube-root-ca.crt",
        "--watch",
        "--output-watch-events",
        "-o",
        "custom-columns=TYPE:.type,NAME:.object.metadata.name,COLOUR:.object.data.colour",
        "--no-headers",
    ]);
    let words = |line: String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut next = || words(watch.wait_for_output(|_| true));
    assert_eq!(next(), ["ADDED", "first", "<none>"]);
    hub.kubectl(&["create", "configmap", "second", "--from-literal=colour=red"]).succeeded();
    assert_eq!(next(), ["ADDED", "second", "red"]);
    hub.kubectl(&["patch", "cm", "first", "--type=merge", "-p", r#"{"data":{"colour":"blue"}}"#])
        .succeeded();
    assert_eq!(next(), ["MODIFIED", "first", "blue"]);
    hub.kubectl(&["delete", "cm", "second"]).succeeded();
    assert_eq!(next(), ["DELETED", "second", "red"]);
    hub.stop();
}

#[test]
fn waits_for_a_value() {
    let hub = Hub::start();
    hub.kubectl(&["create", "configmap", "door"]).succeeded();
    let wait = hub.start_kubectl(&[
        "wait",
        "--for=jsonpath={.data.state}=open",
        "configmap/door",
        "--timeout=30s",
    ]);
    hub.kubectl(&["patch", "cm", "door", "--type=merge", "-p", r#"{"data":{"state":"open"}}"#])
        .succeeded();
    assert_eq!(wait.finish().succeeded(), "configmap/door condition met\n");
    hub.stop();
}

#[test]
fn waits_for_an_end() {
    let hub = Hub::start();
    hub.kubectl(&["create", "configmap", "guest"]).succeeded();
    let wait = hub.start_kubectl(&["wait", "--for=delete", "cm/guest", "--timeout=30s"]);
    hub.kubectl(&["delete", "cm", "guest"]).succeeded();
    wait.finish().succeeded();
    hub.stop();
}
