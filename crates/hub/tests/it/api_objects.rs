//! Creating, reading, replacing and deleting objects.

use futures_util::future::join_all;
use http::Method;

use crate::harness::{TestHub, names, revision, yaml};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn an_object_is_made_read_and_deleted() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let map = yaml("{metadata: {name: a}, data: {k: v}}");
    let made = client.post(MAPS, &map).await.expect(201);
    assert_eq!(made.str_at(&["data", "k"]), Some("v"));
    assert_eq!(made.str_at(&["metadata", "namespace"]), Some("default"));
    assert_eq!(client.get(&format!("{MAPS}/a")).await.expect(200), made);

    let again = client.post(MAPS, &map).await.refused(409, "AlreadyExists");
    assert_eq!(again, "configmaps \"a\" already exists");

    let gone = client.delete(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(gone.str_at(&["status"]), Some("Success"));
    assert_eq!(gone.str_at(&["details", "uid"]), made.str_at(&["metadata", "uid"]));
    let missing = client.get(&format!("{MAPS}/a")).await.refused(404, "NotFound");
    assert_eq!(missing, "configmaps \"a\" not found");
    client.delete(&format!("{MAPS}/a")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn names_are_generated() {
    let hub = TestHub::start().await;
    let map = yaml("{metadata: {generateName: made-}}");
    let first = hub.admin().post(MAPS, &map).await.expect(201);
    let second = hub.admin().post(MAPS, &map).await.expect(201);
    let name = |object: &strait_machinery::json::Value| {
        object.str_at(&["metadata", "name"]).unwrap().to_owned()
    };
    assert_ne!(name(&first), name(&second));
    assert!(name(&first).starts_with("made-") && name(&first).len() == 10);
}

#[tokio::test]
async fn what_is_not_such_an_object_is_refused() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let long = "a".repeat(254);
    for (body, code, reason, part) in [
        ("{", 400, "BadRequest", "json parse error"),
        ("", 400, "BadRequest", "(<empty>)"),
        ("[]", 400, "BadRequest", "unrecognized"),
        (r#"{"metadata":{"name":"x"}} y"#, 400, "BadRequest", "json parse error"),
        (r#"{"kind":"Secret","apiVersion":"v1"}"#, 400, "BadRequest", "ConfigMap"),
        (r#"{"kind":"ConfigMap","apiVersion":"v2"}"#, 400, "BadRequest", "version \"v2\""),
        (r#"{"data":{"k":1}}"#, 400, "BadRequest", "cannot unmarshal number"),
        (r#"{"metadata":{"name":1}}"#, 400, "BadRequest", "cannot unmarshal number"),
        ("{}", 422, "Invalid", "name or generateName is required"),
        (r#"{"metadata":{"name":"A_b"}}"#, 422, "Invalid", "RFC 1123 subdomain"),
        (
            r#"{"metadata":{"name":"x","labels":{"a b":"c"}}}"#,
            422,
            "Invalid",
            "metadata.labels: Invalid value: \"a b\"",
        ),
        (r#"{"metadata":{"name":"x"},"data":{"..":"c"}}"#, 422, "Invalid", "data[..]"),
        (
            r#"{"metadata":{"name":"x","namespace":"other"}}"#,
            400,
            "BadRequest",
            "does not match the namespace sent on the request",
        ),
        (
            r#"{"metadata":{"name":"x","resourceVersion":"1"}}"#,
            500,
            "",
            "resourceVersion should not be set on objects to be created",
        ),
        (&format!(r#"{{"metadata":{{"name":"{long}"}}}}"#), 422, "Invalid", "no more than 253"),
    ] {
        let answer = client.send_bytes(Method::POST, MAPS, body.to_owned().into()).await;
        let message = answer.refused(code, reason);
        assert!(message.contains(part), "{body}: {message}");
    }
    assert_eq!(names(&client.get(MAPS).await.expect(200)), ["kube-root-ca.crt"]);
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_what_a_creation_fails_by() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    for body in ["{metadata: {name: a}}", "{metadata: {name: A_b}}", "{}"] {
        let answer = client.post("/api/v1/namespaces/nowhere/configmaps", &yaml(body)).await;
        assert_eq!(answer.refused(404, "NotFound"), "namespaces \"nowhere\" not found");
    }
}

#[tokio::test]
async fn a_namespace_goes_with_what_is_in_it() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let spaces = "/api/v1/namespaces";
    client.post(spaces, &yaml("{metadata: {name: space}}")).await.expect(201);
    let held = yaml("{metadata: {name: a, finalizers: [x.io/held]}}");
    client.post(&format!("{spaces}/space/configmaps"), &held).await.expect(201);
    let deleted = client.delete(&format!("{spaces}/space")).await.expect(200);
    assert_eq!(deleted.str_at(&["status", "phase"]), Some("Terminating"));
    assert!(deleted.at(&["metadata", "deletionGracePeriodSeconds"]).is_none());

    let late =
        client.post(&format!("{spaces}/space/configmaps"), &yaml("{metadata: {name: b}}")).await;
    let message = late.refused(403, "Forbidden");
    assert!(message.ends_with("in namespace space because it is being terminated"), "{message}");

    let mut gone =
        client.watch(&format!("{spaces}?watch=true&fieldSelector=metadata.name=space")).await;
    let free = yaml("{metadata: {finalizers: null}}");
    client.merge(&format!("{spaces}/space/configmaps/a"), &free).await.expect(200);
    while gone.next().await.str_at(&["type"]) != Some("DELETED") {}
    client.get(&format!("{spaces}/space")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_replacement_must_be_of_that_object_as_it_is() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    let first = client.post(MAPS, &yaml("{metadata: {name: a}, data: {n: '1'}}")).await.expect(201);
    let mut second = first.clone();
    second.set(&["data", "n"], "2");
    let second = client.put(&path, &second).await.expect(200);
    assert!(revision(&second) > revision(&first));

    let stale = client.put(&path, &first).await.refused(409, "Conflict");
    assert_eq!(
        stale,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    for (body, code, reason) in [
        ("{metadata: {name: b}}", 400, "BadRequest"),
        ("{data: {}}", 400, "BadRequest"),
        ("{metadata: {name: a, namespace: other}}", 400, "BadRequest"),
        ("{metadata: {name: a, uid: other}}", 409, "Conflict"),
        ("{metadata: {name: a, deletionTimestamp: '2020-01-01T00:00:00Z'}}", 422, "Invalid"),
    ] {
        client.put(&path, &yaml(body)).await.refused(code, reason);
    }
    client.put(&format!("{MAPS}/b"), &yaml("{metadata: {name: b}}")).await.refused(404, "NotFound");
    assert_eq!(client.get(&path).await.expect(200), second);

    let unconditional = client.put(&path, &yaml("{metadata: {name: a}}")).await.expect(200);
    assert!(unconditional.get("data").is_none());
}

#[tokio::test]
async fn of_many_replacements_of_one_revision_exactly_one_wins() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    let seen = client.post(MAPS, &yaml("{metadata: {name: a}}")).await.expect(201);
    let writes = (0..8).map(|writer| {
        let (client, path, mut next) = (client.clone(), path.clone(), seen.clone());
        next.set(&["data", "winner"], writer.to_string());
        async move { client.put(&path, &next).await }
    });
    let answers = join_all(writes).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        lost.refused(409, "Conflict");
    }
    assert_eq!(client.get(&path).await.expect(200), won[0].json());
}

#[tokio::test]
async fn what_only_the_server_sets_stays() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    let forged = yaml(
        "{metadata: {name: a, uid: forged, creationTimestamp: '2020-01-01T00:00:00Z', generation: 7,
          selfLink: /x, deletionTimestamp: '2020-01-01T00:00:00Z', deletionGracePeriodSeconds: 5}}",
    );
    let made = client.post(MAPS, &forged).await.expect(201);
    let meta = |key: &'static str| made.at(&["metadata", key]).cloned();
    assert_ne!(made.str_at(&["metadata", "uid"]), Some("forged"));
    assert_ne!(made.str_at(&["metadata", "creationTimestamp"]), Some("2020-01-01T00:00:00Z"));
    for key in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        assert_eq!(meta(key), None, "{key}");
    }
    let later =
        yaml("{metadata: {name: a, creationTimestamp: '2020-01-01T00:00:00Z'}, data: {k: v}}");
    let replaced = client.put(&path, &later).await.expect(200);
    assert_eq!(replaced.at(&["metadata", "creationTimestamp"]).cloned(), meta("creationTimestamp"));
    let patch = yaml("{metadata: {creationTimestamp: null, uid: null, resourceVersion: null}}");
    assert_eq!(client.merge(&path, &patch).await.expect(200), replaced);
}

#[tokio::test]
async fn a_replacement_by_the_same_is_none() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    let made = client.post(MAPS, &yaml("{metadata: {name: a}, data: {k: v}}")).await.expect(201);
    assert_eq!(client.put(&path, &made).await.expect(200), made);
    assert_eq!(client.merge(&path, &yaml("{data: {k: v}}")).await.expect(200), made);
    assert_eq!(client.patch("json-patch", &path, "[]").await.expect(200), made);
}

#[tokio::test]
async fn revisions_rise_across_kinds() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let mut last = 0;
    for (path, body) in [
        (MAPS, "{metadata: {name: a}}"),
        ("/api/v1/namespaces/default/secrets", "{metadata: {name: a}}"),
        ("/api/v1/namespaces", "{metadata: {name: a}}"),
        ("/apis/coordination.k8s.io/v1/namespaces/default/leases", "{metadata: {name: a}}"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", "{metadata: {name: a}, rules: []}"),
        (MAPS, "{metadata: {name: b}}"),
    ] {
        let made = client.post(path, &yaml(body)).await.expect(201);
        assert!(revision(&made) > last, "{path}");
        last = revision(&made);
    }
}

#[tokio::test]
async fn finalizers_hold_an_object_that_is_deleted() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    let held = yaml("{metadata: {name: a, finalizers: [x.io/one, x.io/two]}}");
    client.post(MAPS, &held).await.expect(201);
    let waiting = client.delete(&path).await.expect(200);
    assert!(waiting.at(&["metadata", "deletionTimestamp"]).is_some());
    assert_eq!(
        client.delete(&path).await.expect(200),
        waiting,
        "a second deletion changes nothing"
    );
    let again = client.post(MAPS, &yaml("{metadata: {name: a}}")).await;
    let message = again.refused(409, "AlreadyExists");
    assert_eq!(message, "object is being deleted: configmaps \"a\" already exists");

    let more = yaml("{metadata: {finalizers: [x.io/one, x.io/two, x.io/three]}}");
    let message = client.merge(&path, &more).await.refused(422, "Invalid");
    assert!(message.contains("found new finalizers []string{\"x.io/three\"}"), "{message}");

    let one = yaml("{metadata: {finalizers: [x.io/two]}}");
    let left = client.merge(&path, &one).await.expect(200);
    assert!(left.at(&["metadata", "deletionTimestamp"]).is_some());
    let none = yaml("{metadata: {finalizers: null}}");
    let last = client.merge(&path, &none).await.expect(200);
    assert!(revision(&last) > revision(&left));
    client.get(&path).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_deletion_may_be_meant_for_one_state_only() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    let made = client.post(MAPS, &yaml("{metadata: {name: a}}")).await.expect(201);
    let (uid, version) = ("uid", "resourceVersion");
    for (key, value) in [(uid, "other"), (version, "1")] {
        let options = yaml(&format!("{{preconditions: {{{key}: '{value}'}}}}"));
        client.send(Method::DELETE, &path, Some(&options)).await.refused(409, "Conflict");
    }
    let of = |key: &str| made.str_at(&["metadata", key]).unwrap().to_owned();
    let options = yaml(&format!(
        "{{preconditions: {{uid: {}, resourceVersion: '{}'}}}}",
        of(uid),
        of(version)
    ));
    client.send(Method::DELETE, &path, Some(&options)).await.expect(200);
}

#[tokio::test]
async fn a_deletion_that_asks_for_what_is_not_served_deletes_nothing() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    client.post(MAPS, &yaml("{metadata: {name: a}}")).await.expect(201);
    for (options, code) in [
        ("{", 400),
        (r#"{"kind":"ConfigMap","apiVersion":"v1"}"#, 400),
        (r#"{"gracePeriodSeconds":"x"}"#, 400),
        (r#"{"propagationPolicy":"Foreground"}"#, 422),
        (r#"{"propagationPolicy":"Background","orphanDependents":true}"#, 422),
        (r#"{"dryRun":["some"]}"#, 422),
    ] {
        let answer = client.send_bytes(Method::DELETE, &path, options.to_owned().into()).await;
        assert_eq!(answer.status, code, "{options}: {}", answer.text());
    }
    for query in ["gracePeriodSeconds=x", "dryRun=x", "propagationPolicy=Orphan"] {
        let answer = client.delete(&format!("{path}?{query}")).await;
        assert!(answer.status.is_client_error(), "{query}");
    }
    client.get(&path).await.expect(200);
}

#[tokio::test]
async fn a_collection_is_deleted_as_far_as_selected() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    for (name, label) in [("a", "x"), ("b", "x"), ("c", "z")] {
        let map = format!("{{metadata: {{name: {name}, labels: {{l: {label}}}}}}}");
        client.post(MAPS, &yaml(&map)).await.expect(201);
    }
    let dry = client.delete(&format!("{MAPS}?labelSelector=l%3Dx&dryRun=All")).await.expect(200);
    assert_eq!(names(&dry), ["a", "b"]);
    let deleted = client.delete(&format!("{MAPS}?labelSelector=l%3Dx")).await.expect(200);
    assert_eq!(names(&deleted), ["a", "b"]);
    assert_eq!(names(&client.get(MAPS).await.expect(200)), ["c", "kube-root-ca.crt"]);
    client.delete("/api/v1/configmaps").await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn a_dry_run_answers_and_stores_nothing() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = format!("{MAPS}/a");
    client.post(MAPS, &yaml("{metadata: {name: a}}")).await.expect(201);
    let before = client.get(MAPS).await.expect(200);
    let dry = client.post(&format!("{MAPS}?dryRun=All"), &yaml("{metadata: {name: b}}")).await;
    let dry = dry.expect(201);
    assert!(dry.at(&["metadata", "resourceVersion"]).is_none());
    client
        .post(&format!("{MAPS}?dryRun=All"), &yaml("{metadata: {name: a}}"))
        .await
        .refused(409, "AlreadyExists");
    let changed = yaml("{metadata: {name: a}, data: {k: v}}");
    client.put(&format!("{path}?dryRun=All"), &changed).await.expect(200);
    client.merge(&format!("{path}?dryRun=All"), &changed).await.expect(200);
    client.delete(&format!("{path}?dryRun=All")).await.expect(200);
    let message =
        client.post(&format!("{MAPS}?dryRun=some"), &changed).await.refused(422, "Invalid");
    assert!(message.contains("dryRun: Unsupported value"), "{message}");
    assert_eq!(client.get(MAPS).await.expect(200).get("items"), before.get("items"));
}

#[tokio::test]
async fn fields_that_are_unknown_or_come_twice_are_said() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let body = r#"{"metadata":{"name":"a","odd":1},"data":{"k":"1","k":"2"},"odd":{}}"#;
    let send = |validation: &str| {
        let path = format!("{MAPS}?dryRun=All&fieldValidation={validation}");
        let client = client.clone();
        async move { client.send_bytes(Method::POST, &path, body.into()).await }
    };
    let strict = send("Strict").await.refused(400, "BadRequest");
    let said = r#"unknown field "metadata.odd", duplicate field "data.k", unknown field "odd""#;
    assert!(strict.ends_with(said), "in the order of the text: {strict}");
    for validation in ["Warn", ""] {
        let warned = send(validation).await;
        let made = warned.expect(201);
        assert_eq!(made.str_at(&["data", "k"]), Some("2"), "the last one counts");
        let warnings: Vec<_> = warned.headers.get_all("warning").iter().collect();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
    }
    let ignored = send("Ignore").await;
    ignored.expect(201);
    assert!(!ignored.headers.contains_key("warning"));
    send("Sometimes").await.refused(422, "Invalid");
}

#[tokio::test]
async fn owners_that_come_twice_are_kept_once() {
    let hub = TestHub::start().await;
    let owner = "{apiVersion: v1, kind: ConfigMap, name: o, uid: u}";
    let map = yaml(&format!("{{metadata: {{name: a, ownerReferences: [{owner}, {owner}]}}}}"));
    let answer = hub.admin().post(MAPS, &map).await;
    assert_eq!(answer.expect(201).array_at(&["metadata", "ownerReferences"]).len(), 1);
    let warning = answer.headers["warning"].to_str().unwrap();
    assert!(warning.contains("contains duplicate entries"), "{warning}");
}

#[tokio::test]
async fn status_is_written_apart_from_the_rest() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = "/api/v1/namespaces/default";
    let status = yaml(
        "{metadata: {labels: {l: x}}, spec: {finalizers: [x.io/y]},
          status: {conditions: [{type: Mine, status: 'True'}]}}",
    );
    let before = client.get(path).await.expect(200);
    let written = client.merge(&format!("{path}/status"), &status).await.expect(200);
    assert_eq!(written.get("spec"), before.get("spec"));
    assert_eq!(written.array_at(&["status", "conditions"]).len(), 1);
    let kept = client.merge(path, &yaml("{status: {conditions: null}}")).await.expect(200);
    assert_eq!(kept.array_at(&["status", "conditions"]).len(), 1);
}

#[tokio::test]
async fn leases_and_roles_are_made_by_replacing_what_is_not_there() {
    let hub = TestHub::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let client = hub.admin();
    let lease = yaml("{metadata: {name: a}, spec: {holderIdentity: me}}");
    let made = client.put(&format!("{leases}/a"), &lease).await.expect(201);
    let without = client.put(&format!("{leases}/a"), &lease).await.refused(422, "Invalid");
    assert!(without.contains("must be specified for an update"), "{without}");
    client.put(&format!("{leases}/a"), &made).await.expect(200);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let hub = TestHub::start().await;
    let made = hub.admin().post(MAPS, &yaml("{metadata: {name: a}}")).await.expect(201);
    let hub = hub.restart().await;
    let client = hub.admin();
    assert_eq!(client.get(&format!("{MAPS}/a")).await.expect(200), made);
    let next = client.post(MAPS, &yaml("{metadata: {name: b}}")).await.expect(201);
    assert!(revision(&next) > revision(&made));
}
