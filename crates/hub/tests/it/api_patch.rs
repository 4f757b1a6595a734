//! Patches of every type.

use futures_util::future::join_all;
use strait_machinery::json::parse;

use crate::harness::{TestHub, names, revision, yaml};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn each_type_of_patch_does_what_it_says() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{ACCOUNTS}/a");
    let account = yaml("{metadata: {name: a}, secrets: [{name: one}, {name: two}]}");
    client.post(ACCOUNTS, &account).await.expect(201);
    for (kind, patch, secrets) in [
        (
            "json-patch",
            r#"[{"op":"add","path":"/secrets/0","value":{"name":"nil"}}]"#,
            "nil one two",
        ),
        ("json-patch", r#"[{"op":"remove","path":"/secrets/0"}]"#, "one two"),
        ("strategic-merge-patch", r#"{"secrets":[{"name":"three"}]}"#, "three one two"),
        ("strategic-merge-patch", r#"{"secrets":[{"$patch":"delete","name":"one"}]}"#, "three two"),
        ("merge-patch", r#"{"secrets":[{"name":"four"}]}"#, "four"),
        ("merge-patch", r#"{"secrets":null}"#, ""),
    ] {
        let patched = client.patch(kind, &path, patch).await.expect(200);
        let found: Vec<_> = patched
            .array_at(&["secrets"])
            .iter()
            .map(|one| one.str_at(&["name"]).unwrap())
            .collect();
        assert_eq!(found.join(" "), secrets, "{kind} {patch}");
    }
}

#[tokio::test]
async fn a_patch_that_does_not_apply_changes_nothing() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    let made = client.post(MAPS, &yaml("{metadata: {name: a}, data: {k: v}}")).await.expect(201);
    for (kind, patch, code, reason) in [
        ("json-patch", "{}", 400, "BadRequest"),
        ("json-patch", "[", 400, "BadRequest"),
        ("json-patch", r#"[{"op":"test","path":"/data/k","value":"w"}]"#, 422, "Invalid"),
        ("json-patch", r#"[{"op":"remove","path":"/data/none"}]"#, 422, "Invalid"),
        ("json-patch", r#"[{"op":"add","path":"/none/at/all","value":1}]"#, 422, "Invalid"),
        ("json-patch", r#"[{"op":"remove","path":"/metadata/name"}]"#, 400, "BadRequest"),
        ("merge-patch", "[]", 400, "BadRequest"),
        ("merge-patch", "{", 400, "BadRequest"),
        ("merge-patch", r#"{"data":{"k":1}}"#, 422, "Invalid"),
        ("merge-patch", r#"{"metadata":{"name":"b"}}"#, 400, "BadRequest"),
        ("merge-patch", r#"{"metadata":{"namespace":"b"}}"#, 400, "BadRequest"),
        ("merge-patch", r#"{"metadata":{"uid":"b"}}"#, 422, "Invalid"),
        ("merge-patch", r#"{"metadata":{"labels":{"a b":"c"}}}"#, 422, "Invalid"),
        ("strategic-merge-patch", r#"{"data":{"k":1}}"#, 422, "Invalid"),
        ("strategic-merge-patch", "[]", 400, "BadRequest"),
    ] {
        let answer = client.patch(kind, &path, patch).await;
        assert_eq!(answer.status, code, "{kind} {patch}: {}", answer.text());
        answer.refused(code, reason);
    }
    assert_eq!(client.get(&path).await.expect(200), made);
    client.patch("merge-patch", &format!("{MAPS}/none"), "{}").await.refused(404, "NotFound");
}

#[tokio::test]
async fn what_strict_validation_finds_refuses_a_patch() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    client.post(MAPS, &yaml("{metadata: {name: a}}")).await.expect(201);
    let strict = format!("{MAPS}/a?fieldValidation=Strict");
    let patch = r#"{"odd":1,"data":{"k":"1","k":"2"}}"#;
    let message = client.patch("merge-patch", &strict, patch).await.refused(422, "Invalid");
    assert!(message.contains("unknown field \"odd\""), "{message}");
    assert!(message.contains("duplicate field \"data.k\""), "{message}");
    let warned = client.patch("merge-patch", &format!("{MAPS}/a"), patch).await;
    warned.expect(200);
    assert_eq!(warned.headers.get_all("warning").iter().count(), 2);
}

#[tokio::test]
async fn a_patch_that_names_a_revision_is_meant_for_it_alone() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    let first = client.post(MAPS, &yaml("{metadata: {name: a}}")).await.expect(201);
    let pinned = |value: &str, revision: u64| {
        format!(r#"{{"metadata":{{"resourceVersion":"{revision}"}},"data":{{"k":"{value}"}}}}"#)
    };
    let patch = pinned("one", revision(&first));
    let second = client.patch("merge-patch", &path, &patch).await.expect(200);
    client
        .patch("merge-patch", &path, &pinned("two", revision(&first)))
        .await
        .refused(409, "Conflict");
    assert_eq!(client.get(&path).await.expect(200), second);
}

#[tokio::test]
async fn patches_at_once_all_take_effect() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    client.post(MAPS, &yaml("{metadata: {name: a}}")).await.expect(201);
    let patches = (0..4).map(|writer| {
        let (client, path) = (client.clone(), path.clone());
        let patch = format!(r#"{{"data":{{"k{writer}":"v"}}}}"#);
        async move { client.patch("merge-patch", &path, &patch).await.expect(200) }
    });
    join_all(patches).await;
    let all = client.get(&path).await.expect(200);
    assert_eq!(all.get("data").unwrap().as_object().unwrap().len(), 4);
}

#[tokio::test]
async fn other_types_of_patch_are_refused_by_name() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    client.post(MAPS, &yaml("{metadata: {name: a}}")).await.expect(201);
    let path = format!("{MAPS}/a?fieldManager=me");
    let builtin = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";
    for media_type in ["application/apply-patch+yaml", "application/json", "text/plain"] {
        let client = client.header("content-type", media_type);
        let answer = client.send_bytes(http::Method::PATCH, &path, "{}".into()).await;
        assert_eq!(answer.refused(415, "UnsupportedMediaType"), builtin);
    }
    // Kinds that are described by a schema have no merge keys.
    let workspaces = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
    client
        .post(
            workspaces,
            &yaml("{apiVersion: tenancy.kcp.io/v1alpha1, kind: Workspace, metadata: {name: w}}"),
        )
        .await
        .expect(201);
    let answer = client.patch("strategic-merge-patch", &format!("{workspaces}/w"), "{}").await;
    let message = answer.refused(415, "UnsupportedMediaType");
    assert!(!message.contains("strategic"), "{message}");
}

/// A kind with a member of any form, served by the workspace `root` to itself.
async fn serve_notes(client: &crate::harness::Client) -> &'static str {
    let schema = "
        apiVersion: apis.kcp.io/v1alpha1
        kind: APIResourceSchema
        metadata: {name: v1.notes.example.io}
        spec:
          group: example.io
          names: {kind: Note, listKind: NoteList, plural: notes, singular: note}
          scope: Cluster
          versions:
          - name: v1
            served: true
            storage: true
            schema:
              type: object
              properties:
                spec: {type: object, x-kubernetes-preserve-unknown-fields: true}";
    let export = "
        apiVersion: apis.kcp.io/v1alpha2
        kind: APIExport
        metadata: {name: example.io}
        spec:
          resources:
          - {group: example.io, name: notes, schema: v1.notes.example.io, storage: {crd: {}}}";
    let binding = "
        apiVersion: apis.kcp.io/v1alpha2
        kind: APIBinding
        metadata: {name: example.io}
        spec: {reference: {export: {path: root, name: example.io}}}";
    client.post("/apis/apis.kcp.io/v1alpha1/apiresourceschemas", &yaml(schema)).await.expect(201);
    client.post("/apis/apis.kcp.io/v1alpha2/apiexports", &yaml(export)).await.expect(201);
    let bindings = "/apis/apis.kcp.io/v1alpha2/apibindings";
    client.post(bindings, &yaml(binding)).await.expect(201);
    client
        .wait(bindings, "example.io", |it| it.str_at(&["status", "phase"]) == Some("Bound"))
        .await;
    "/apis/example.io/v1/notes"
}

#[tokio::test]
async fn numbers_keep_their_text() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let notes = serve_notes(&client).await;
    let numbers = r#"{"big":9007199254740993,"exp":1e3,"neg":-0.0,"one":1.0,"tiny":1E-7}"#;
    let body = format!(
        r#"{{"apiVersion":"example.io/v1","kind":"Note","metadata":{{"name":"a"}},"spec":{numbers}}}"#
    );
    let made = client.send_bytes(http::Method::POST, notes, body.into()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("{notes}/a");
    let patched = client.patch("merge-patch", &path, r#"{"spec":{"more":2.50}}"#).await;
    let appended = client
        .patch("json-patch", &path, r#"[{"op":"add","path":"/spec/most","value":1.10}]"#)
        .await;
    let listed = client.get(notes).await;
    for answer in [&made, &patched, &appended, &listed, &client.get(&path).await] {
        for text in ["9007199254740993", ":1e3", ":-0.0", ":1.0", ":1E-7"] {
            assert!(answer.text().contains(text), "{text}: {}", answer.text());
        }
    }
    assert!(appended.text().contains(":2.50") && appended.text().contains(":1.10"));
    assert_eq!(names(&parse(&listed.body).unwrap()), ["a"]);
}

#[tokio::test]
async fn kinds_of_a_schema_tell_what_they_do_not_know() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let notes = serve_notes(&client).await;
    let body = r#"{"odd":1,"apiVersion":"example.io/v1","kind":"Note",
        "metadata":{"name":"a","odd":1,"finalizers":["plain"]},"spec":{"x":1,"x":{"k":1,"k":2}}}"#;
    let strict = format!("{notes}?fieldValidation=Strict");
    let strict = client.send_bytes(http::Method::POST, &strict, body.into()).await;
    assert_eq!(
        strict.refused(400, "BadRequest"),
        r#"Note in version "v1" cannot be handled as a Note: strict decoding error: duplicate field "spec.x", duplicate field "spec.x.k", unknown field "metadata.odd", unknown field "odd""#
    );
    let made = client.send_bytes(http::Method::POST, notes, body.into()).await;
    made.expect(201);
    let warnings: Vec<_> =
        made.headers.get_all("warning").iter().map(|one| one.to_str().unwrap()).collect();
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    assert_eq!(warnings[3], r#"299 - "unknown field \"odd\"""#);
    assert!(warnings[4].contains(r#"\"plain\": prefer a domain-qualified"#), "{warnings:?}");
    let patched = client.patch("merge-patch", &format!("{notes}/a"), r#"{"spec":{"y":1}}"#).await;
    patched.expect(200);
    assert!(!patched.headers.contains_key("warning"), "only what is new is warned of");
}
