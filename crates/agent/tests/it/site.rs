//! A hub with the example's provider and two tenants, and an agent of the provider.

use std::path::PathBuf;

use strait_agent::{Config, Environment, Files, FrontDoor};
use strait_audit::{Filter, list};
use strait_machinery::json::Value;
use strait_runtime::{Context, Shutdown};
use strait_sandbox::exec::Launcher;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::harness::{Client, PATIENCE, TestHub, context, yaml};
use crate::service::Service;

const PROVIDER: &str = include_str!("../../../../examples/signing/provider.yaml");
const TENANT: &str = include_str!("../../../../examples/signing/tenant.yaml");

const WORKSPACES: &str = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
const BINDINGS: &str = "/apis/apis.kcp.io/v1alpha2/apibindings";
pub(crate) const AGENTS: &str = "/apis/relay.strait.dev/v1alpha1/agents";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
pub(crate) const REQUESTS: &str =
    "/apis/signing.example.strait.dev/v1alpha1/namespaces/default/signingrequests";

/// The hub and what the agent keeps between its lives.
pub(crate) struct Site {
    pub(crate) hub: TestHub,
    pub(crate) service: Service,
    pub(crate) home: TempDir,
    /// What it joins with.
    pub(crate) token: String,
}

impl Site {
    /// Makes workspaces `root:provider`, `root:demo` and `root:other`, of which the last two
    /// bound what the first exports.
    pub(crate) async fn new() -> Self {
        Self::at(TestHub::start().await).await
    }

    /// The same at this hub.
    pub(crate) async fn at(hub: TestHub) -> Self {
        for name in ["provider", "demo", "other"] {
            let workspace = yaml(&format!(
                "{{apiVersion: tenancy.kcp.io/v1alpha1, kind: Workspace, metadata: {{name: {name}}}}}"
            ));
            hub.admin().post(WORKSPACES, &workspace).await.expect(201);
            let ready = |object: &Value| object.str_at(&["status", "phase"]) == Some("Ready");
            hub.admin().wait(WORKSPACES, name, ready).await;
        }
        let provider = hub.admin().within("root:provider");
        apply(&provider, PROVIDER).await;
        for export in ["relay.strait.dev", "requests.strait.dev"] {
            let binding = format!(
                "{{apiVersion: apis.kcp.io/v1alpha2, kind: APIBinding, metadata: {{name: {export}}},
                  spec: {{reference: {{export: {{path: root, name: {export}}}}}}}}}"
            );
            bind(&provider, &yaml(&binding)).await;
        }
        for tenant in ["demo", "other"] {
            bind(&hub.admin().within(&format!("root:{tenant}")), &yaml(TENANT)).await;
        }
        let token = agent_of(&provider).await;
        Self { hub, service: Service::start().await, home: TempDir::new().unwrap(), token }
    }

    /// An administrator in a workspace.
    pub(crate) fn within(&self, workspace: &str) -> Client {
        self.hub.admin().within(workspace)
    }

    /// Starts the agent with these rules, and waits until it is connected.
    pub(crate) async fn agent(&self, rules: &str) -> Agent {
        self.agent_with(&self.work(rules)).await
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("work.yaml")
    }

    /// Changes the agent's file.
    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    /// Asks the agent's health port; nothing is answered where there is none yet.
    pub(crate) async fn probe(&self, path: &str) -> String {
        let address = std::fs::read_to_string(self.home.path().join("agent/health"));
        let address = address.unwrap_or_default();
        let Ok(mut stream) = TcpStream::connect(address.trim()).await else { return String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Waits until the agent has so many connections to its hub.
    pub(crate) async fn connections(&self, count: u64) {
        let there = async {
            loop {
                let text = self.probe("/metrics").await;
                let own = |line: &&str| line.starts_with("strait_relay_connections{");
                let each = text.lines().filter(own).filter_map(|line| line.rsplit(' ').next());
                let sum: u64 = each.map(|count| count.parse::<u64>().unwrap()).sum();
                if sum == count && text.contains("strait_relay_certificate_expiry_seconds ") {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let there = tokio::time::timeout(PATIENCE, there).await;
        there.unwrap_or_else(|_| panic!("never {count} connections"));
    }

    /// Starts the agent with this file, and waits until it is connected.
    pub(crate) async fn agent_with(&self, text: &str) -> Agent {
        self.agent_within(text, context()).await
    }

    /// The same with these parts of a process.
    pub(crate) async fn agent_within(&self, text: &str, context: Context) -> Agent {
        let (agent, is_connected) = self.start(text, context);
        tokio::time::timeout(PATIENCE, is_connected).await.unwrap().expect("it connects");
        agent
    }

    /// Starts the agent with this file; what is given beside it tells when it is connected.
    pub(crate) fn start(&self, text: &str, context: Context) -> (Agent, oneshot::Receiver<()>) {
        self.write(text);
        let files = Files { paths: vec![self.file()], allow_insecure: false };
        let config = Config {
            data_dir: self.home.path().join("agent"),
            token: Some(self.token.parse().map_err(|_| "--token-file: no token".to_owned())),
            state: None,
            ephemeral: false,
            front_door: FrontDoor::default(),
            health: "127.0.0.1:0".parse().unwrap(),
            told: files.read().unwrap_or_else(|error| panic!("{error}")),
            files,
            environment: Environment::default(),
        };
        let launcher = Launcher { program: "/nonexistent".into(), args: Vec::new() };
        let shutdown = context.shutdown.clone();
        let (connected, is_connected) = oneshot::channel();
        let run = strait_agent::run(config, launcher, context, |_| {
            connected.send(()).unwrap();
        });
        let task = tokio::task::spawn(async move { run.await.unwrap() });
        (Agent { task, shutdown }, is_connected)
    }

    fn work(&self, rules: &str) -> String {
        format!(
            "
apiVersion: requests.strait.dev/v1alpha1
kind: RemoteEndpoint
metadata: {{name: signing}}
spec: {{workspace: 'root:provider', endpointSlice: signing}}
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestKindMapping
metadata: {{name: signing}}
spec:
  endpoint: signing
  resource: {{group: signing.example.strait.dev, version: v1alpha1, resource: signingrequests}}
  className: sign
  results: [{{name: signature, path: /status/signature}}]
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestClass
metadata: {{name: sign}}
spec:
  results: [{{name: signature, from: /signature, required: true}}]
  executor:
    http:
      url: {url}
      allowedNetworks: [127.0.0.0/8]
      body: [{{to: /digest, param: /digest}}]
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestPolicy
metadata: {{name: policy}}
spec:
  rules: [{rules}]
",
            url = self.service.url()
        )
    }

    /// What the hub's and the agent's audit logs say of a crossing: `stage rule outcome`.
    pub(crate) fn audited(&self, crossing: &str) -> [Vec<String>; 2] {
        [self.hub.directory().join("audit"), self.home.path().join("agent/audit")].map(|log| {
            let lines = list(&log, Filter::default()).unwrap();
            let lines = lines.map(|line| line.unwrap().record);
            let lines = lines.filter(|line| line.crossing == crossing);
            lines.map(|line| format!("{} {} {}", line.stage, line.rule, line.outcome)).collect()
        })
    }
}

/// A running agent.
pub(crate) struct Agent {
    pub(crate) task: JoinHandle<()>,
    shutdown: Shutdown,
}

impl Agent {
    /// Ends it well.
    pub(crate) async fn stop(self) {
        self.shutdown.ask();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
    }
}

/// Makes the agent `smith` with its rights on the export, and a token for it.
async fn agent_of(provider: &Client) -> String {
    let agent = "{apiVersion: relay.strait.dev/v1alpha1, kind: Agent, metadata: {name: smith}}";
    provider.post(AGENTS, &yaml(agent)).await.expect(201);
    let cluster = provider.get("/apis/core.kcp.io/v1alpha1/logicalclusters/cluster").await;
    let cluster = cluster.expect(200);
    let cluster = cluster.str_at(&["metadata", "annotations", "kcp.io/cluster"]).unwrap();
    let role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: smith}, rules: [
        {apiGroups: [apis.kcp.io], resources: [apiexportendpointslices], resourceNames: [signing], verbs: [get, list, watch]},
        {apiGroups: [apis.kcp.io], resources: [apiexports/content], resourceNames: [signing], verbs: [get, list, watch, update, patch]}]}";
    provider.post(&format!("{RBAC}/clusterroles"), &yaml(role)).await.expect(201);
    let binding = format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: smith}},
           roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: smith}},
           subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: 'system:strait:agent:{cluster}:smith'}}]}}"
    );
    provider.post(&format!("{RBAC}/clusterrolebindings"), &yaml(&binding)).await.expect(201);
    let made = provider.post(&format!("{AGENTS}/smith/token"), &Value::object()).await.expect(201);
    made.str_at(&["token"]).unwrap().to_owned()
}

async fn bind(client: &Client, binding: &Value) {
    client.post(BINDINGS, binding).await.expect(201);
    let name = binding.str_at(&["metadata", "name"]).unwrap();
    let bound = |object: &Value| object.str_at(&["status", "phase"]) == Some("Bound");
    client.wait(BINDINGS, name, bound).await;
}

/// Creates cluster-scoped objects of YAML documents.
async fn apply(client: &Client, text: &str) {
    for document in strait_machinery::yaml::parse(text).unwrap() {
        let object = document.value;
        let version = object.str_at(&["apiVersion"]).unwrap().to_owned();
        let kind = object.str_at(&["kind"]).unwrap().to_lowercase();
        client.post(&format!("/apis/{version}/{kind}s"), &object).await.expect(201);
    }
}
