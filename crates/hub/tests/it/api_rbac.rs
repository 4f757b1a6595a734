//! Who may do what, and how they are told that they may not.

use strait_machinery::json::Value;

use crate::harness::{Client, TestHub, names, yaml};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Gives a user of the workspace `root` these rules in the namespace `default`, and the right to
/// enter.
async fn grant(admin: &Client, user: &str, rules: &str) {
    let role = format!("{{metadata: {{name: {user}}}, rules: {rules}}}");
    admin.post(&format!("{RBAC}/namespaces/default/roles"), &yaml(&role)).await.expect(201);
    bind(admin, "namespaces/default/rolebindings", user, "Role", user).await.expect(201);
    let enter = format!(
        "{{metadata: {{name: enter-{user}}}, rules: [{{nonResourceURLs: [/], verbs: [access]}}]}}"
    );
    admin.post(&format!("{RBAC}/clusterroles"), &yaml(&enter)).await.expect(201);
    bind(admin, "clusterrolebindings", user, "ClusterRole", &format!("enter-{user}"))
        .await
        .expect(201);
}

async fn bind(
    client: &Client,
    bindings: &str,
    user: &str,
    kind: &str,
    role: &str,
) -> crate::harness::Answer {
    let group = "apiGroup: rbac.authorization.k8s.io";
    let binding = format!(
        "{{metadata: {{name: '{user}-{role}'}}, roleRef: {{{group}, kind: {kind}, name: {role}}},
           subjects: [{{{group}, kind: User, name: {user}}}]}}"
    );
    client.post(&format!("{RBAC}/{bindings}"), &yaml(&binding)).await
}

#[tokio::test]
async fn rights_are_exactly_what_was_granted() {
    let hub = TestHub::start().await;
    let admin = hub.admin();
    admin.post(MAPS, &yaml("{metadata: {name: a}}")).await.expect(201);
    grant(&admin, "reader", "[{apiGroups: [''], resources: [configmaps], verbs: [get, list]}]")
        .await;
    let reader = hub.client("reader", &[]);
    reader.get(&format!("{MAPS}/a")).await.expect(200);
    reader.get(MAPS).await.expect(200);
    let what = "resource \"configmaps\" in API group \"\"";
    let who = "is forbidden: User \"reader\" cannot";
    for (method, path, message) in [
        (
            "DELETE",
            format!("{MAPS}/a"),
            format!("configmaps \"a\" {who} delete {what} in the namespace \"default\""),
        ),
        (
            "POST",
            MAPS.to_owned(),
            format!("configmaps {who} create {what} in the namespace \"default\""),
        ),
        (
            "GET",
            format!("{MAPS}?watch=true"),
            format!("configmaps {who} watch {what} in the namespace \"default\""),
        ),
        (
            "GET",
            "/api/v1/configmaps".into(),
            format!("configmaps {who} list {what} at the cluster scope"),
        ),
        (
            "GET",
            "/apis/none.io/v1/things/x".into(),
            format!(
                "things.none.io \"x\" {who} get resource \"things\" in API group \"none.io\" at the cluster scope"
            ),
        ),
        (
            "GET",
            "/metrics".into(),
            "forbidden: User \"reader\" cannot get path \"/metrics\"".into(),
        ),
    ] {
        let answer =
            reader.send_bytes(method.parse().unwrap(), &path, "not even JSON".into()).await;
        assert_eq!(answer.refused(403, "Forbidden"), message, "{method} {path}");
    }
    reader.get("/apis").await.expect(200);
}

#[tokio::test]
async fn rights_on_one_object_hold_for_lists_of_it_alone() {
    let hub = TestHub::start().await;
    let admin = hub.admin();
    for name in ["a", "b"] {
        admin.post(MAPS, &yaml(&format!("{{metadata: {{name: {name}}}}}"))).await.expect(201);
    }
    let rules = "[{apiGroups: [''], resources: [configmaps], resourceNames: [a], verbs: [get, list, watch]}]";
    grant(&admin, "one", rules).await;
    let one = hub.client("one", &[]);
    let list = one.get(&format!("{MAPS}?fieldSelector=metadata.name%3Da")).await.expect(200);
    assert_eq!(names(&list), ["a"]);
    one.get(&format!("{MAPS}?fieldSelector=metadata.name%3Db")).await.refused(403, "Forbidden");
    one.get(MAPS).await.refused(403, "Forbidden");
    one.get(&format!("{MAPS}/b")).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let hub = TestHub::start().await;
    let admin = hub.admin();
    let rules = "[{apiGroups: [''], resources: [configmaps], verbs: [get]},
        {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: ['*']}]";
    grant(&admin, "grantor", rules).await;
    // All verbs are too many here: they contain `escalate` and `bind`.
    let most = "[{apiGroups: [''], resources: [configmaps], verbs: [get]},
        {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings],
         verbs: [get, create, update, patch]}]";
    let roles = format!("{RBAC}/namespaces/default/roles");
    admin
        .merge(&format!("{roles}/grantor"), &yaml(&format!("{{rules: {most}}}")))
        .await
        .expect(200);
    let secret = "[{apiGroups: [''], resources: [secrets], verbs: [get]}]";
    let strong = format!("{{metadata: {{name: strong}}, rules: {secret}}}");
    admin.post(&roles, &yaml(&strong)).await.expect(201);

    let grantor = hub.client("grantor", &[]);
    let weak = yaml(
        "{metadata: {name: weak}, rules: [{apiGroups: [''], resources: [configmaps], verbs: [get]}]}",
    );
    grantor.post(&roles, &weak).await.expect(201);
    let own = strong.replace("strong", "own");
    let message = grantor.post(&roles, &yaml(&own)).await.refused(403, "Forbidden");
    assert!(
        message.contains("is attempting to grant RBAC permissions not currently held"),
        "{message}"
    );
    assert!(message.contains("Resources:[\"secrets\"], Verbs:[\"get\"]"), "{message}");
    let widened = yaml(&format!("{{rules: {secret}}}"));
    grantor.merge(&format!("{roles}/weak"), &widened).await.refused(403, "Forbidden");
    let relabelled = yaml("{metadata: {labels: {l: x}}}");
    grantor.merge(&format!("{roles}/strong"), &relabelled).await.expect(200);

    let bindings = "namespaces/default/rolebindings";
    bind(&grantor, bindings, "grantor", "Role", "strong").await.refused(403, "Forbidden");
    bind(&grantor, bindings, "grantor", "ClusterRole", "cluster-admin")
        .await
        .refused(403, "Forbidden");
    bind(&grantor, bindings, "friend", "Role", "weak").await.expect(201);
    hub.client("grantor", &[])
        .get("/api/v1/namespaces/default/secrets/x")
        .await
        .refused(403, "Forbidden");
}

#[tokio::test]
async fn whoever_may_bind_a_role_needs_not_hold_it() {
    let hub = TestHub::start().await;
    let admin = hub.admin();
    let roles = format!("{RBAC}/namespaces/default/roles");
    for name in ["strong", "other"] {
        let role = format!(
            "{{metadata: {{name: {name}}}, rules: [{{apiGroups: [''], resources: [secrets], verbs: [get]}}]}}"
        );
        admin.post(&roles, &yaml(&role)).await.expect(201);
    }
    let rules = "[{apiGroups: [rbac.authorization.k8s.io], resources: [rolebindings], verbs: [create]},
        {apiGroups: [rbac.authorization.k8s.io], resources: [roles], resourceNames: [strong], verbs: [bind]}]";
    grant(&admin, "binder", rules).await;
    let binder = hub.client("binder", &[]);
    let bindings = "namespaces/default/rolebindings";
    bind(&binder, bindings, "friend", "Role", "strong").await.expect(201);
    bind(&binder, bindings, "friend", "Role", "other").await.refused(403, "Forbidden");
}

#[tokio::test]
async fn requests_in_the_name_of_another_are_refused() {
    let hub = TestHub::start().await;
    for (name, value) in [
        ("impersonate-user", "system:admin"),
        ("impersonate-group", "system:masters"),
        ("impersonate-uid", "1"),
        ("impersonate-extra-scopes", "x"),
    ] {
        for client in [hub.admin(), hub.client("nobody", &["system:masters"])] {
            let answer = client.header(name, value).get(MAPS).await;
            let message = answer.refused(403, "Forbidden");
            assert!(message.contains("impersonation is not served"), "{message}");
        }
    }
}

#[tokio::test]
async fn credentials_that_prove_nothing_are_told_apart_from_none() {
    let hub = TestHub::start().await;
    let anonymous = hub.anonymous();
    anonymous.get(MAPS).await.refused(403, "Forbidden");
    for credential in ["Bearer token", "Basic dTpw"] {
        anonymous.header("authorization", credential).get(MAPS).await.refused(401, "Unauthorized");
    }
}

#[tokio::test]
async fn a_user_without_the_right_to_enter_learns_nothing_of_a_workspace() {
    let hub = TestHub::start().await;
    let stranger = hub.client("stranger", &[]);
    let existing = stranger.get(MAPS).await;
    let absent = stranger.within("root:none").get(MAPS).await;
    let malformed = stranger.within("root:No_ne").get(MAPS).await;
    existing.refused(403, "Forbidden");
    assert_eq!(existing.json(), absent.json());
    assert_eq!(existing.json(), malformed.json());
}

async fn allowed(client: &Client, kind: &str, spec: &str) -> bool {
    let path = format!("/apis/authorization.k8s.io/v1/{kind}");
    let review = client.post(&path, &yaml(&format!("{{spec: {spec}}}"))).await.expect(201);
    review.at(&["status", "allowed"]).and_then(Value::as_bool).unwrap()
}

#[tokio::test]
async fn reviews_answer_as_requests_would_be() {
    let hub = TestHub::start().await;
    let admin = hub.admin();
    grant(&admin, "reader", "[{apiGroups: [''], resources: [configmaps], verbs: [get]}]").await;
    let reader = hub.client("reader", &[]);
    let of = |verb: &str, namespace: &str| {
        format!(
            "resourceAttributes: {{verb: {verb}, resource: configmaps, namespace: {namespace}}}"
        )
    };
    for (verb, namespace, expected) in
        [("get", "default", true), ("list", "default", false), ("get", "kube-system", false)]
    {
        let attributes = of(verb, namespace);
        let own = format!("{{{attributes}}}");
        assert_eq!(allowed(&reader, "selfsubjectaccessreviews", &own).await, expected);
        let other = format!("{{user: reader, {attributes}}}");
        assert_eq!(allowed(&admin, "subjectaccessreviews", &other).await, expected);
        let local = format!("namespaces/{namespace}/localsubjectaccessreviews");
        assert_eq!(allowed(&admin, &local, &other).await, expected);
    }
    let path = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let elsewhere = yaml(&format!("{{spec: {{user: reader, {}}}}}", of("get", "kube-system")));
    admin.post(path, &elsewhere).await.refused(422, "Invalid");
    let both = yaml("{spec: {resourceAttributes: {}, nonResourceAttributes: {}}}");
    let own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    admin.post(own, &both).await.refused(422, "Invalid");

    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let review = reader.post(rules, &yaml("{spec: {namespace: default}}")).await.expect(201);
    let found = review.array_at(&["status", "resourceRules"]);
    assert!(
        found.iter().any(|rule| rule.array_at(&["resources"])[0].as_str() == Some("configmaps"))
    );
    let me = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = reader.post(me, &Value::object()).await.expect(201);
    assert_eq!(review.str_at(&["status", "userInfo", "username"]), Some("reader"));
}
