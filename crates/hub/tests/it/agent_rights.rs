//! What an agent may do: what it needs, and nothing else.

use strait_machinery::json::Value;

use crate::harness::{Client, TestHub, yaml};
use crate::joining::{AGENTS, Installation, make_agent, token};
use crate::tenants::{
    ALL_WIDGETS, BINDINGS, CONFIG_MAPS, EXPORTS, ROLE_BINDINGS, SCHEMAS, SLICES, WIDGETS,
    WORKSPACES, config_map, widget,
};

pub(crate) const VIEWS: &str = "/apis/requests.strait.dev/v1alpha1/requestclassviews";

fn class_view(name: &str, agent: &str) -> Value {
    yaml(&format!("{{metadata: {{name: {name}}}, agent: {agent}, className: sign}}"))
}

/// An agent of `root:provider` with the usual rights, and a tenant of the provider's.
struct Joined {
    hub: TestHub,
    /// The agent in its own workspace.
    agent: Client,
    tenant: Client,
    /// The virtual workspace of the provider's export.
    base: String,
    /// The agent's logical cluster.
    cluster: String,
}

impl Joined {
    async fn new() -> Self {
        let hub = TestHub::start().await;
        let provider = hub.workspace("root:provider").await;
        for export in ["relay.strait.dev", "requests.strait.dev"] {
            provider.bind(export, "root", export).await;
        }
        provider.export("widgets", &[("widgets", "Widget")]).await;
        let cluster = provider.cluster().await;
        make_agent(&provider, "smith", "{}").await;
        make_agent(&provider, "jones", "{}").await;
        let user = format!("system:strait:agent:{cluster}:smith");
        let rules = "[{apiGroups: [apis.kcp.io], resources: [apiexports/content],
          resourceNames: [widgets], verbs: ['*']},
        {apiGroups: [apis.kcp.io], resources: [apiexportendpointslices],
          verbs: [get, list, watch]}]";
        provider.grant("smith", &user, rules).await;
        let tenant = hub.workspace("root:demo").await;
        tenant.bind("widgets", "root:provider", "widgets").await;
        tenant.create(WIDGETS, &widget("a")).await.expect(201);
        let token = token(&provider, "smith", "{}").await;
        let agent = Installation::new().join(&hub, &token).await.within("root:provider");
        let base = format!("/services/apiexport/{cluster}/widgets/clusters");
        Self { hub, agent, tenant, base, cluster }
    }
}

#[tokio::test]
async fn an_agent_may_do_what_it_needs() {
    let joined = Joined::new().await;
    let (agent, base) = (&joined.agent, &joined.base);
    agent.get(SLICES).await.expect(200);
    agent.get(&format!("{AGENTS}/smith")).await.expect(200);
    agent.create(VIEWS, &class_view("smith.sign", "smith")).await.expect(201);
    let own_view = format!("{VIEWS}/smith.sign");
    agent.merge(&own_view, &yaml("{description: signs}")).await.expect(200);
    let all = agent.below(&format!("{base}/*"));
    all.get(ALL_WIDGETS).await.expect(200);
    all.get(BINDINGS).await.expect(200);
    let in_demo = agent.below(&format!("{base}/{}", joined.tenant.cluster().await));
    let status = format!("{WIDGETS}/a/status");
    in_demo.merge(&status, &yaml("{status: {done: true}}")).await.expect(200);
}

#[tokio::test]
async fn an_agent_may_do_nothing_else_in_its_own_workspace() {
    let joined = Joined::new().await;
    let agent = &joined.agent;
    for path in [
        CONFIG_MAPS,
        "/api/v1/secrets",
        "/api/v1/namespaces",
        AGENTS,
        VIEWS,
        BINDINGS,
        EXPORTS,
        SCHEMAS,
        WORKSPACES,
        ROLE_BINDINGS,
        "/apis/core.kcp.io/v1alpha1/logicalclusters/cluster",
        &format!("{AGENTS}/jones"),
        &format!("{EXPORTS}/widgets"),
    ] {
        agent.get(path).await.refused(403, "Forbidden");
    }
    agent.create(CONFIG_MAPS, &config_map("x")).await.refused(403, "Forbidden");
    agent.create(AGENTS, &config_map("x")).await.refused(403, "Forbidden");
    for name in ["smith", "jones"] {
        let path = format!("{AGENTS}/{name}/token");
        agent.create(&path, &yaml("{}")).await.refused(403, "Forbidden");
        let unsuspended = yaml("{spec: {maxInstances: 64}}");
        agent.merge(&format!("{AGENTS}/{name}"), &unsuspended).await.refused(403, "Forbidden");
        agent.delete(&format!("{AGENTS}/{name}")).await.refused(403, "Forbidden");
    }
    agent.merge(&format!("{AGENTS}/smith/status"), &yaml("{}")).await.refused(403, "Forbidden");
    agent.post(&format!("{AGENTS}/jones/heartbeat"), &yaml("{}")).await.refused(403, "Forbidden");
    for (name, of) in [("jones.sign", "jones"), ("jones.sign", "smith"), ("smith.x", "jones")] {
        agent.create(VIEWS, &class_view(name, of)).await.refused(403, "Forbidden");
    }
    agent.create(VIEWS, &class_view("smith.sign", "smith")).await.expect(201);
    let own_view = format!("{VIEWS}/smith.sign");
    agent.merge(&own_view, &yaml("{agent: jones}")).await.refused(403, "Forbidden");
    agent.merge(&format!("{SLICES}/widgets"), &yaml("{}")).await.refused(403, "Forbidden");
    agent.delete(&format!("{SLICES}/widgets")).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn an_agent_may_do_nothing_elsewhere() {
    let joined = Joined::new().await;
    let (agent, base, cluster) = (&joined.agent, &joined.base, &joined.cluster);
    for workspace in ["root", "root:demo", "system:admin", "*"] {
        agent.within(workspace).get(CONFIG_MAPS).await.refused(403, "Forbidden");
    }
    agent.below("").get("/metrics").await.refused(403, "Forbidden");
    let other = format!("/services/apiexport/{cluster}/absent/clusters/*");
    agent.below(&other).get(ALL_WIDGETS).await.refused(403, "Forbidden");
    let tenancy = "/services/apiexport/root/tenancy.kcp.io/clusters/*";
    agent.below(tenancy).get(WORKSPACES).await.refused(403, "Forbidden");
    let elsewhere = agent.below(&format!("{base}/{cluster}"));
    elsewhere.get(ALL_WIDGETS).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn whoever_is_only_named_like_an_agent_is_none() {
    let joined = Joined::new().await;
    let name = format!("system:strait:agent:{}:jones", joined.cluster);
    let pretender = joined.hub.client(&name, &["system:strait:agents"]);
    let pretender = pretender.within("root:provider");
    pretender.get(&format!("{AGENTS}/jones")).await.refused(403, "Forbidden");
    pretender.create(VIEWS, &class_view("jones.x", "jones")).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn classes_of_an_agent_that_is_not_there_are_not_available() {
    let joined = Joined::new().await;
    let provider = joined.hub.admin().within("root:provider");
    let heartbeat = format!("{AGENTS}/smith/heartbeat");
    let smith = provider.get(&format!("{AGENTS}/smith")).await.expect(200);
    let instance = smith.array_at(&["status", "instances"])[0].str_at(&["id"]).unwrap();
    let report = yaml(&format!("{{instance: {instance}}}"));
    joined.agent.post(&heartbeat, &report).await.expect(201);
    for agent in ["smith", "jones"] {
        let mut view = class_view(&format!("{agent}.sign"), agent);
        view.set(&["availability", "available"], true);
        provider.create(VIEWS, &view).await.expect(201);
    }
    let available = |view: &Value| view.at(&["availability", "available"]).and_then(Value::as_bool);
    provider.wait(VIEWS, "jones.sign", |view| available(view) == Some(false)).await;
    let smith = provider.get(&format!("{VIEWS}/smith.sign")).await.expect(200);
    assert_eq!(available(&smith), Some(true), "smith reported");
}
