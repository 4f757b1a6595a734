//! Providers, tenants, and what they exchange.

use strait_machinery::json::Value;

use crate::harness::{Answer, Client, TestHub, yaml};

pub(crate) const WORKSPACES: &str = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
pub(crate) const TYPES: &str = "/apis/tenancy.kcp.io/v1alpha1/workspacetypes";
pub(crate) const CLUSTERS: &str = "/apis/core.kcp.io/v1alpha1/logicalclusters";
pub(crate) const SCHEMAS: &str = "/apis/apis.kcp.io/v1alpha1/apiresourceschemas";
pub(crate) const EXPORTS: &str = "/apis/apis.kcp.io/v1alpha2/apiexports";
pub(crate) const BINDINGS: &str = "/apis/apis.kcp.io/v1alpha2/apibindings";
pub(crate) const SLICES: &str = "/apis/apis.kcp.io/v1alpha1/apiexportendpointslices";
pub(crate) const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
pub(crate) const ROLE_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The kind that providers here export.
pub(crate) const WIDGETS: &str = "/apis/example.io/v1/namespaces/default/widgets";
pub(crate) const ALL_WIDGETS: &str = "/apis/example.io/v1/widgets";

impl TestHub {
    /// Makes a workspace below one that is there, and a client of its administrator.
    pub(crate) async fn workspace(&self, path: &str) -> Client {
        let (parent, name) = path.rsplit_once(':').unwrap();
        let parent = self.admin().within(parent);
        parent
            .create(WORKSPACES, &yaml(&format!("{{metadata: {{name: {name}}}}}")))
            .await
            .expect(201);
        parent.wait(WORKSPACES, name, is_ready).await;
        self.admin().within(path)
    }
}

pub(crate) fn is_ready(workspace: &Value) -> bool {
    workspace.str_at(&["status", "phase"]) == Some("Ready")
}

/// Kinds of the collections here.
const KINDS: [(&str, &str); 12] = [
    ("workspaces", "Workspace"),
    ("workspacetypes", "WorkspaceType"),
    ("logicalclusters", "LogicalCluster"),
    ("apiresourceschemas", "APIResourceSchema"),
    ("apiexports", "APIExport"),
    ("apibindings", "APIBinding"),
    ("apiexportendpointslices", "APIExportEndpointSlice"),
    ("widgets", "Widget"),
    ("gadgets", "Gadget"),
    ("agents", "Agent"),
    ("requestclassviews", "RequestClassView"),
    ("token", "AgentToken"),
];

impl Client {
    /// POST of an object; its type is the collection's.
    pub(crate) async fn create(&self, collection: &str, object: &Value) -> Answer {
        let segments: Vec<&str> = collection.split('/').collect();
        let kind = KINDS.iter().find(|(plural, _)| segments.last() == Some(plural));
        let mut object = object.clone();
        if let (Some((_, kind)), ["", "apis", group, version, ..]) = (kind, &*segments) {
            object.set(&["apiVersion"], format!("{group}/{version}"));
            object.set(&["kind"], *kind);
        }
        self.post(collection, &object).await
    }

    /// Gives a user every right in this client's workspace.
    pub(crate) async fn make_administrator(&self, user: &str) {
        let object = format!(
            "{{metadata: {{name: 'admin-{user}'}},
               roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}},
               subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: '{user}'}}]}}"
        );
        self.create(ROLE_BINDINGS, &yaml(&object)).await.expect(201);
    }

    /// Gives a user some rights in this client's workspace; `rules` is YAML.
    pub(crate) async fn grant(&self, name: &str, user: &str, rules: &str) {
        let role = format!("{{metadata: {{name: '{name}'}}, rules: {rules}}}");
        self.create(ROLES, &yaml(&role)).await.expect(201);
        let binding = format!(
            "{{metadata: {{name: '{name}'}},
               roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: '{name}'}},
               subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: '{user}'}}]}}"
        );
        self.create(ROLE_BINDINGS, &yaml(&binding)).await.expect(201);
    }

    /// Exports kinds of the group example.io, each as `(plural, Kind)`, and returns the export
    /// with its identity.
    pub(crate) async fn export(&self, name: &str, kinds: &[(&str, &str)]) -> Value {
        for (plural, kind) in kinds {
            self.create(SCHEMAS, &schema("v1", plural, kind)).await.expect(201);
        }
        let plurals: Vec<&str> = kinds.iter().map(|(plural, _)| *plural).collect();
        self.create(EXPORTS, &export(name, &plurals)).await.expect(201);
        self.wait(EXPORTS, name, |export| export.str_at(&["status", "identityHash"]).is_some())
            .await
    }

    /// Binds an export and waits until it is served.
    pub(crate) async fn bind(&self, name: &str, path: &str, export: &str) -> Value {
        self.create(BINDINGS, &binding(name, path, export)).await.expect(201);
        self.wait(BINDINGS, name, is_bound).await
    }

    /// The logical cluster behind this client's workspace.
    pub(crate) async fn cluster(&self) -> String {
        let cluster = self.get(&format!("{CLUSTERS}/cluster")).await.expect(200);
        cluster.str_at(&["metadata", "annotations", "kcp.io/cluster"]).unwrap().to_owned()
    }
}

pub(crate) fn is_bound(binding: &Value) -> bool {
    binding.str_at(&["status", "phase"]) == Some("Bound")
}

/// A schema of the group example.io.
pub(crate) fn schema(prefix: &str, plural: &str, kind: &str) -> Value {
    yaml(&format!(
        "apiVersion: apis.kcp.io/v1alpha1
kind: APIResourceSchema
metadata: {{name: {prefix}.{plural}.example.io}}
spec:
  group: example.io
  names: {{plural: {plural}, singular: {singular}, kind: {kind}, listKind: {kind}List}}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {{status: {{}}}}
    schema:
      type: object
      properties:
        spec:
          type: object
          properties:
            size: {{type: integer, description: How large it is}}
        status:
          type: object
          properties:
            done: {{type: boolean}}
",
        singular = kind.to_lowercase()
    ))
}

/// An export of kinds of the group example.io.
pub(crate) fn export(name: &str, plurals: &[&str]) -> Value {
    let resource = |plural: &&str| {
        format!(
            "{{name: {plural}, group: example.io, schema: v1.{plural}.example.io, storage: {{crd: {{}}}}}}"
        )
    };
    let resources: Vec<String> = plurals.iter().map(resource).collect();
    yaml(&format!(
        "{{apiVersion: apis.kcp.io/v1alpha2, kind: APIExport, metadata: {{name: {name}}},
          spec: {{resources: [{}]}}}}",
        resources.join(", ")
    ))
}

/// A binding to an export.
pub(crate) fn binding(name: &str, path: &str, export: &str) -> Value {
    yaml(&format!(
        "{{metadata: {{name: {name}}}, spec: {{reference: {{export: {{path: '{path}', name: {export}}}}}}}}}"
    ))
}

/// An object of the exported kind.
pub(crate) fn widget(name: &str) -> Value {
    yaml(&format!("{{metadata: {{name: {name}}}, spec: {{size: 1}}}}"))
}

/// An object of the exported kind that something holds.
pub(crate) fn held_widget(name: &str) -> Value {
    yaml(&format!(
        "{{metadata: {{name: {name}, finalizers: [example.io/hold]}}, spec: {{size: 1}}}}"
    ))
}

/// A ConfigMap.
pub(crate) fn config_map(name: &str) -> Value {
    yaml(&format!("{{metadata: {{name: {name}}}}}"))
}

/// Takes every finalizer off.
pub(crate) fn release() -> Value {
    yaml("{metadata: {finalizers: null}}")
}

/// Status, reason and message of a condition.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> (&'a str, &'a str, &'a str) {
    let conditions = object.array_at(&["status", "conditions"]);
    let found = conditions.iter().find(|own| own.str_at(&["type"]) == Some(kind));
    let text = |key: &str| found.and_then(|found| found.str_at(&[key])).unwrap_or_default();
    (text("status"), text("reason"), text("message"))
}

/// The names of a list's items.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    list.array_at(&["items"])
        .iter()
        .map(|item| item.str_at(&["metadata", "name"]).unwrap())
        .collect()
}
