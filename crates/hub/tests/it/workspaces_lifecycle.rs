//! From a Workspace object to a place to work in, and back to nothing.

use strait_machinery::json::Value;
use strait_types::Revision;

use crate::harness::{TestHub, yaml};
use crate::tenants::{
    BINDINGS, CLUSTERS, CONFIG_MAPS, EXPORTS, ROLE_BINDINGS, TYPES, WIDGETS, WORKSPACES, condition,
    config_map, held_widget, is_ready, names, release,
};

#[tokio::test]
async fn a_workspace_becomes_ready_with_all_that_it_begins_with() {
    let hub = TestHub::start().await;
    let user = hub.client("ann", &[]);
    hub.admin().make_administrator("ann").await;
    user.create(WORKSPACES, &yaml("{metadata: {name: demo}}")).await.expect(201);
    let workspace = user.wait(WORKSPACES, "demo", is_ready).await;
    let cluster = workspace.str_at(&["spec", "cluster"]).unwrap().to_owned();
    let url = format!("{}/clusters/root:demo", hub.hub().url());
    assert_eq!(workspace.str_at(&["spec", "URL"]), Some(&*url));
    assert_eq!(workspace.str_at(&["spec", "type", "name"]), Some("universal"));
    assert_eq!(condition(&workspace, "WorkspaceScheduled").0, "True");
    assert_eq!(condition(&workspace, "WorkspaceInitialized").0, "True");
    assert_eq!(cluster.len(), 16);

    // By path and by name it is one place, and who asked for it is its administrator.
    for name in ["root:demo", &cluster] {
        let inside = user.within(name);
        let object = inside.get(&format!("{CLUSTERS}/cluster")).await.expect(200);
        let annotation = |key: &str| object.str_at(&["metadata", "annotations", key]).unwrap();
        assert_eq!(annotation("kcp.io/path"), "root:demo");
        assert_eq!(annotation("kcp.io/cluster"), cluster);
        assert_eq!(annotation("internal.tenancy.kcp.io/type"), "root:universal");
        assert_eq!(object.str_at(&["spec", "owner", "name"]), Some("demo"));
        assert_eq!(object.str_at(&["spec", "createdBy", "username"]), Some("ann"));
        let url = format!("{}/clusters/{cluster}", hub.hub().url());
        assert_eq!(object.str_at(&["status", "URL"]), Some(&*url));
        let namespaces = inside.get("/api/v1/namespaces").await.expect(200);
        let expected = ["default", "kube-node-lease", "kube-public", "kube-system"];
        assert_eq!(names(&namespaces), expected);
        let accounts = inside.get("/api/v1/serviceaccounts").await.expect(200);
        assert_eq!(names(&accounts), ["default"; 4]);
        inside.get(&format!("{CONFIG_MAPS}/kube-root-ca.crt")).await.expect(200);
        inside.get(&format!("{ROLE_BINDINGS}/workspace-admin")).await.expect(200);
        let bindings = inside.get(BINDINGS).await.expect(200);
        let [binding] = bindings.array_at(&["items"]) else {
            panic!("one default binding: {bindings}");
        };
        assert_eq!(binding.str_at(&["metadata", "annotations", "kcp.io/path"]), Some("root:demo"));
        assert_eq!(binding.str_at(&["status", "phase"]), Some("Bound"));
    }
}

#[tokio::test]
async fn workspaces_nest_and_go_with_their_parent_and_nothing_else_goes() {
    let hub = TestHub::start().await;
    let outer = hub.workspace("root:outer").await;
    let inner = hub.workspace("root:outer:inner").await;
    let beside = hub.workspace("root:beside").await;
    for client in [&outer, &inner, &beside] {
        client.create(CONFIG_MAPS, &config_map("kept")).await.expect(201);
    }
    let (outer_name, inner_name) = (outer.cluster().await, inner.cluster().await);
    let root = hub.admin();
    root.delete(&format!("{WORKSPACES}/outer")).await.expect(200);
    root.gone(WORKSPACES, "outer").await;
    for name in ["root:outer", "root:outer:inner", &outer_name, &inner_name] {
        root.within(name).get(CONFIG_MAPS).await.refused(404, "NotFound");
    }
    // Of what was in them nothing is stored any more.
    for collection in ["/api/v1/configmaps", "/api/v1/namespaces", BINDINGS, CLUSTERS] {
        let everywhere = root.below("/clusters/*").get(collection).await.expect(200);
        let left = everywhere.array_at(&["items"]).iter().filter(|item| {
            let cluster = item.str_at(&["metadata", "annotations", "kcp.io/cluster"]).unwrap();
            [&*outer_name, &*inner_name].contains(&cluster)
        });
        assert_eq!(left.count(), 0, "{collection}");
    }
    beside.get(&format!("{CONFIG_MAPS}/kept")).await.expect(200);
    root.get("/api/v1/namespaces/default").await.expect(200);
    // A new one of the old name has nothing of it.
    let again = hub.workspace("root:outer").await;
    again.get(&format!("{CONFIG_MAPS}/kept")).await.refused(404, "NotFound");
    assert_ne!(again.cluster().await, outer_name);
}

#[tokio::test]
async fn nothing_that_was_written_while_a_workspace_ends_is_left_behind() {
    let hub = TestHub::start().await;
    let demo = hub.workspace("root:demo").await;
    let cluster = demo.cluster().await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let demo = demo.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    let name = format!("w{writer}-{number}");
                    let map = demo.create(CONFIG_MAPS, &config_map(&name)).await;
                    let namespace = demo.create("/api/v1/namespaces", &config_map(&name)).await;
                    let export = format!("{{metadata: {{name: {name}}}, spec: {{resources: []}}}}");
                    demo.create(EXPORTS, &yaml(&export)).await;
                    if map.status.as_u16() == 404 && namespace.status.as_u16() == 404 {
                        return number;
                    }
                }
                unreachable!()
            })
        })
        .collect();
    demo.wait("/api/v1/namespaces", "w0-3", |_| true).await;
    hub.admin().delete(&format!("{WORKSPACES}/demo")).await.expect(200);
    hub.admin().gone(WORKSPACES, "demo").await;
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
    let everywhere = hub.admin().below("/clusters/*");
    for collection in [
        "/api/v1/configmaps",
        "/api/v1/namespaces",
        "/api/v1/secrets",
        "/api/v1/serviceaccounts",
        EXPORTS,
        crate::tenants::SLICES,
        CLUSTERS,
    ] {
        let list = everywhere.get(collection).await.expect(200);
        let of_demo = list.array_at(&["items"]).iter().filter(|item| {
            item.str_at(&["metadata", "annotations", "kcp.io/cluster"]) == Some(&*cluster)
        });
        assert_eq!(of_demo.count(), 0, "{collection}");
    }
}

#[tokio::test]
async fn nothing_that_was_written_while_a_namespace_ends_is_left_behind() {
    let hub = TestHub::start().await;
    let admin = hub.admin();
    let maps = "/api/v1/namespaces/brief/configmaps";
    for _ in 0..3 {
        admin.create("/api/v1/namespaces", &config_map("brief")).await.expect(201);
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let admin = admin.clone();
                tokio::spawn(async move {
                    for number in 0.. {
                        let name = format!("w{writer}-{number}");
                        let answer = admin.create(maps, &config_map(&name)).await;
                        match answer.status.as_u16() {
                            201 => {}
                            403 => drop(answer.refused(403, "Forbidden")),
                            404 => return,
                            other => panic!("{other}: {}", answer.text()),
                        }
                    }
                })
            })
            .collect();
        admin.wait(maps, "w0-2", |_| true).await;
        admin.delete("/api/v1/namespaces/brief").await.expect(200);
        admin.gone("/api/v1/namespaces", "brief").await;
        for writer in writers {
            writer.await.unwrap();
        }
        let left = admin.get("/api/v1/configmaps").await.expect(200);
        let in_brief = |item: &&Value| item.str_at(&["metadata", "namespace"]) == Some("brief");
        assert_eq!(left.array_at(&["items"]).iter().filter(in_brief).count(), 0);
    }
}

#[tokio::test]
async fn the_end_of_a_workspace_waits_for_finalizers_and_says_so_while_rights_remain() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("widgets", &[("widgets", "Widget")]).await;
    let demo = hub.workspace("root:demo").await;
    demo.bind("widgets", "root:provider", "widgets").await;
    demo.create(WIDGETS, &held_widget("a")).await.expect(201);
    demo.make_administrator("ann").await;
    let held = "{metadata: {name: held, finalizers: [example.io/hold]}}";
    demo.create(CONFIG_MAPS, &yaml(held)).await.expect(201);
    demo.create(CONFIG_MAPS, &config_map("free")).await.expect(201);
    hub.admin().delete(&format!("{WORKSPACES}/demo")).await.expect(200);
    let waits = |workspace: &Value| condition(workspace, "WorkspaceContentDeleted").0 == "False";
    let workspace = hub.admin().wait(WORKSPACES, "demo", waits).await;
    assert_eq!(workspace.str_at(&["status", "phase"]), Some("Deleting"));
    let (_, reason, message) = condition(&workspace, "WorkspaceContentDeleted");
    assert_eq!(reason, "SomeResourcesRemain");
    let mut words: Vec<&str> = message.split(", ").collect();
    words.sort_unstable();
    assert_eq!(
        words,
        [
            "1 objects of configmaps wait for their finalizers",
            "1 objects of widgets.example.io wait for their finalizers"
        ]
    );
    // Its people can still see what holds it, and make nothing new.
    let ann = hub.client("ann", &[]).within("root:demo");
    ann.get(&format!("{WIDGETS}/a")).await.expect(200);
    ann.create(CONFIG_MAPS, &config_map("late")).await.refused(403, "Forbidden");
    ann.get(&format!("{CONFIG_MAPS}/free")).await.refused(404, "NotFound");
    ann.merge(&format!("{WIDGETS}/a"), &release()).await.expect(200);
    ann.merge(&format!("{CONFIG_MAPS}/held"), &release()).await.expect(200);
    hub.admin().gone(WORKSPACES, "demo").await;
}

#[tokio::test]
async fn what_a_logical_cluster_is_cannot_be_changed_by_its_people() {
    let hub = TestHub::start().await;
    let demo = hub.workspace("root:demo").await;
    demo.make_administrator("ann").await;
    let ann = hub.client("ann", &[]).within("root:demo");
    let object = format!("{CLUSTERS}/cluster");
    for patch in [
        "{metadata: {annotations: {kcp.io/path: root:other}}}",
        "{metadata: {annotations: {kcp.io/path: null}}}",
        "{metadata: {annotations: {internal.tenancy.kcp.io/type: root:other}}}",
        "{metadata: {annotations: {internal.apis.kcp.io/resource-bindings: '{}'}}}",
        "{metadata: {finalizers: null}}",
        "{metadata: {finalizers: [core.kcp.io/logicalcluster-deletion, example.io/hold]}}",
        "{metadata: {labels: {tenancy.kcp.io/phase: Other}}}",
        "{spec: {directlyDeletable: true}}",
        "{spec: {owner: null}}",
    ] {
        ann.merge(&object, &yaml(patch)).await.refused(403, "Forbidden");
    }
    ann.merge(&format!("{object}/status"), &yaml("{status: {phase: Scheduling}}"))
        .await
        .refused(403, "Forbidden");
    ann.delete(&object).await.refused(403, "Forbidden");
    ann.create(CLUSTERS, &yaml("{metadata: {name: cluster}}")).await.refused(403, "Forbidden");
    ann.merge(&object, &yaml("{metadata: {labels: {mine: x}}}")).await.expect(200);
    // Nor does anybody remove the top of the tree.
    hub.admin().delete(&object).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_workspace_is_pointed_at_no_logical_cluster_but_its_own() {
    let hub = TestHub::start().await;
    let other = hub.workspace("root:other").await;
    let target = other.cluster().await;
    other.create(CONFIG_MAPS, &config_map("kept")).await.expect(201);
    let root = hub.admin();
    let forged = format!(
        "{{metadata: {{name: demo, annotations: {{internal.tenancy.kcp.io/cluster: {target},
           experimental.tenancy.kcp.io/owner: '{{}}', core.kcp.io/shard: x}}}},
           status: {{phase: Ready}}}}"
    );
    root.create(WORKSPACES, &yaml(&forged)).await.expect(201);
    let workspace = root.wait(WORKSPACES, "demo", is_ready).await;
    assert_ne!(workspace.str_at(&["spec", "cluster"]), Some(&*target));
    let object = format!("{WORKSPACES}/demo");
    for patch in [
        format!("{{spec: {{cluster: {target}}}}}"),
        "{spec: {cluster: null}}".to_owned(),
        "{spec: {URL: 'https://example.io'}}".to_owned(),
        format!("{{metadata: {{annotations: {{internal.tenancy.kcp.io/cluster: {target}}}}}}}"),
        "{metadata: {finalizers: null}}".to_owned(),
    ] {
        root.merge(&object, &yaml(&patch)).await.refused(403, "Forbidden");
    }
    root.merge(&object, &yaml("{spec: {type: {name: other}}}")).await.refused(422, "Invalid");
    hub.admin().make_administrator("ann").await;
    let status = format!("{{status: {{phase: Scheduling}}, spec: {{cluster: {target}}}}}");
    let ann = hub.client("ann", &[]);
    ann.merge(&format!("{object}/status"), &yaml(&status)).await.refused(403, "Forbidden");
    root.delete(&object).await.expect(200);
    root.gone(WORKSPACES, "demo").await;
    other.get(&format!("{CONFIG_MAPS}/kept")).await.expect(200);
}

#[tokio::test]
async fn a_workspace_that_is_deleted_while_it_is_made_leaves_nothing() {
    let hub = TestHub::start().await;
    let root = hub.admin();
    let mut clusters = Vec::new();
    for number in 0..8 {
        let name = format!("brief{number}");
        let workspace = config_map(&name);
        let made = root.create(WORKSPACES, &workspace).await.expect(201);
        let chosen = ["metadata", "annotations", "internal.tenancy.kcp.io/cluster"];
        clusters.push(made.str_at(&chosen).unwrap().to_owned());
        root.delete(&format!("{WORKSPACES}/{name}")).await.expect(200);
    }
    for number in 0..8 {
        root.gone(WORKSPACES, &format!("brief{number}")).await;
    }
    let everywhere = root.below("/clusters/*");
    for collection in ["/api/v1/namespaces", "/api/v1/configmaps", BINDINGS, CLUSTERS] {
        let list = everywhere.get(collection).await.expect(200);
        for item in list.array_at(&["items"]) {
            let cluster = item.str_at(&["metadata", "annotations", "kcp.io/cluster"]).unwrap();
            assert!(!clusters.iter().any(|own| own == cluster), "{collection}: {item}");
        }
    }
}

#[tokio::test]
async fn what_this_release_does_not_serve_is_refused_by_its_field() {
    let hub = TestHub::start().await;
    let root = hub.admin();
    let workspace = |spec: &str| yaml(&format!("{{metadata: {{name: demo}}, spec: {spec}}}"));
    for (spec, field) in [
        ("{location: {selector: {}}}", "spec.location"),
        ("{mount: {ref: {apiVersion: v1, kind: X, name: x}}}", "spec.mount"),
    ] {
        let message = root.create(WORKSPACES, &workspace(spec)).await.refused(422, "Invalid");
        assert!(message.contains(field) && message.contains("is not served"), "{message}");
    }
    for (spec, field) in [
        ("{initializer: true}", "spec.initializer"),
        ("{extend: {with: [{name: universal, path: root}]}}", "spec.extend"),
        ("{limitAllowedChildren: {none: true}}", "spec.limitAllowedChildren"),
        ("{defaultChildWorkspaceType: {name: universal, path: root}}", "spec.defaultChild"),
    ] {
        let message = root.create(TYPES, &workspace(spec)).await.refused(422, "Invalid");
        assert!(message.contains(field) && message.contains("is not served"), "{message}");
    }
    let message = root
        .create(WORKSPACES, &workspace("{type: {name: team, path: root}}"))
        .await
        .refused(403, "Forbidden");
    assert!(message.contains("unable to use workspacetype root:team"), "{message}");
    root.create(WORKSPACES, &workspace("{cluster: root}")).await.refused(403, "Forbidden");
    root.create(WORKSPACES, &yaml("{metadata: {name: a.b}}")).await.refused(422, "Invalid");
    root.create(WORKSPACES, &yaml("{metadata: {name: Demo}}")).await.refused(422, "Invalid");
    let long = "x".repeat(64);
    let message = root.create(WORKSPACES, &yaml(&format!("{{metadata: {{name: {long}}}}}"))).await;
    message.refused(422, "Invalid");
}

#[tokio::test]
async fn a_type_brings_bindings_that_nobody_had_before() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("widgets", &[("widgets", "Widget")]).await;
    // A second export of the same kind: the first one listed wins.
    let other = hub.workspace("root:other").await;
    other.export("widgets2", &[("widgets", "Widget")]).await;
    let kind = "{metadata: {name: equipped}, spec: {defaultAPIBindings: [
        {path: root, export: tenancy.kcp.io}, {path: 'root:provider', export: widgets},
        {path: 'root:other', export: widgets2}]}}";
    hub.admin().create(TYPES, &yaml(kind)).await.expect(201);
    let workspace = "{metadata: {name: demo}, spec: {type: {name: equipped, path: root}}}";
    hub.admin().create(WORKSPACES, &yaml(workspace)).await.expect(201);
    hub.admin().wait(WORKSPACES, "demo", is_ready).await;
    let demo = hub.admin().within("root:demo");
    demo.create(WIDGETS, &crate::tenants::widget("a")).await.expect(201);
    let bindings = demo.get(BINDINGS).await.expect(200);
    let bound = |binding: &&Value| binding.str_at(&["status", "phase"]) == Some("Bound");
    assert_eq!(bindings.array_at(&["items"]).iter().filter(bound).count(), 2);
    let loser = names(&bindings).into_iter().find(|name| name.starts_with("widgets2-")).unwrap();
    let conflicts = |binding: &Value| condition(binding, "BindingUpToDate").1 == "NamingConflicts";
    demo.wait(BINDINGS, loser, conflicts).await;
}

#[tokio::test]
async fn a_type_whose_export_is_missing_says_so_until_it_is_there() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    let kind = "{metadata: {name: equipped}, spec: {defaultAPIBindings: [
        {path: 'root:provider', export: widgets}]}}";
    hub.admin().create(TYPES, &yaml(kind)).await.expect(201);
    let workspace = "{metadata: {name: demo}, spec: {type: {name: equipped, path: root}}}";
    hub.admin().create(WORKSPACES, &yaml(workspace)).await.expect(201);
    let waits = |workspace: &Value| condition(workspace, "WorkspaceInitialized").0 == "False";
    let workspace = hub.admin().wait(WORKSPACES, "demo", waits).await;
    let message = condition(&workspace, "WorkspaceInitialized").2;
    assert!(message.contains("the export root:provider:widgets is missing"), "{message}");
    provider.export("widgets", &[("widgets", "Widget")]).await;
    hub.admin().wait(WORKSPACES, "demo", is_ready).await;
}

#[tokio::test]
async fn everything_is_found_again_after_a_restart() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    let export = provider.export("widgets", &[("widgets", "Widget")]).await;
    let demo = hub.workspace("root:demo").await;
    demo.bind("widgets", "root:provider", "widgets").await;
    let made = demo.create(WIDGETS, &held_widget("a")).await.expect(201);
    let (id, cluster) = (hub.hub().id().clone(), demo.cluster().await);
    let hub = hub.restart().await;
    assert_eq!(*hub.hub().id(), id);
    let (provider, demo) = (hub.admin().within("root:provider"), hub.admin().within("root:demo"));
    assert_eq!(demo.cluster().await, cluster);
    assert_eq!(demo.get(&format!("{WIDGETS}/a")).await.expect(200), made);
    let again = provider.get(&format!("{EXPORTS}/widgets")).await.expect(200);
    assert_eq!(
        again.str_at(&["status", "identityHash"]),
        export.str_at(&["status", "identityHash"])
    );
    let newer = demo.create(CONFIG_MAPS, &config_map("later")).await.expect(201);
    let revision = |object: &Value| -> Revision {
        object.str_at(&["metadata", "resourceVersion"]).unwrap().parse().unwrap()
    };
    assert!(revision(&newer) > revision(&made));
    // What was under way goes on.
    let binding = format!("{BINDINGS}/widgets");
    demo.delete(&binding).await.expect(200);
    let waits = |binding: &Value| condition(binding, "BindingResourceDeleteSuccess").0 == "False";
    demo.wait(BINDINGS, "widgets", waits).await;
    let hub = hub.restart().await;
    let demo = hub.admin().within("root:demo");
    demo.merge(&format!("{WIDGETS}/a"), &release()).await.expect(200);
    demo.gone(BINDINGS, "widgets").await;
}
