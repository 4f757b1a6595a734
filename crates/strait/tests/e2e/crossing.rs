//! A request crosses: what people do with kubectl in front of `strait up`.

use crate::harness::{Output, Process, Up, strait};

const REQUEST: &str = include_str!("../../../../examples/signing-request.yaml");

#[test]
fn a_request_is_applied_waited_for_and_read() {
    let up = Up::start();
    let mut watch = up.start_kubectl(&["get", "signingrequests", "-w"]);
    assert_eq!(
        up.kubectl_with(&["apply"], REQUEST).succeeded(),
        "signingrequest.signing.example.strait.dev/release-1 created\n"
    );
    let wait = ["wait", "--for=condition=Succeeded", "signingrequest/release-1", "--timeout=30s"];
    assert_eq!(
        up.kubectl(&wait).succeeded(),
        "signingrequest.signing.example.strait.dev/release-1 condition met\n"
    );
    watch.wait_for_output(|line| line.starts_with("NAME "));
    watch.wait_for_output(|line| line.starts_with("release-1 ") && line.contains(" Succeeded "));
    let yaml = up.kubectl(&["get", "signingrequests", "-o", "yaml"]).succeeded();
    for part in ["kind: List", "phase: Succeeded", "signature: ", "publicKey: ", "completionTime: "]
    {
        assert!(yaml.contains(part), "{part} in {yaml}");
    }
    assert_eq!(
        up.kubectl_with(&["apply"], REQUEST).succeeded(),
        "signingrequest.signing.example.strait.dev/release-1 unchanged\n"
    );
    let deleted = up.kubectl_with(&["delete"], REQUEST).succeeded();
    assert!(deleted.contains("\"release-1\" deleted"), "{deleted}");
}

#[test]
fn the_kind_explains_itself() {
    let up = Up::start();
    let text = up.kubectl(&["explain", "signingrequest.spec"]).succeeded();
    assert!(text.contains("GROUP:      signing.example.strait.dev"), "{text}");
    assert!(text.contains("keyName\t<string> -required-"), "{text}");
    let kinds = up.kubectl(&["api-resources", "--api-group=signing.example.strait.dev"]);
    assert!(kinds.succeeded().contains("signingrequests"));
}

#[test]
fn what_was_asked_for_cannot_be_changed() {
    let up = Up::start();
    up.kubectl_with(&["apply"], REQUEST).succeeded();
    let patch = r#"{"spec":{"keyName":"other"}}"#;
    let patch = ["patch", "signingrequest", "release-1", "--type=merge", "-p", patch];
    let refused = up.kubectl(&patch).failed();
    assert!(refused.contains("spec: Invalid value"), "{refused}");
    let bad = REQUEST.replace("sha256:9f", "sha256:zz");
    let refused = up.kubectl_with(&["create"], &bad).failed();
    assert!(refused.contains("spec.digest"), "{refused}");
    let unknown = REQUEST.replace("  keyName", "  colour: blue\n  keyName");
    let refused = up.kubectl_with(&["create"], &unknown).failed();
    assert!(refused.contains("unknown field \"spec.colour\""), "{refused}");
}

const OTHER_TENANT: &str = "
apiVersion: tenancy.kcp.io/v1alpha1
kind: Workspace
metadata: {name: other}
";

const OTHER_BINDING: &str = "
apiVersion: apis.kcp.io/v1alpha2
kind: APIBinding
metadata: {name: signing}
spec: {reference: {export: {path: root:provider, name: signing}}}
";

#[test]
fn a_request_that_no_rule_allows_is_rejected_without_a_word_of_the_policy() {
    let up = Up::start();
    let admin = ["--context", "root"];
    up.kubectl_with(&[&admin[..], &["create"]].concat(), OTHER_TENANT).succeeded();
    up.kubectl(
        &[
            &admin[..],
            &["wait", "workspace/other", "--timeout=30s", "--for=jsonpath={.status.phase}=Ready"],
        ]
        .concat(),
    )
    .succeeded();
    let server = format!("{}/clusters/root:other", up.ready.split(' ').nth(1).unwrap());
    let there = [&admin[..], &["--server", &server]].concat();
    let run = |arguments: &[&str]| up.kubectl(&[&there[..], arguments].concat());
    up.kubectl_with(&[&there[..], &["create"]].concat(), OTHER_BINDING).succeeded();
    run(&["wait", "apibinding/signing", "--for=condition=Ready", "--timeout=30s"]).succeeded();
    up.kubectl_with(&[&there[..], &["create"]].concat(), REQUEST).succeeded();
    let rejected = ["wait", "signingrequest/release-1", "--for=condition=Succeeded=false"];
    run(&[&rejected[..], &["--timeout=30s"]].concat()).succeeded();
    let status = run(&["get", "signingrequest", "release-1", "-o", "jsonpath={.status}"]);
    let status: serde_json::Value = serde_json::from_str(&status.succeeded()).unwrap();
    assert_eq!(status["phase"], "Rejected");
    assert!(status["completionTime"].is_string());
    for kind in ["Succeeded", "Accepted"] {
        let conditions = status["conditions"].as_array().unwrap();
        let condition = conditions.iter().find(|one| one["type"] == kind).unwrap();
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&"False".into(), &"Rejected".into())
        );
    }
    for word in ["demo-signs", "root:demo", "rule"] {
        assert!(!status.to_string().contains(word), "{word} in {status}");
    }
}

#[test]
fn parameters_that_the_class_does_not_take_are_named() {
    let up = Up::start();
    let foreign = REQUEST.replace("keyName: release", "keyName: somebody-elses");
    up.kubectl_with(&["apply"], &foreign).succeeded();
    let wait = ["wait", "--for=condition=Succeeded=false", "signingrequest/release-1"];
    up.kubectl(&[&wait[..], &["--timeout=30s"]].concat()).succeeded();
    let failure = ["get", "signingrequest", "release-1", "-o", "jsonpath={.status.failure}"];
    let failure = up.kubectl(&failure).succeeded();
    assert!(failure.contains("\"class\":\"User\""), "{failure}");
    assert!(failure.contains("keyName: Unsupported value"), "{failure}");
}

#[test]
fn both_sides_audit_every_stage_in_a_chain() {
    let up = Up::start();
    up.kubectl_with(&["apply"], REQUEST).succeeded();
    let wait = ["wait", "--for=condition=Succeeded", "signingrequest/release-1", "--timeout=30s"];
    up.kubectl(&wait).succeeded();
    let uid = ["get", "signingrequest", "release-1", "-o", "jsonpath={.metadata.uid}"];
    let uid = up.kubectl(&uid).succeeded();
    let (_, home) = up.stop();
    let data = home.path().join("data");
    for directory in [data.clone(), data.join("agents/local")] {
        let directory = directory.to_str().unwrap();
        let listed = run(&["audit", "list", "--data-dir", directory, "-o", "json"]).succeeded();
        let of_ours: Vec<&str> = listed.lines().filter(|line| line.contains(&uid)).collect();
        for stage in ["decided", "started", "ended"] {
            let stage = format!("\"stage\":\"{stage}\"");
            assert!(of_ours.iter().any(|line| line.contains(&stage)), "{stage} in {listed}");
        }
        let verified = run(&["audit", "verify", "--data-dir", directory]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
}

fn run(arguments: &[&str]) -> Output {
    Process::start(strait().args(arguments)).finish()
}
