//! Service objects: the hub makes them, people say how they are exposed.

use crate::harness::{TestHub, yaml};

const SERVICES: &str = "/apis/relay.strait.dev/v1alpha1/services";

const CI: &str = "{apiVersion: relay.strait.dev/v1alpha1, kind: Service,
  metadata: {name: ci.smith}, spec: {agent: smith, name: ci, type: jenkins}}";

#[tokio::test]
async fn people_change_how_a_service_is_exposed_and_nothing_else() {
    let hub = TestHub::start().await;
    let server = hub.admin();
    let workspace = hub.workspace("root:acme").await;
    workspace.bind("relay", "root", "relay.strait.dev").await;
    workspace.make_administrator("alice").await;
    let alice = hub.client("alice", &[]).within("root:acme");
    let server = server.within("root:acme");

    alice.post(SERVICES, &yaml(CI)).await.refused(403, "Forbidden");
    let misnamed = CI.replace("ci.smith", "other.smith");
    server.post(SERVICES, &yaml(&misnamed)).await.refused(422, "Invalid");
    let made = server.post(SERVICES, &yaml(CI)).await.expect(201);
    assert_eq!(made.at(&["spec", "exposure", "path"]), Some(&true.into()));

    let ci = format!("{SERVICES}/ci.smith");
    let exposed = "{spec: {exposure: {raw: true}, limits: {concurrent: 3}}}";
    let exposed = alice.merge(&ci, &yaml(exposed)).await.expect(200);
    assert_eq!(exposed.at(&["spec", "limits", "concurrent"]), Some(&3.into()));
    alice.merge(&ci, &yaml("{spec: {type: http}}")).await.refused(403, "Forbidden");
    alice.merge(&ci, &yaml("{spec: {agent: jones}}")).await.refused(422, "Invalid");
    let status = yaml("{status: {protocols: [http1]}}");
    alice.merge(&format!("{ci}/status"), &status).await.refused(403, "Forbidden");
    server.merge(&format!("{ci}/status"), &status).await.expect(200);
    let review = |verb: &str, subresource: &str| {
        yaml(&format!(
            "{{apiVersion: authorization.k8s.io/v1, kind: SelfSubjectAccessReview,
              spec: {{resourceAttributes: {{group: relay.strait.dev, resource: services,
              subresource: {subresource}, name: ci.smith, verb: {verb}}}}}}}"
        ))
    };
    for (verb, subresource, allowed) in [
        ("get", "connect", true),
        ("create", "connect", true),
        ("create", "credentials", true),
        ("update", "status", false),
    ] {
        let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = alice.post(reviews, &review(verb, subresource)).await.expect(201);
        let decided = answer.at(&["status", "allowed"]);
        assert_eq!(decided, Some(&allowed.into()), "{verb} {subresource}: {answer}");
    }
    alice.delete(&ci).await.expect(200);
}
