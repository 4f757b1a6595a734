//! Agents in Kubernetes: what is printed for them is run here as its pods would run it.

use std::path::{Path, PathBuf};

use strait_machinery::json::Value;
use strait_machinery::yaml;
use tempfile::TempDir;

use super::origin::Origin;
use super::site::{eventually, program};
use crate::harness::{Hub, Process, strait};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/strait-agent");

/// A hub, the services file of an agent, and a service.
struct Rig {
    hub: Hub,
    home: TempDir,
    origin: Origin,
}

impl Rig {
    fn new() -> Self {
        let (hub, home, origin) = (Hub::start(), TempDir::new().unwrap(), Origin::start());
        let config = format!(
            "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\nservices:\n\
             - name: web\n  type: http\n  url: http://{}\n  credentials:\n    \
             bearer: {{tokenFile: /etc/strait/credentials/web}}\n",
            origin.address
        );
        std::fs::write(home.path().join("agent.yaml"), config).unwrap();
        Self { hub, home, origin }
    }

    /// What is printed for the agent.
    fn manifest(&self, arguments: &[&str]) -> String {
        let file = self.home.path().join("agent.yaml");
        let own = ["agent", "manifest", "smith", "--image", "r.example:5000/strait:1", "-f"];
        let own = [&own[..], &[file.to_str().unwrap()], arguments].concat();
        self.hub.strait(&own).succeeded()
    }

    fn helm(&self, arguments: &[&str]) -> crate::harness::Output {
        let own = ["smith", CHART, "--namespace", "strait"];
        self.hub.helm(&[&arguments[..1], &own, &arguments[1..]].concat())
    }
}

fn documents(text: &str) -> Vec<Value> {
    yaml::parse(text).unwrap().into_iter().map(|one| one.value).collect()
}

fn of_kind(documents: &[Value], kind: &str) -> Value {
    let found = documents.iter().find(|one| one.str_at(&["kind"]) == Some(kind));
    found.unwrap_or_else(|| panic!("no {kind}")).clone()
}

fn container(workload: &Value) -> Value {
    workload.array_at(&["spec", "template", "spec", "containers"])[0].clone()
}

fn texts(value: &Value, path: &[&str]) -> Vec<String> {
    value.array_at(path).iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A pod's files, and its paths below a directory of this machine.
struct Pod(PathBuf);

impl Pod {
    /// What the objects mount.
    fn new(root: &Path, objects: &[Value]) -> Self {
        let pod = Self(root.to_owned());
        for path in
            ["/var/lib", "/etc/strait/token", "/etc/strait/config", "/etc/strait/credentials"]
        {
            std::fs::create_dir_all(pod.path(path)).unwrap();
        }
        let write = |path: &str, text: &str| std::fs::write(pod.path(path), text).unwrap();
        let (secret, config) = (of_kind(objects, "Secret"), of_kind(objects, "ConfigMap"));
        write("/etc/strait/token/token", secret.str_at(&["stringData", "token"]).unwrap());
        let config = config.str_at(&["data", "agent.yaml"]).unwrap();
        write("/etc/strait/config/agent.yaml", &pod.here(config));
        write("/etc/strait/credentials/web", "inner-secret\n");
        pod
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// A text with the pod's paths as they are on this machine.
    fn here(&self, text: &str) -> String {
        let root = self.0.display();
        text.replace("/etc/strait", &format!("{root}/etc/strait"))
            .replace("/var/lib/strait", &format!("{root}/var/lib/strait"))
    }

    /// Runs one of its commands, the program's name first.
    fn run(&self, command: &[String], more: &[&str]) -> Process {
        assert_eq!(command[0], "strait");
        let mut program = strait();
        program.args(command[1..].iter().map(|one| self.here(one))).args(more);
        Process::start(&mut program)
    }
}

#[test]
fn what_a_manifest_says_runs_two_agents_that_serve() {
    let rig = Rig::new();
    let objects = documents(&rig.manifest(&[]));
    let deployment = of_kind(&objects, "Deployment");
    let container = container(&deployment);
    assert_eq!(deployment.at(&["spec", "replicas"]).and_then(Value::as_i64), Some(2));
    assert_eq!(container.str_at(&["image"]), Some("r.example:5000/strait:1"));
    let command = [texts(&container, &["command"]), texts(&container, &["args"])].concat();
    let probe = |kind| texts(&container, &[kind, "exec", "command"]);
    let (ready, live) = (probe("readinessProbe"), probe("livenessProbe"));
    let pods = ["a", "b"].map(|name| Pod::new(&rig.home.path().join(name), &objects));
    let check = pods[0].path("/etc/strait/config/agent.yaml");
    let said = rig.hub.strait(&["agent", "check", check.to_str().unwrap()]).succeeded();
    assert!(said.starts_with("good; services: 1"), "{said}");
    // Before it runs, a pod is neither.
    assert_eq!(pods[0].run(&ready, &[]).finish().code, Some(1));
    assert_eq!(pods[0].run(&live, &[]).finish().code, Some(1));
    let parent = std::process::id().to_string();
    let here = ["--health", "127.0.0.1:0", "--parent", &parent];
    let mut agents = pods.each_ref().map(|pod| pod.run(&command, &here));
    for agent in &mut agents {
        agent.wait_for_output(|line| line.starts_with("ready smith "));
    }
    for pod in &pods {
        eventually("the pod's probes succeed", || {
            pod.run(&ready, &[]).finish().code == Some(0)
                && pod.run(&live, &[]).finish().code == Some(0)
        });
    }
    eventually("the service is there", || {
        rig.hub.strait(&["service", "list"]).succeeded().contains("smith/web")
    });
    let token = rig.hub.strait(&["service", "token", "smith/web"]).succeeded();
    let url = format!("{}/services/relay/smith/web/", rig.hub.server());
    let mut curl = program("curl");
    curl.args(["--silent", "--show-error", "--fail", "--cacert"])
        .arg(rig.hub.data().join("ca.crt"));
    Process::start(curl.args(["--oauth2-bearer", token.trim(), &url])).finish().succeeded();
    let seen = rig.origin.known.seen.lock()[0].clone();
    assert_eq!(seen.field("authorization"), Some("Bearer inner-secret"));
    let shown = rig.hub.strait(&["agent", "show", "smith", "-o", "json"]).succeeded();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let instances = shown["status"]["instances"].as_array().unwrap();
    assert!(
        instances.len() == 2 && instances.iter().all(|one| one["ephemeral"] == true),
        "{shown}"
    );
    for agent in agents {
        assert_eq!(agent.terminate().code, Some(0));
    }
    assert_eq!(pods[0].run(&ready, &[]).finish().code, Some(1));
    rig.hub.stop();
}

#[test]
fn the_chart_makes_the_same_pods_as_the_manifest() {
    let rig = Rig::new();
    let printed = documents(&rig.manifest(&["--namespace", "strait"]));
    let values = rig.home.path().join("values.yaml");
    std::fs::write(&values, rig.manifest(&["--helm"])).unwrap();
    let values = values.to_str().unwrap();
    let lint = rig.hub.helm(&["lint", CHART, "--strict", "-f", values]).succeeded();
    assert!(lint.contains("0 chart(s) failed"), "{lint}");
    let made = documents(&rig.helm(&["template", "-f", values]).succeeded());
    let pod = |objects: &[Value], path: &[&str]| {
        let deployment = of_kind(objects, "Deployment");
        deployment.at(&["spec", "template", "spec"]).unwrap().at(path).cloned()
    };
    for path in [
        &["securityContext"][..],
        &["terminationGracePeriodSeconds"],
        &["automountServiceAccountToken"],
        &["serviceAccountName"],
        &["volumes"],
    ] {
        assert_eq!(pod(&made, path), pod(&printed, path), "{path:?}");
    }
    let of = |objects: &[Value]| container(&of_kind(objects, "Deployment"));
    let (ours, theirs) = (of(&printed), of(&made));
    for field in [
        "image",
        "command",
        "args",
        "securityContext",
        "readinessProbe",
        "livenessProbe",
        "resources",
        "volumeMounts",
    ] {
        assert_eq!(theirs.get(field), ours.get(field), "{field}");
    }
    let config = |objects: &[Value]| {
        of_kind(objects, "ConfigMap").str_at(&["data", "agent.yaml"]).unwrap().trim().to_owned()
    };
    assert_eq!(config(&made), config(&printed));
    let budget = |objects: &[Value]| {
        of_kind(objects, "PodDisruptionBudget").at(&["spec", "maxUnavailable"]).cloned()
    };
    assert_eq!(budget(&made), budget(&printed));
    let kept =
        rig.helm(&["template", "-f", values, "--set", "persistence.enabled=true"]).succeeded();
    let kept = of_kind(&documents(&kept), "StatefulSet");
    assert!(!texts(&container(&kept), &["args"]).contains(&"--ephemeral".to_owned()));
    assert_eq!(kept.array_at(&["spec", "volumeClaimTemplates"]).len(), 1);
    for (wrong, why) in [
        (&["template", "--set", "token=x"][..], "token"),
        (&["template"], "token or existingSecret is needed"),
        (&["template", "-f", values, "--set", "replicas=3"], "replicas"),
    ] {
        let refused = rig.helm(wrong).failed();
        assert!(refused.contains(why), "{refused}");
    }
    rig.hub.stop();
}

#[test]
fn the_chart_keeps_state_in_a_secret_as_the_manifest_does() {
    let rig = Rig::new();
    let printed = documents(&rig.manifest(&["--namespace", "strait", "--state-secret"]));
    let values = rig.home.path().join("values.yaml");
    std::fs::write(&values, rig.manifest(&["--helm", "--state-secret"])).unwrap();
    let made = rig.helm(&["template", "-f", values.to_str().unwrap()]).succeeded();
    let made = documents(&made);
    for (kind, paths) in [
        ("Role", &[&["metadata", "name"][..], &["metadata", "namespace"], &["rules"]][..]),
        ("RoleBinding", &[&["metadata", "namespace"], &["roleRef"], &["subjects"]]),
        (
            "StatefulSet",
            &[
                &["spec", "replicas"],
                &["spec", "serviceName"],
                &["spec", "podManagementPolicy"],
                &["spec", "template", "spec", "automountServiceAccountToken"],
                &["spec", "template", "spec", "serviceAccountName"],
                &["spec", "template", "spec", "securityContext"],
                &["spec", "template", "spec", "volumes"],
            ],
        ),
    ] {
        let (ours, theirs) = (of_kind(&printed, kind), of_kind(&made, kind));
        for path in paths {
            assert!(ours.at(path).is_some(), "{kind} {path:?}");
            assert_eq!(theirs.at(path), ours.at(path), "{kind} {path:?}");
        }
    }
    let pods = [&printed, &made].map(|objects| container(&of_kind(objects, "StatefulSet")));
    for field in ["args", "command", "securityContext", "readinessProbe", "volumeMounts"] {
        assert_eq!(pods[1].get(field), pods[0].get(field), "{field}");
    }
    let states = [&printed, &made].map(|objects| {
        let secret = |one: &&Value| {
            one.str_at(&["kind"]) == Some("Secret")
                && one.str_at(&["metadata", "name"]) == Some("strait-agent-smith-state")
        };
        objects.iter().find(secret).expect("the state's Secret").clone()
    });
    // What is applied anew leaves the pods' entries as they are.
    assert!(
        states.iter().all(|one| one.at(&["data"]).or_else(|| one.at(&["stringData"])).is_none())
    );

    // The command is one that the program takes, in a pod.
    let pod = Pod::new(&rig.home.path().join("pod"), &without_state(&printed));
    let command = [texts(&pods[0], &["command"]), texts(&pods[0], &["args"])].concat();
    let outside = pod.run(&command, &[]).finish();
    assert_eq!(outside.code, Some(64), "{outside:?}");
    let why = "--state-secret: this is no pod of a cluster: KUBERNETES_SERVICE_HOST";
    assert!(outside.stderr.contains(why) && outside.stderr.lines().count() == 1, "{outside:?}");
    rig.hub.stop();
}

/// Without the Secret of the state, which pods do not mount.
fn without_state(objects: &[Value]) -> Vec<Value> {
    let state = |one: &&Value| {
        one.str_at(&["metadata", "name"]).is_none_or(|name| !name.ends_with("-state"))
    };
    objects.iter().filter(state).cloned().collect()
}

#[test]
fn what_is_wrong_for_a_manifest_is_told_at_once_and_makes_nothing() {
    let rig = Rig::new();
    let file = rig.home.path().join("agent.yaml");
    std::fs::write(
        &file,
        "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\nservices: [{name: a}]\n",
    )
    .unwrap();
    let arguments = ["agent", "manifest", "smith", "--image", "a b", "-n", "N", "-f"];
    let refused = rig.hub.strait(&[&arguments[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(refused.code, Some(64), "{refused:?}");
    for part in ["--namespace: \"N\"", "--image: \"a b\"", "services[0].type"] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    let none = rig.hub.kubectl(&["get", "agents", "-o", "name"]).succeeded();
    assert_eq!(none, "");
    // Where the token is in a Secret already, the hub is not asked.
    let there =
        rig.hub.strait(&["agent", "manifest", "smith", "--existing-secret", "mine"]).succeeded();
    let objects = documents(&there);
    assert!(objects.iter().all(|one| one.str_at(&["kind"]) != Some("Secret")));
    assert_eq!(rig.hub.kubectl(&["get", "agents", "-o", "name"]).succeeded(), "");
    // What our own API serves of it, it takes.
    let manifest = ["agent", "manifest", "smith", "--namespace", "default"];
    let served = rig.hub.strait(&manifest).succeeded();
    let served = documents(&served).into_iter().filter(|one| {
        matches!(one.str_at(&["kind"]), Some("ServiceAccount" | "Secret" | "ConfigMap"))
    });
    let served: String = served.map(|one| format!("---\n{}", yaml::to_text(&one))).collect();
    rig.hub.kubectl_with(&["create", "--dry-run=server", "--validate=strict"], &served).succeeded();
    rig.hub.stop();
}
