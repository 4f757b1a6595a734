//! What is wrong with a configuration is told whole, each mistake with its place.

use strait_requests::load;

const WRONG: &str = "\
apiVersion: requests.strait.dev/v1alpha1
kind: RemoteEndpoint
metadata: {name: hub}
spec: {workspace: 'root:Provider', endpointSlice: export, color: red}
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestKindMapping
metadata: {name: first}
spec:
  endpoint: nowhere
  resource: {group: s.dev, version: v1alpha1, resource: signingrequests}
  className: nothing
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestKindMapping
metadata: {name: second}
spec:
  endpoint: hub
  resource: {group: s.dev, version: v1alpha1, resource: others}
  className: program
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestClass
metadata: {name: program}
spec:
  concurrency: 0
  executor:
    process: {program: bin/true}
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestClass
metadata: {name: call}
spec:
  maxAttempts: 4
  executionTimeout: 0s
  executor:
    http:
      url: http://user@service/x
      bearerFile: /nonexistent/token
      allowedNetworks: [10.0.0.0/33]
      headers: [{name: Host, value: other}, {name: Idempotency-Key, value: mine}]
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestPolicy
metadata: {name: policy}
spec:
  rules:
  - {name: a, effect: allow, match: {classes: [call, program, none], workspaces: ['root:**:x']}}
";

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("work.yaml");
    std::fs::write(&file, WRONG).unwrap();
    let missing = home.path().join("missing.yaml");
    let told = load(&[file, missing]).unwrap_err().to_string();
    let home = format!("{}/", home.path().display());
    let told: Vec<_> = told.lines().map(|line| line.replace(&home, "")).collect();
    let expected = [
        "cannot read missing.yaml: ",
        "work.yaml:4:8: spec.workspace: Invalid value: \"root:Provider\"",
        "work.yaml:4:59: unknown field \"spec.color\"",
        "work.yaml:10:3: spec.endpoint: Not found: \"nowhere\"",
        "work.yaml:12:3: spec.className: Not found: \"nothing\"",
        "work.yaml:26:3: spec.concurrency: Invalid value: 0",
        "work.yaml:28:5: spec.executor.process.isolation: Required value",
        "work.yaml:28:15: spec.executor.process.program: Invalid value: \"bin/true\"",
        "work.yaml:34:3: spec.maxAttempts: Forbidden: needs execution AtLeastOnce",
        "work.yaml:35:3: spec.executionTimeout: Invalid value: \"0s\": must be positive",
        "work.yaml:38:7: spec.executor.http.url: Invalid value: \"\": needs a host, and no credential",
        "work.yaml:39:7: spec.executor.http.bearerFile: Invalid value: \"/nonexistent/token\"",
        "work.yaml:40:25: spec.executor.http.allowedNetworks[0]: Invalid value: \"10.0.0.0/33\"",
        "work.yaml:41:18: spec.executor.http.headers[0].name: Forbidden: is set by the call itself",
        "work.yaml:41:46: spec.executor.http.headers[1].name: Forbidden: is set by the call itself",
        "work.yaml:48:63: spec.rules[0].match.classes[2]: Not found: \"none\"",
        "work.yaml:48:83: spec.rules[0].match.workspaces[0]: Invalid value: \"root:**:x\"",
    ];
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}
