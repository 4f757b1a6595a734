//! Bindings: what is served where, and within which bounds.

use strait_machinery::json::Value;

use crate::harness::{TestHub, yaml};
use crate::tenants::{
    ALL_WIDGETS, BINDINGS, CLUSTERS, EXPORTS, SCHEMAS, SLICES, WIDGETS, WORKSPACES, binding,
    condition, export, held_widget, is_bound, names, release, schema, widget,
};

const SECRETS: &str = "/api/v1/namespaces/kcp-system/secrets";

#[tokio::test]
async fn a_bound_kind_is_served_until_it_is_unbound_and_a_new_binding_sees_nothing_of_the_old() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    let exported = provider.export("widgets", &[("widgets", "Widget")]).await;
    let identity = exported.str_at(&["status", "identityHash"]).unwrap();
    let demo = hub.workspace("root:demo").await;
    demo.get(WIDGETS).await.refused(404, "NotFound");
    let bound = demo.bind("widgets", "root:provider", "widgets").await;
    for kind in [
        "Ready",
        "APIExportValid",
        "InitialBindingCompleted",
        "BindingUpToDate",
        "PermissionClaimsApplied",
    ] {
        assert_eq!(condition(&bound, kind).0, "True", "{kind}");
    }
    let annotation = |key: &str| bound.str_at(&["metadata", "annotations", key]);
    assert_eq!(annotation("kcp.io/path"), Some("root:demo"));
    assert_eq!(bound.str_at(&["status", "apiExportClusterName"]), Some(&*provider.cluster().await));
    let [resource] = bound.array_at(&["status", "boundResources"]) else {
        panic!("one resource: {bound}");
    };
    assert_eq!(resource.str_at(&["resource"]), Some("widgets"));
    assert_eq!(resource.str_at(&["schema", "name"]), Some("v1.widgets.example.io"));
    assert_eq!(resource.str_at(&["schema", "identityHash"]), Some(identity));
    assert_eq!(resource.array_at(&["storageVersions"]), ["v1".into()]);
    let finalizers = bound.array_at(&["metadata", "finalizers"]);
    assert_eq!(finalizers, ["apis.kcp.io/apibinding-finalizer".into()]);
    let logical = demo.get(&format!("{CLUSTERS}/cluster")).await.expect(200);
    let locks = ["metadata", "annotations", "internal.apis.kcp.io/resource-bindings"];
    let locks = logical.str_at(&locks).unwrap();
    assert!(locks.contains(r#""widgets.example.io":{"n":"widgets"}"#), "{locks}");

    demo.create(WIDGETS, &widget("a")).await.expect(201);
    demo.create(WIDGETS, &held_widget("b")).await.expect(201);
    provider.get(WIDGETS).await.refused(404, "NotFound");
    let resources = demo.get("/apis/example.io/v1").await.expect(200);
    let served: Vec<_> =
        resources.array_at(&["resources"]).iter().filter_map(|r| r.str_at(&["name"])).collect();
    assert_eq!(served, ["widgets", "widgets/status"]);
    let text = demo.get("/openapi/v3/apis/example.io/v1").await.expect(200).to_string();
    assert!(text.contains("How large it is"));

    // Unbinding deletes what may go, waits for the rest, and takes nothing new meanwhile.
    demo.delete(&format!("{BINDINGS}/widgets")).await.expect(200);
    let waits = |own: &Value| condition(own, "BindingResourceDeleteSuccess").0 == "False";
    let waiting = demo.wait(BINDINGS, "widgets", waits).await;
    let (_, reason, message) = condition(&waiting, "BindingResourceDeleteSuccess");
    assert_eq!(reason, "SomeFinalizersRemain");
    assert_eq!(message, "1 objects of widgets.example.io wait for their finalizers");
    assert_eq!(names(&demo.get(WIDGETS).await.expect(200)), ["b"]);
    demo.create(WIDGETS, &widget("c")).await.refused(403, "Forbidden");
    demo.merge(&format!("{WIDGETS}/b"), &release()).await.expect(200);
    demo.gone(BINDINGS, "widgets").await;
    demo.get(WIDGETS).await.refused(404, "NotFound");
    let logical = demo.get(&format!("{CLUSTERS}/cluster")).await.expect(200);
    assert!(!logical.to_string().contains("widgets.example.io"));

    demo.bind("again", "root:provider", "widgets").await;
    assert!(names(&demo.get(WIDGETS).await.expect(200)).is_empty());
}

#[tokio::test]
async fn nothing_that_was_written_while_a_binding_ends_is_left_behind() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("widgets", &[("widgets", "Widget")]).await;
    let demo = hub.workspace("root:demo").await;
    for _ in 0..3 {
        demo.bind("widgets", "root:provider", "widgets").await;
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let demo = demo.clone();
                tokio::spawn(async move {
                    for number in 0.. {
                        let name = format!("w{writer}-{number}");
                        let answer = demo.create(WIDGETS, &widget(&name)).await;
                        match answer.status.as_u16() {
                            201 | 403 => {}
                            404 => return,
                            other => panic!("{other}: {}", answer.text()),
                        }
                    }
                })
            })
            .collect();
        demo.wait(WIDGETS, "w0-2", |_| true).await;
        demo.delete(&format!("{BINDINGS}/widgets")).await.expect(200);
        demo.gone(BINDINGS, "widgets").await;
        for writer in writers {
            writer.await.unwrap();
        }
        demo.bind("probe", "root:provider", "widgets").await;
        assert!(names(&demo.get(WIDGETS).await.expect(200)).is_empty());
        demo.delete(&format!("{BINDINGS}/probe")).await.expect(200);
        demo.gone(BINDINGS, "probe").await;
    }
}

#[tokio::test]
async fn of_bindings_that_want_one_name_at_one_time_one_gets_it_and_another_when_it_goes() {
    let hub = TestHub::start().await;
    const PROVIDERS: usize = 4;
    for number in 0..PROVIDERS {
        let provider = hub.workspace(&format!("root:provider{number}")).await;
        provider.export("widgets", &[("widgets", "Widget")]).await;
    }
    let demo = hub.workspace("root:demo").await;
    let all = (0..PROVIDERS).map(|number| {
        let demo = demo.clone();
        tokio::spawn(async move {
            let provider = format!("root:provider{number}");
            let new = binding(&format!("b{number}"), &provider, "widgets");
            demo.create(BINDINGS, &new).await.expect(201);
        })
    });
    for made in all.collect::<Vec<_>>() {
        made.await.unwrap();
    }
    for remaining in (1..=PROVIDERS).rev() {
        let mut bound = Vec::new();
        let list = demo.get(BINDINGS).await.expect(200);
        for name in names(&list).into_iter().filter(|name| name.starts_with('b')) {
            let decided = |own: &Value| {
                is_bound(own) || condition(own, "BindingUpToDate").1 == "NamingConflicts"
            };
            let own = demo.wait(BINDINGS, name, decided).await;
            if is_bound(&own) {
                bound.push(name.to_owned());
            } else {
                assert_eq!(own.str_at(&["status", "phase"]), Some("Binding"));
                assert_eq!(condition(&own, "InitialBindingCompleted").1, "NamingConflicts");
                assert_eq!(condition(&own, "Ready").0, "False");
            }
        }
        if bound.is_empty() {
            // The last one went a moment ago; its place is about to be taken.
            let is_heir = |own: &Value| {
                own.str_at(&["metadata", "name"]).unwrap().starts_with('b') && is_bound(own)
            };
            let heir = demo.wait_any(BINDINGS, is_heir).await;
            bound.push(heir.str_at(&["metadata", "name"]).unwrap().to_owned());
        }
        assert_eq!(bound.len(), 1, "{remaining} bindings");
        demo.create(WIDGETS, &widget("mine")).await.expect(201);
        demo.delete(&format!("{BINDINGS}/{}", bound[0])).await.expect(200);
        demo.gone(BINDINGS, &bound[0]).await;
    }
}

#[tokio::test]
async fn names_of_the_server_and_of_other_bindings_are_not_taken() {
    let hub = TestHub::start().await;
    let demo = hub.workspace("root:demo").await;
    let first = hub.workspace("root:first").await;
    first.export("widgets", &[("widgets", "Widget")]).await;
    demo.bind("first", "root:first", "widgets").await;
    let second = hub.workspace("root:second").await;
    // Another plural, the same kind, in the same group.
    let mut other = schema("v1", "wodgets", "Widget");
    second.create(SCHEMAS, &other).await.expect(201);
    second.create(EXPORTS, &export("wodgets", &["wodgets"])).await.expect(201);
    // A short name that is another's plural.
    other = schema("v1", "gadgets", "Gadget");
    other.set(&["spec", "names", "shortNames"], vec!["widgets".into()]);
    second.create(SCHEMAS, &other).await.expect(201);
    second.create(EXPORTS, &export("gadgets", &["gadgets"])).await.expect(201);
    // A kind of the server's own.
    let mut other = schema("v1", "leases", "Lease");
    other.set(&["metadata", "name"], "v1.leases.coordination.k8s.io");
    other.set(&["metadata", "annotations", "api-approved.kubernetes.io"], "https://example.io");
    other.set(&["spec", "group"], "coordination.k8s.io");
    second.create(SCHEMAS, &other).await.expect(201);
    let mut leases = export("leases", &["leases"]).to_string();
    leases = leases.replace("leases.example.io", "leases.coordination.k8s.io");
    leases = leases.replace("example.io", "coordination.k8s.io");
    second.create(EXPORTS, &yaml(&leases)).await.expect(201);
    for (name, holder) in [
        ("wodgets", "the APIBinding \"first\""),
        ("gadgets", "the APIBinding \"first\""),
        ("leases", "the server itself"),
    ] {
        second.wait(EXPORTS, name, |own| own.str_at(&["status", "identityHash"]).is_some()).await;
        demo.create(BINDINGS, &binding(name, "root:second", name)).await.expect(201);
        let refused = |own: &Value| condition(own, "BindingUpToDate").1 == "NamingConflicts";
        let own = demo.wait(BINDINGS, name, refused).await;
        let message = condition(&own, "BindingUpToDate").2;
        assert!(message.ends_with(&format!("is brought by {holder}")), "{message}");
        assert!(!is_bound(&own));
    }
    // In another workspace nothing is in their way.
    hub.workspace("root:free").await.bind("wodgets", "root:second", "wodgets").await;
}

#[tokio::test]
async fn a_binding_does_not_follow_to_another_workspace_or_identity() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("widgets", &[("widgets", "Widget")]).await;
    let demo = hub.workspace("root:demo").await;
    demo.bind("widgets", "root:provider", "widgets").await;
    demo.create(WIDGETS, &widget("a")).await.expect(201);
    // The export goes: what is bound goes on, and says so.
    provider.delete(&format!("{EXPORTS}/widgets")).await.expect(200);
    let invalid = |reason: &'static str| {
        move |own: &Value| condition(own, "APIExportValid").1 == reason && is_bound(own)
    };
    demo.wait(BINDINGS, "widgets", invalid("APIExportNotFound")).await;
    demo.create(WIDGETS, &widget("b")).await.expect(201);
    provider.gone(SLICES, "widgets").await;
    // It comes back with its secret: as if nothing had been.
    provider.create(EXPORTS, &export("widgets", &["widgets"])).await.expect(201);
    let valid = |own: &Value| condition(own, "APIExportValid").0 == "True";
    demo.wait(BINDINGS, "widgets", valid).await;
    provider.wait(SLICES, "widgets", |_| true).await;
    // It comes back with another identity.
    provider.delete(&format!("{EXPORTS}/widgets")).await.expect(200);
    provider.gone(SLICES, "widgets").await;
    provider.delete(&format!("{SECRETS}/widgets")).await.expect(200);
    provider.create(EXPORTS, &export("widgets", &["widgets"])).await.expect(201);
    demo.wait(BINDINGS, "widgets", invalid("APIExportInvalidReference")).await;
    // Somebody else takes over the path.
    hub.admin().delete(&format!("{WORKSPACES}/provider")).await.expect(200);
    hub.admin().gone(WORKSPACES, "provider").await;
    let taken = hub.workspace("root:provider").await;
    taken.export("widgets", &[("widgets", "Widget")]).await;
    let own = demo.wait(BINDINGS, "widgets", invalid("APIExportInvalidReference")).await;
    assert_ne!(own.str_at(&["status", "apiExportClusterName"]), Some(&*taken.cluster().await));
    let view = format!("/services/apiexport/{}/widgets/clusters/*", taken.cluster().await);
    let seen = hub.admin().below(&view).get(ALL_WIDGETS).await.expect(200);
    assert!(names(&seen).is_empty());
    assert_eq!(names(&demo.get(WIDGETS).await.expect(200)), ["a", "b"]);
}

#[tokio::test]
async fn a_binding_follows_its_export_to_a_new_schema_and_keeps_what_is_dropped() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("both", &[("widgets", "Widget"), ("gadgets", "Gadget")]).await;
    let demo = hub.workspace("root:demo").await;
    demo.bind("both", "root:provider", "both").await;
    demo.create(WIDGETS, &widget("a")).await.expect(201);
    let gadgets = "/apis/example.io/v1/namespaces/default/gadgets";
    demo.create(gadgets, &widget("g")).await.expect(201);
    let mut newer = schema("v2", "widgets", "Widget");
    let versions = newer.to_string().replace("How large it is", "How heavy it is");
    newer = yaml(&versions);
    provider.create(SCHEMAS, &newer).await.expect(201);
    let patch = "{spec: {resources: [{name: widgets, group: example.io,
        schema: v2.widgets.example.io, storage: {crd: {}}}]}}";
    provider.merge(&format!("{EXPORTS}/both"), &yaml(patch)).await.expect(200);
    demo.wait(BINDINGS, "both", |own| own.to_string().contains("v2.widgets.example.io")).await;
    let text = demo.get("/openapi/v3/apis/example.io/v1").await.expect(200).to_string();
    assert!(text.contains("How heavy it is"));
    assert_eq!(names(&demo.get(WIDGETS).await.expect(200)), ["a"]);
    assert_eq!(names(&demo.get(gadgets).await.expect(200)), ["g"]);
}

#[tokio::test]
async fn binding_needs_the_right_to_and_its_absence_shows_nothing_of_the_export() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("widgets", &[("widgets", "Widget")]).await;
    let demo = hub.workspace("root:demo").await;
    demo.make_administrator("ann").await;
    let ann = hub.client("ann", &[]).within("root:demo");
    let mut messages = Vec::new();
    for (path, export) in [
        ("root:provider", "widgets"),
        ("root:provider", "absents"),
        ("root:nowhere!", "widgets"),
        ("root:absenter", "widgets"),
    ] {
        let answer = ann.create(BINDINGS, &binding("x", path, export)).await;
        let message = answer.refused(403, "Forbidden");
        messages.push(message.replace(path, "PATH").replace(export, "EXPORT"));
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "{messages:?}");
    let rules = "[{apiGroups: [apis.kcp.io], resources: [apiexports], verbs: [bind],
        resourceNames: [widgets]}]";
    provider.grant("binder", "ann", rules).await;
    let bound = ann.bind("x", "root:provider", "widgets").await;
    // Neither where it is nor what it is bound to can be forged.
    assert_eq!(bound.str_at(&["metadata", "annotations", "kcp.io/path"]), Some("root:demo"));
    let object = format!("{BINDINGS}/x");
    let forged = yaml(
        "{metadata: {annotations: {kcp.io/path: root, requests.strait.dev/crossing: 'true'}}}",
    );
    let own = ann.merge(&object, &forged).await.expect(200);
    assert_eq!(own.str_at(&["metadata", "annotations", "kcp.io/path"]), Some("root:demo"));
    let crossing = ["metadata", "annotations", "requests.strait.dev/crossing"];
    assert_eq!(own.str_at(&crossing), None);
    ann.merge(&format!("{object}/status"), &yaml("{status: {phase: Binding}}"))
        .await
        .refused(403, "Forbidden");
    ann.merge(&object, &yaml("{spec: {reference: {export: {name: other}}}}"))
        .await
        .refused(422, "Invalid");
    ann.merge(&object, &release()).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_maximal_policy_bounds_everybody_in_the_binding_workspace() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.create(SCHEMAS, &schema("v1", "widgets", "Widget")).await.expect(201);
    let mut bounded = export("widgets", &["widgets"]);
    bounded.set(&["spec", "maximalPermissionPolicy", "local"], Value::object());
    provider.create(EXPORTS, &bounded).await.expect(201);
    provider
        .wait(EXPORTS, "widgets", |own| own.str_at(&["status", "identityHash"]).is_some())
        .await;
    let demo = hub.workspace("root:demo").await;
    demo.make_administrator("ann").await;
    demo.bind("widgets", "root:provider", "widgets").await;
    let ann = hub.client("ann", &[]).within("root:demo");
    ann.create(WIDGETS, &widget("a")).await.refused(403, "Forbidden");
    // Rights of the plain user in the provider's workspace are not rights of a binding's user.
    provider.make_administrator("ann").await;
    ann.create(WIDGETS, &widget("a")).await.refused(403, "Forbidden");
    let rules = "[{apiGroups: [example.io], resources: [widgets], verbs: ['*']},
        {apiGroups: [example.io], resources: [widgets/status], verbs: [get]}]";
    provider.grant("tenants", "apis.kcp.io:binding:ann", rules).await;
    ann.create(WIDGETS, &widget("a")).await.expect(201);
    let object = format!("{WIDGETS}/a");
    ann.merge(&object, &yaml("{spec: {size: 2}}")).await.expect(200);
    ann.get(&format!("{object}/status")).await.expect(200);
    let done = yaml("{status: {done: true}}");
    let message = ann.merge(&format!("{object}/status"), &done).await.refused(403, "Forbidden");
    assert!(message.contains("access denied"), "{message}");
    // Nor through the object itself, nor by more rights of one's own.
    let own = ann.merge(&object, &done).await.expect(200);
    assert!(own.get("status").is_none());
    let all = "[{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]";
    ann.grant("more", "ann", all).await;
    ann.merge(&format!("{object}/status"), &done).await.refused(403, "Forbidden");
    let review = "{spec: {resourceAttributes: {group: example.io, resource: widgets,
        subresource: status, verb: patch, name: a}}}";
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = ann.create(reviews, &yaml(review)).await.expect(201);
    assert_eq!(review.at(&["status", "allowed"]).and_then(Value::as_bool), Some(false));
    // The members of system:kcp:admin are bounded as well.
    let operator = hub.client("op", &["system:kcp:admin"]).within("root:demo");
    operator.get(BINDINGS).await.expect(200);
    operator.get(&object).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn binding_and_unbinding_at_once_leaves_what_is_bound_served() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("widgets", &[("widgets", "Widget")]).await;
    let mut tenants = Vec::new();
    for number in 0..4 {
        tenants.push(hub.workspace(&format!("root:t{number}")).await);
    }
    let turns = tenants.iter().cloned().map(|tenant| {
        tokio::spawn(async move {
            for _ in 0..6 {
                tenant.bind("widgets", "root:provider", "widgets").await;
                tenant.create(WIDGETS, &widget("a")).await.expect(201);
                tenant.delete(&format!("{BINDINGS}/widgets")).await.expect(200);
                tenant.gone(BINDINGS, "widgets").await;
            }
        })
    });
    for turn in turns.collect::<Vec<_>>() {
        turn.await.unwrap();
    }
}
