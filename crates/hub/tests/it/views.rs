//! What a provider sees and does through the virtual workspace of its export.

use strait_machinery::json::Value;
use strait_types::Revision;

use crate::harness::{Client, TestHub, yaml};
use crate::tenants::{
    ALL_WIDGETS, BINDINGS, CONFIG_MAPS, WIDGETS, WORKSPACES, held_widget, names, release, widget,
};

/// A provider whose controller has rights on the content of its export and nothing else.
struct Provided {
    hub: TestHub,
    provider: Client,
    /// The controller, at the view of all workspaces.
    all: Client,
    base: String,
}

impl Provided {
    async fn new(verbs: &str) -> Self {
        let hub = TestHub::start().await;
        let provider = hub.workspace("root:provider").await;
        provider.export("widgets", &[("widgets", "Widget")]).await;
        let rules = format!(
            "[{{apiGroups: [apis.kcp.io], resources: [apiexports/content],
               resourceNames: [widgets], verbs: {verbs}}}]"
        );
        provider.grant("controller", "controller", &rules).await;
        let base = format!("/services/apiexport/{}/widgets/clusters", provider.cluster().await);
        let all = hub.client("controller", &[]).below(&format!("{base}/*"));
        Self { hub, provider, all, base }
    }

    /// A workspace that binds the export, and the controller's view of it.
    async fn tenant(&self, name: &str) -> (Client, Client) {
        let tenant = self.hub.workspace(&format!("root:{name}")).await;
        tenant.bind("widgets", "root:provider", "widgets").await;
        let view = self.all.below(&format!("{}/{}", self.base, tenant.cluster().await));
        (tenant, view)
    }
}

fn cluster_of(object: &Value) -> &str {
    object.str_at(&["metadata", "annotations", "kcp.io/cluster"]).unwrap()
}

fn kind_and_name(event: &Value) -> (&str, &str) {
    let name = event.str_at(&["object", "metadata", "name"]).unwrap_or_default();
    (event.str_at(&["type"]).unwrap(), name)
}

fn revision(object: &Value) -> Revision {
    object.str_at(&["metadata", "resourceVersion"]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_provider_reads_and_writes_what_its_tenants_have() {
    let provided = Provided::new("['*']").await;
    let (one, in_one) = provided.tenant("one").await;
    let (two, _) = provided.tenant("two").await;
    let made = one.create(WIDGETS, &widget("a")).await.expect(201);
    two.create(WIDGETS, &widget("a")).await.expect(201);
    let all = provided.all.get(ALL_WIDGETS).await.expect(200);
    let mut clusters: Vec<&str> = all.array_at(&["items"]).iter().map(cluster_of).collect();
    let (one_name, two_name) = (one.cluster().await, two.cluster().await);
    let mut expected = vec![&*one_name, &*two_name];
    clusters.sort_unstable();
    expected.sort_unstable();
    assert_eq!(clusters, expected);
    // An escaped asterisk is one too.
    let escaped = provided.all.below(&format!("{}/%2A", provided.base));
    assert_eq!(escaped.get(ALL_WIDGETS).await.expect(200), all);
    provided.hub.admin().below("/clusters/%2A").get("/api/v1/namespaces").await.expect(200);
    // The same object at the same revision, whoever looks.
    let object = format!("{WIDGETS}/a");
    assert_eq!(in_one.get(&object).await.expect(200), made);
    assert_eq!(names(&in_one.get(ALL_WIDGETS).await.expect(200)), ["a"]);
    let status = yaml("{status: {done: true}}");
    let done = in_one.merge(&format!("{object}/status"), &status).await.expect(200);
    assert_eq!(one.get(&object).await.expect(200), done);
    assert!(revision(&done) > revision(&made));
    in_one.put(&object, &made).await.refused(409, "Conflict");
    let mut next = done.clone();
    next.set(&["spec", "size"], 7);
    in_one.put(&object, &next).await.expect(200);
    in_one.create(WIDGETS, &widget("b")).await.expect(201);
    in_one.delete(&format!("{WIDGETS}/b")).await.expect(200);
    one.get(&format!("{WIDGETS}/b")).await.refused(404, "NotFound");
    // One sequence of revisions: of the view, of a workspace, of another kind.
    let list = provided.all.get(ALL_WIDGETS).await.expect(200);
    let later = two.create(CONFIG_MAPS, &yaml("{metadata: {name: x}}")).await.expect(201);
    assert!(revision(&later) > revision(&list));
    // On all workspaces at once: read only, and no namespace.
    provided.all.create(ALL_WIDGETS, &widget("c")).await.refused(405, "MethodNotAllowed");
    provided.all.get(WIDGETS).await.refused(400, "BadRequest");
    let answer = provided.all.delete(&object).await.status.as_u16();
    assert!([400, 405].contains(&answer), "{answer}");
}

#[tokio::test]
async fn rights_on_the_content_are_asked_verb_by_verb() {
    let provided = Provided::new("[get, list]").await;
    let (one, in_one) = provided.tenant("one").await;
    one.create(WIDGETS, &widget("a")).await.expect(201);
    let object = format!("{WIDGETS}/a");
    in_one.get(&object).await.expect(200);
    provided.all.get(ALL_WIDGETS).await.expect(200);
    provided.all.get("/apis/example.io/v1").await.expect(200);
    let watch = format!("{ALL_WIDGETS}?watch=true");
    provided.all.get(&watch).await.refused(403, "Forbidden");
    in_one.create(WIDGETS, &widget("b")).await.refused(403, "Forbidden");
    let patch = yaml("{status: {done: true}}");
    in_one.merge(&format!("{object}/status"), &patch).await.refused(403, "Forbidden");
    in_one.put(&object, &widget("a")).await.refused(403, "Forbidden");
    in_one.delete(&object).await.refused(403, "Forbidden");
    in_one.delete(WIDGETS).await.refused(403, "Forbidden");
    // Rights on the export are none on its content, nor is anything in the provider's workspace.
    let rules = "[{apiGroups: [apis.kcp.io], resources: [apiexports], verbs: ['*']}]";
    provided.provider.grant("other", "other", rules).await;
    let other = provided.hub.client("other", &[]);
    other.below(&format!("{}/*", provided.base)).get(ALL_WIDGETS).await.refused(403, "Forbidden");
    let controller = provided.hub.client("controller", &[]);
    controller.within("root:provider").get(CONFIG_MAPS).await.refused(403, "Forbidden");
    controller.within("root:one").get(&object).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_view_shows_the_exports_kinds_and_its_own_bindings_and_no_more() {
    let provided = Provided::new("['*']").await;
    let (one, in_one) = provided.tenant("one").await;
    let stranger = provided.hub.workspace("root:stranger").await;
    for view in [&provided.all, &in_one] {
        let groups = view.get("/apis").await.expect(200);
        let groups: Vec<_> =
            groups.array_at(&["groups"]).iter().filter_map(|g| g.str_at(&["name"])).collect();
        assert_eq!(groups, ["apis.kcp.io", "example.io"]);
        let text = view.get("/openapi/v3/apis/example.io/v1").await.expect(200).to_string();
        assert!(text.contains("How large it is"));
        let resources = view.get("/apis/apis.kcp.io/v1alpha2").await.expect(200);
        let [bindings] = resources.array_at(&["resources"]) else {
            panic!("bindings only: {resources}");
        };
        let verbs = bindings.array_at(&["verbs"]);
        assert_eq!(verbs, ["get".into(), "list".into(), "watch".into()]);
        view.get("/api/v1/secrets").await.refused(404, "NotFound");
        let bindings = view.get(BINDINGS).await.expect(200);
        assert_eq!(names(&bindings), ["widgets"]);
        let binding = &bindings.array_at(&["items"])[0];
        let annotation = |key: &str| binding.str_at(&["metadata", "annotations", key]);
        assert_eq!(annotation("kcp.io/path"), Some("root:one"));
        assert_eq!(cluster_of(binding), one.cluster().await);
    }
    let binding = format!("{BINDINGS}/widgets");
    in_one.get(&binding).await.expect(200);
    in_one
        .merge(&binding, &yaml("{metadata: {labels: {a: b}}}"))
        .await
        .refused(405, "MethodNotAllowed");
    in_one.delete(&binding).await.refused(405, "MethodNotAllowed");
    // A workspace without the binding, by whatever name, is nowhere.
    let target = stranger.cluster().await;
    let path = "root:stranger";
    for target in [&*target, path, "absent"] {
        let view = provided.all.below(&format!("{}/{target}", provided.base));
        view.get(ALL_WIDGETS).await.refused(403, "Forbidden");
        view.create(WIDGETS, &widget("x")).await.refused(403, "Forbidden");
        view.get(BINDINGS).await.refused(403, "Forbidden");
    }
}

#[tokio::test]
async fn exports_of_one_kind_by_two_providers_never_meet() {
    let provided = Provided::new("['*']").await;
    let (one, _) = provided.tenant("one").await;
    one.create(WIDGETS, &widget("first")).await.expect(201);
    let second = provided.hub.workspace("root:second").await;
    second.export("widgets", &[("widgets", "Widget")]).await;
    let two = provided.hub.workspace("root:two").await;
    two.bind("widgets", "root:second", "widgets").await;
    two.create(WIDGETS, &widget("second")).await.expect(201);
    let base = format!("/services/apiexport/{}/widgets/clusters", second.cluster().await);
    let theirs = provided.hub.admin().below(&format!("{base}/*"));
    assert_eq!(names(&theirs.get(ALL_WIDGETS).await.expect(200)), ["second"]);
    assert_eq!(names(&provided.all.get(ALL_WIDGETS).await.expect(200)), ["first"]);
    // Nor in the other's workspace by name.
    let admin = provided.hub.admin();
    let across = admin.below(&format!("{base}/{}", one.cluster().await));
    across.get(&format!("{WIDGETS}/first")).await.refused(403, "Forbidden");
    across.delete(&format!("{WIDGETS}/first")).await.refused(403, "Forbidden");
    one.get(&format!("{WIDGETS}/first")).await.expect(200);
    // The rights of the one are none at the other.
    let controller = provided.hub.client("controller", &[]).below(&format!("{base}/*"));
    controller.get(ALL_WIDGETS).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn exports_that_share_an_identity_show_each_what_was_bound_through_it() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("one", &[("widgets", "Widget")]).await;
    let mut other = crate::tenants::export("two", &["widgets"]);
    other.set(&["spec", "identity", "secretRef"], yaml("{namespace: kcp-system, name: one}"));
    provider.create(crate::tenants::EXPORTS, &other).await.expect(201);
    let demo = hub.workspace("root:demo").await;
    demo.bind("widgets", "root:provider", "one").await;
    demo.create(WIDGETS, &widget("a")).await.expect(201);
    let (cluster, target) = (provider.cluster().await, demo.cluster().await);
    let through = |export: &str, target: &str| {
        hub.admin().below(&format!("/services/apiexport/{cluster}/{export}/clusters/{target}"))
    };
    assert_eq!(names(&through("one", "*").get(ALL_WIDGETS).await.expect(200)), ["a"]);
    assert!(names(&through("two", "*").get(ALL_WIDGETS).await.expect(200)).is_empty());
    let object = format!("{WIDGETS}/a");
    through("two", &target).get(&object).await.refused(403, "Forbidden");
    through("two", &target).delete(&object).await.refused(403, "Forbidden");
    through("one", &target).delete(&object).await.expect(200);
}

#[tokio::test]
async fn a_watch_through_a_view_loses_nothing_over_binding_and_unbinding() {
    let provided = Provided::new("['*']").await;
    let mut events = provided.all.watch(&format!("{ALL_WIDGETS}?watch=true")).await;
    let mut bindings = provided.all.watch(&format!("{BINDINGS}?watch=true")).await;
    const ROUNDS: usize = 5;
    let tenant = provided.hub.workspace("root:one").await;
    for round in 0..ROUNDS {
        tenant.bind("widgets", "root:provider", "widgets").await;
        let bound = bindings.next().await;
        assert_eq!(kind_and_name(&bound), ("ADDED", "widgets"));
        let names = ["a", "b", "c"].map(|name| format!("{name}{round}"));
        for name in &names {
            tenant.create(WIDGETS, &widget(name)).await.expect(201);
        }
        tenant.delete(&format!("{BINDINGS}/widgets")).await.expect(200);
        tenant.gone(BINDINGS, "widgets").await;
        // Read only now, when the binding has long gone: the objects' ends are told all the same.
        let mut there: Vec<String> = Vec::new();
        let mut ended = 0;
        while ended < names.len() {
            let event = events.next().await;
            let (kind, name) = kind_and_name(&event);
            match kind {
                "ADDED" => there.push(name.to_owned()),
                "DELETED" => {
                    assert_eq!(cluster_of(event.get("object").unwrap()), tenant.cluster().await);
                    assert!(names.iter().any(|own| own == name), "{name} in round {round}");
                    ended += 1;
                }
                _ => panic!("{event}"),
            }
        }
        while kind_and_name(&bindings.next().await).0 != "DELETED" {}
    }
}

#[tokio::test]
async fn what_was_in_an_unbound_workspace_is_not_told_again() {
    let provided = Provided::new("['*']").await;
    let (tenant, _) = provided.tenant("one").await;
    let before = provided.all.get(ALL_WIDGETS).await.expect(200);
    let mut secret = widget("a");
    secret.set(&["spec", "size"], 4242);
    tenant.create(WIDGETS, &secret).await.expect(201);
    tenant.delete(&format!("{BINDINGS}/widgets")).await.expect(200);
    tenant.gone(BINDINGS, "widgets").await;
    // From before all that: the end alone, and nothing of the content.
    let path = format!("{ALL_WIDGETS}?watch=true&resourceVersion={}", revision(&before));
    let event = provided.all.watch(&path).await.next().await;
    assert_eq!(kind_and_name(&event), ("DELETED", "a"));
    assert!(!event.to_string().contains("4242"), "{event}");
    assert!(names(&provided.all.get(ALL_WIDGETS).await.expect(200)).is_empty());
}

#[tokio::test]
async fn a_provider_can_let_go_of_what_it_holds_while_a_tenant_leaves() {
    let provided = Provided::new("['*']").await;
    let (tenant, view) = provided.tenant("one").await;
    tenant.create(WIDGETS, &held_widget("a")).await.expect(201);
    tenant.delete(&format!("{BINDINGS}/widgets")).await.expect(200);
    let ending = |own: &Value| own.at(&["metadata", "deletionTimestamp"]).is_some();
    provided.all.wait_any(ALL_WIDGETS, ending).await;
    view.create(WIDGETS, &widget("late")).await.refused(403, "Forbidden");
    view.merge(&format!("{WIDGETS}/a"), &release()).await.expect(200);
    tenant.gone(BINDINGS, "widgets").await;
    // The same while the whole workspace ends.
    let (tenant, view) = provided.tenant("two").await;
    tenant.create(WIDGETS, &held_widget("b")).await.expect(201);
    provided.hub.admin().delete(&format!("{WORKSPACES}/two")).await.expect(200);
    let ending = |own: &Value| own.str_at(&["metadata", "name"]) == Some("b") && ending(own);
    provided.all.wait_any(ALL_WIDGETS, ending).await;
    view.merge(&format!("{WIDGETS}/b"), &release()).await.expect(200);
    provided.hub.admin().gone(WORKSPACES, "two").await;
}
