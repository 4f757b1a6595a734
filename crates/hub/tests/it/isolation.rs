//! Whoever has rights in one workspace has nothing in another, and cannot tell what is there.

use bytes::Bytes;
use http::{HeaderMap, Method};
use strait_machinery::json::Value;

use crate::harness::{Answer, Client, TestHub, yaml};
use crate::tenants::{
    ALL_WIDGETS, BINDINGS, CONFIG_MAPS, EXPORTS, ROLES, WIDGETS, WORKSPACES, config_map,
    held_widget, names, widget,
};

/// What a request looks like from outside, without what differs between any two.
fn seen(answer: &Answer) -> (u16, Bytes, HeaderMap) {
    let mut headers = answer.headers.clone();
    headers.remove("audit-id");
    headers.remove("date");
    (answer.status.as_u16(), answer.body.clone(), headers)
}

/// Every manner of asking.
const REQUESTS: [(Method, &str, &str); 14] = [
    (Method::GET, "/api/v1/namespaces/default/configmaps/a", ""),
    (Method::GET, CONFIG_MAPS, ""),
    (Method::GET, "/api/v1/configmaps?watch=true", ""),
    (Method::GET, ALL_WIDGETS, ""),
    (Method::POST, CONFIG_MAPS, "{}"),
    (Method::PUT, "/api/v1/namespaces/default/configmaps/a", "{}"),
    (Method::PATCH, "/api/v1/namespaces/default/configmaps/a", "{}"),
    (Method::DELETE, "/api/v1/namespaces/default/configmaps/a", ""),
    (Method::DELETE, CONFIG_MAPS, ""),
    (Method::GET, "/apis", ""),
    (Method::GET, "/api/v1", ""),
    (Method::GET, "/openapi/v3", ""),
    (Method::GET, "/version", ""),
    (Method::GET, "", ""),
];

struct Two {
    hub: TestHub,
    provider: Client,
    /// Administrator of `root:demo`, and of nothing else.
    ann: Client,
    /// Names by which `root:provider` is reached.
    names: Vec<String>,
}

async fn two_workspaces() -> Two {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("widgets", &[("widgets", "Widget")]).await;
    provider.create(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let demo = hub.workspace("root:demo").await;
    demo.make_administrator("ann").await;
    demo.bind("widgets", "root:provider", "widgets").await;
    demo.create(WIDGETS, &widget("of-demo")).await.expect(201);
    let other = hub.workspace("root:other").await;
    other.bind("widgets", "root:provider", "widgets").await;
    other.create(WIDGETS, &widget("of-other")).await.expect(201);
    let names = vec!["root:provider".to_owned(), provider.cluster().await];
    let ann = hub.client("ann", &[]).within("root:demo");
    Two { hub, provider, ann, names }
}

#[tokio::test]
async fn absent_forbidden_malformed_and_ending_workspaces_look_the_same() {
    let two = two_workspaces().await;
    // One that is being deleted and cannot end.
    let ending = two.hub.workspace("root:ending").await;
    let ending_name = ending.cluster().await;
    ending.bind("widgets", "root:provider", "widgets").await;
    ending.create(WIDGETS, &held_widget("a")).await.expect(201);
    two.hub.admin().delete(&format!("{WORKSPACES}/ending")).await.expect(200);
    let mut targets = two.names.clone();
    targets.extend(["root:ending".to_owned(), ending_name]);
    for target in [
        "root",
        "root:absent",
        "root:absent:deeper",
        "root:demo:absent",
        "absent",
        "0123456789abcdef",
        "system:admin",
        "system:bound-crds",
        "system:absent",
        "*",
        "%2A",
        "Root",
        "root:",
        ":root",
        "root::demo",
        "ro%20ot",
        "%00",
        "%ff",
        "..",
        "~",
        "-",
    ] {
        targets.push(target.to_owned());
    }
    for user in [two.ann.clone(), two.hub.anonymous()] {
        for (method, path, body) in REQUESTS {
            let mut first: Option<(u16, Bytes, HeaderMap)> = None;
            for target in &targets {
                let client = user.below(&format!("/clusters/{target}"));
                let answer = client.send_bytes(method.clone(), path, Bytes::from(body)).await;
                let message = answer.refused(403, "Forbidden");
                assert_eq!(message, "workspace access not permitted");
                let seen = seen(&answer);
                let first = first.get_or_insert_with(|| seen.clone());
                assert_eq!(*first, seen, "{method} {target} {path}");
            }
        }
    }
    // Only who may do everything is told more.
    let admin = two.hub.admin();
    admin.within("root:absent").get(CONFIG_MAPS).await.refused(404, "NotFound");
    admin.within("Root").get(CONFIG_MAPS).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn exports_that_are_absent_or_forbidden_look_the_same_from_their_views() {
    let two = two_workspaces().await;
    let provider = &two.names[1];
    let targets = [
        format!("{provider}/widgets/clusters/*"),
        format!("{provider}/absent/clusters/*"),
        format!("{provider}/widgets/clusters/{provider}"),
        format!("{provider}/widgets/clusters/absent"),
        format!("{provider}/wid%20gets/clusters/*"),
        format!("{provider}/widgets/clusters/Absent"),
        "absent/widgets/clusters/*".to_owned(),
        "Absent/widgets/clusters/*".to_owned(),
        "root/tenancy.kcp.io/clusters/*".to_owned(),
    ];
    for (method, path, body) in REQUESTS.into_iter().filter(|(_, path, _)| !path.is_empty()) {
        let mut first: Option<(u16, Bytes, HeaderMap)> = None;
        for target in &targets {
            let client = two.ann.below(&format!("/services/apiexport/{target}"));
            let answer = client.send_bytes(method.clone(), path, Bytes::from(body)).await;
            answer.refused(403, "Forbidden");
            let seen = seen(&answer);
            let first = first.get_or_insert_with(|| seen.clone());
            assert_eq!(*first, seen, "{method} {target} {path}");
        }
    }
    for path in ["/services", "/services/other/x", "/services/apiexport/root", "/clusters", "/x"] {
        two.ann.below("").get(path).await.refused(403, "Forbidden");
    }
}

#[tokio::test]
async fn a_user_of_one_workspace_gets_nothing_of_another_by_any_way() {
    let two = two_workspaces().await;
    let ann = &two.ann;
    let same = ann.get(WIDGETS).await.expect(200);
    assert_eq!(names(&same), ["of-demo"]);
    for name in &two.names {
        let there = ann.within(name);
        there.get(&format!("{CONFIG_MAPS}/a")).await.refused(403, "Forbidden");
        there.get("/api/v1/secrets").await.refused(403, "Forbidden");
        there.get(EXPORTS).await.refused(403, "Forbidden");
        there.create(CONFIG_MAPS, &config_map("b")).await.refused(403, "Forbidden");
        let watch = there.get("/api/v1/configmaps?watch=true").await;
        watch.refused(403, "Forbidden");
        let review = "{spec: {resourceAttributes: {resource: secrets, verb: list}}}";
        for reviews in ["selfsubjectaccessreviews", "subjectaccessreviews"] {
            let reviews = format!("/apis/authorization.k8s.io/v1/{reviews}");
            there.create(&reviews, &yaml(review)).await.refused(403, "Forbidden");
        }
    }
    for base in ["/clusters/*", "/clusters/%2a"] {
        ann.below(base).get("/api/v1/secrets").await.refused(403, "Forbidden");
    }
    // Nor by naming it within one's own: neither as a path, a namespace, an owner nor by a header.
    let nested = format!("/clusters/{}{CONFIG_MAPS}", two.names[1]);
    ann.get(&nested).await.refused(404, "NotFound");
    let climbing = format!("/../root:provider{CONFIG_MAPS}");
    assert!(ann.get(&climbing).await.status.is_client_error());
    for header in ["x-kcp-internal-deep-subjectaccessreview", "x-remote-user", "x-remote-group"] {
        let forged = ann.header(header, "system:masters").within("root:provider");
        forged.get(CONFIG_MAPS).await.refused(403, "Forbidden");
    }
    // What one says about an object does not move it.
    let mut moved = config_map("moved");
    moved.set(&["metadata", "annotations", "kcp.io/cluster"], two.names[1].as_str());
    let made = ann.create(CONFIG_MAPS, &moved).await.expect(201);
    let cluster = ["metadata", "annotations", "kcp.io/cluster"];
    assert_eq!(made.str_at(&cluster), Some(&*ann.cluster().await));
    two.provider.get(&format!("{CONFIG_MAPS}/moved")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_continue_token_goes_on_where_it_was_made_and_nowhere_else() {
    let two = two_workspaces().await;
    for number in 0..3 {
        let name = format!("c{number}");
        two.provider.create(CONFIG_MAPS, &config_map(&name)).await.expect(201);
        two.ann.create(CONFIG_MAPS, &config_map(&name)).await.expect(201);
    }
    let first = |client: Client| async move {
        let page = client.get(&format!("{CONFIG_MAPS}?limit=1")).await.expect(200);
        page.str_at(&["metadata", "continue"]).unwrap().to_owned()
    };
    let (theirs, own) = (first(two.provider.clone()).await, first(two.ann.clone()).await);
    let go_on = |token: &str| format!("{CONFIG_MAPS}?limit=1&continue={token}");
    two.ann.get(&go_on(&own)).await.expect(200);
    two.ann.get(&go_on(&theirs)).await.refused(400, "BadRequest");
    let elsewhere = format!("/api/v1/namespaces/default/secrets?limit=1&continue={own}");
    two.ann.get(&elsewhere).await.refused(400, "BadRequest");
    let selected = format!("{}&labelSelector=a%3Db", go_on(&own));
    two.ann.get(&selected).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn access_to_a_parent_is_no_access_to_its_children_nor_the_other_way() {
    let two = two_workspaces().await;
    two.hub.admin().make_administrator("rob").await;
    let rob = two.hub.client("rob", &[]);
    rob.get(&format!("{WORKSPACES}/demo")).await.expect(200);
    rob.within("root:demo").get(CONFIG_MAPS).await.refused(403, "Forbidden");
    two.ann.within("root").get(&format!("{WORKSPACES}/demo")).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn who_may_do_everything_may_do_it_everywhere() {
    let two = two_workspaces().await;
    let masters = two.hub.client("m", &["system:masters"]);
    let operator = two.hub.client("o", &["system:kcp:admin"]);
    for client in [&masters, &operator] {
        for workspace in ["root", "root:provider", "root:demo"] {
            client.within(workspace).get(CONFIG_MAPS).await.expect(200);
            client.within(workspace).get("/apis").await.expect(200);
        }
    }
    // Everything at once is for masters alone.
    operator.below("/clusters/*").get("/api/v1/configmaps").await.refused(403, "Forbidden");
    let everywhere = masters.below("/clusters/*");
    let all = everywhere.get("/api/v1/configmaps").await.expect(200);
    let clusters: std::collections::BTreeSet<&str> = all
        .array_at(&["items"])
        .iter()
        .filter_map(|item| item.str_at(&["metadata", "annotations", "kcp.io/cluster"]))
        .collect();
    assert!(clusters.len() >= 4, "{clusters:?}");
    everywhere.create(CONFIG_MAPS, &config_map("x")).await.refused(405, "MethodNotAllowed");
    everywhere.get("/api/v1/namespaces/default").await.refused(405, "MethodNotAllowed");
    everywhere.get(CONFIG_MAPS).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn rights_end_for_requests_at_once_and_for_roles_that_were_never_had() {
    let two = two_workspaces().await;
    let demo = two.hub.admin().within("root:demo");
    let rules = "[{apiGroups: [''], resources: [configmaps], verbs: [get, list]},
        {nonResourceURLs: [/], verbs: [access]}]";
    demo.grant("reader", "bob", rules).await;
    let bob = two.hub.client("bob", &[]).within("root:demo");
    bob.get(CONFIG_MAPS).await.expect(200);
    bob.create(CONFIG_MAPS, &config_map("x")).await.refused(403, "Forbidden");
    // Nobody grants what they do not have.
    let more = "[{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles,
        clusterrolebindings], verbs: [create, get]}, {nonResourceURLs: [/], verbs: [access]}]";
    demo.grant("granter", "cat", more).await;
    let cat = two.hub.client("cat", &[]).within("root:demo");
    let role = "{metadata: {name: all}, rules: [{apiGroups: [''], resources: [secrets],
        verbs: [get]}]}";
    cat.create(ROLES, &yaml(role)).await.refused(403, "Forbidden");
    // What is taken is taken at once.
    demo.delete(&format!("{}/reader", crate::tenants::ROLE_BINDINGS)).await.expect(200);
    bob.get(CONFIG_MAPS).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_workspace_of_an_old_name_inherits_nothing() {
    let two = two_workspaces().await;
    let old = two.ann.cluster().await;
    two.hub.admin().delete(&format!("{WORKSPACES}/demo")).await.expect(200);
    two.hub.admin().gone(WORKSPACES, "demo").await;
    let again = two.hub.workspace("root:demo").await;
    two.ann.get(CONFIG_MAPS).await.refused(403, "Forbidden");
    two.ann.within(&old).get(CONFIG_MAPS).await.refused(403, "Forbidden");
    again.get(WIDGETS).await.refused(404, "NotFound");
    let bindings = again.get(BINDINGS).await.expect(200);
    let others = |name: &&str| !name.starts_with("tenancy.kcp.io-");
    assert_eq!(names(&bindings).into_iter().filter(others).count(), 0);
}

#[tokio::test]
async fn a_name_in_a_body_is_no_way_around_the_url() {
    let two = two_workspaces().await;
    let mut object = widget("x");
    object.set(&["metadata", "namespace"], "kube-system");
    two.ann.create(WIDGETS, &object).await.refused(400, "BadRequest");
    let changed = yaml("{metadata: {annotations: {kcp.io/cluster: root}}}");
    let own = two.ann.merge(&format!("{WIDGETS}/of-demo"), &changed).await.expect(200);
    let cluster: Option<&str> = own.str_at(&["metadata", "annotations", "kcp.io/cluster"]);
    assert_eq!(cluster, Some(&*two.ann.cluster().await));
    let status: Option<&Value> = own.get("status");
    assert!(status.is_none());
}
