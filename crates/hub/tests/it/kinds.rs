//! Kinds of the hub's own, in a store that another version of it used.

use std::path::Path;
use std::sync::Arc;

use strait_machinery::json::{Value, parse};
use strait_machinery::object::{Body, Header};
use strait_runtime::{Metrics, SystemClock};
use strait_store::engine::SqliteEngine;
use strait_store::{Key, ObjectName, Options, Put, ResourceId, Store, Txn};
use strait_types::ClusterName;

use crate::harness::{Client, TestHub, yaml};
use crate::joining::AGENTS;
use crate::tenants::{BINDINGS, EXPORTS, SCHEMAS};

const OLDER: &str = "v1.agents.relay.strait.dev";
const REQUESTS: &str = "/apis/relay.strait.dev/v1alpha1/certificaterequests";

/// Puts an object into the store of a hub that does not run.
async fn put(directory: &Path, resource: &str, value: &Value) {
    let engine = SqliteEngine::open(&directory.join("store.db")).unwrap();
    let (clock, metrics) = (Arc::new(SystemClock), Metrics::new());
    let store = Store::open(Arc::new(engine), Options::default(), clock, &metrics).unwrap();
    let resource = ResourceId::new("apis.kcp.io", resource, "");
    let name = ObjectName::cluster_scoped(value.str_at(&["metadata", "name"]).unwrap());
    let root = ClusterName::root();
    let (body, header) = (Body::encode(value).unwrap(), Header::of(value).unwrap());
    let put = Put { key: Key::new(resource, root.clone(), name), body, header, lease: None };
    let txn = Txn { compares: Vec::new(), puts: vec![put], deletes: Vec::new() };
    store.commit(&root, txn).await.unwrap();
    store.close();
}

async fn export(root: &Client) -> Value {
    root.get(&format!("{EXPORTS}/relay.strait.dev")).await.expect(200)
}

/// The schemas that an export lists, by the names of their resources.
fn schema<'v>(export: &'v Value, resource: &str) -> Option<&'v str> {
    let mut listed = export.array_at(&["spec", "resources"]).iter();
    listed.find(|one| one.str_at(&["name"]) == Some(resource))?.str_at(&["schema"])
}

/// Waits until a workspace's agents are of the schema of this name.
async fn follows(workspace: &Client, schema: &str) {
    let is_of = |binding: &Value| {
        let bound = binding.array_at(&["status", "boundResources"]);
        bound.iter().any(|one| one.str_at(&["schema", "name"]) == Some(schema))
    };
    workspace.wait(BINDINGS, "relay", is_of).await;
}

#[tokio::test]
async fn a_store_of_an_older_version_gets_the_kinds_of_this_one() {
    let mut hub = TestHub::start().await;
    let (root, acme) = (hub.admin(), hub.workspace("root:acme").await);
    acme.bind("relay", "root", "relay.strait.dev").await;
    let exported = export(&root).await;
    let ours = schema(&exported, "agents").unwrap().to_owned();
    // A kind as it was before there were approvals.
    let now = root.get(&format!("{SCHEMAS}/{ours}")).await.expect(200);
    let mut older =
        parse(now.to_string().replace("\"joinPolicy\"", "\"before\"").as_bytes()).unwrap();
    older.set(&["metadata", "name"], OLDER);
    older.set(&["metadata", "uid"], "00000000-0000-4000-8000-000000000001");
    older.remove(&["metadata", "resourceVersion"]);
    let directory = hub.stop().await;
    put(directory.path(), "apiresourceschemas", &older).await;

    // What a newer version left is left alone.
    let hub = TestHub::start_in(directory).await;
    let services = schema(&exported, "services").unwrap();
    let listed = format!(
        "{{metadata: {{annotations: {{internal.strait.dev/kinds-of: 999.0.0}}}}, spec: {{resources: [\
         {{name: agents, group: relay.strait.dev, schema: {OLDER}, storage: {{crd: {{}}}}}}, \
         {{name: services, group: relay.strait.dev, schema: {services}, storage: {{crd: {{}}}}}}]}}}}"
    );
    hub.admin().merge(&format!("{EXPORTS}/relay.strait.dev"), &yaml(&listed)).await.expect(200);
    let hub = hub.restart().await;
    let (root, acme) = (hub.admin(), hub.admin().within("root:acme"));
    assert_eq!(schema(&export(&root).await, "agents"), Some(OLDER));
    follows(&acme, OLDER).await;
    let smith = yaml(
        "{apiVersion: relay.strait.dev/v1alpha1, kind: Agent, metadata: {name: smith}, \
         spec: {joinPolicy: approve, maxInstances: 3}}",
    );
    let made = acme.create(AGENTS, &smith).await.expect(201);
    assert_eq!(made.at(&["spec", "joinPolicy"]), None, "{made}");
    let other = hub.workspace("root:other").await;
    other.bind("relay", "root", "relay.strait.dev").await;
    other.get(REQUESTS).await.refused(404, "NotFound");

    // What an older one left is brought to this one's, and objects stay.
    let older = yaml("{metadata: {annotations: {internal.strait.dev/kinds-of: 0.0.1}}}");
    root.merge(&format!("{EXPORTS}/relay.strait.dev"), &older).await.expect(200);
    let hub = hub.restart().await;
    let exported = export(&hub.admin()).await;
    assert_eq!(schema(&exported, "agents"), Some(&*ours));
    let other = hub.admin().within("root:other");
    let acme = hub.admin().within("root:acme");
    follows(&acme, &ours).await;
    follows(&other, &ours).await;
    other.get(REQUESTS).await.expect(200);
    let path = format!("{AGENTS}/smith");
    let approve = yaml("{spec: {joinPolicy: approve}}");
    let changed = acme.merge(&path, &approve).await.expect(200);
    assert_eq!(changed.str_at(&["spec", "joinPolicy"]), Some("approve"), "{changed}");
    for field in [&["metadata", "uid"][..], &["spec", "maxInstances"]] {
        assert_eq!(changed.at(field), made.at(field), "{field:?}");
    }
    // As `kubectl explain` reads it.
    let told = acme.get("/openapi/v3/apis/relay.strait.dev/v1alpha1").await.expect(200);
    assert!(told.to_string().contains("\"joinPolicy\""));
}
