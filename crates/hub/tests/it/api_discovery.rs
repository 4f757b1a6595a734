//! What a client learns of the server: kinds, their schemas, the version.

use std::collections::BTreeSet;

use strait_machinery::json::Value;

use crate::harness::{Client, TestHub};

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.str_at(&[key]).unwrap()
}

/// `group/version resource verbs` of everything, as the aggregated form says it.
async fn aggregated(client: &Client) -> BTreeSet<String> {
    let client = client.header("accept", AGGREGATED);
    let mut found = BTreeSet::new();
    for path in ["/api", "/apis"] {
        let answer = client.get(path).await;
        let content_type = answer.headers["content-type"].to_str().unwrap();
        assert_eq!(
            content_type,
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        );
        for group in answer.expect(200).array_at(&["items"]) {
            let name = group.str_at(&["metadata", "name"]).unwrap_or_default();
            for version in group.array_at(&["versions"]) {
                for resource in version.array_at(&["resources"]) {
                    let plural = text(resource, "resource");
                    let line = |name: &str, of: &Value| {
                        let verbs: Vec<_> =
                            of.array_at(&["verbs"]).iter().filter_map(Value::as_str).collect();
                        verbs.join(",") + " " + name
                    };
                    let prefix = format!("{name}/{} ", text(version, "version"));
                    found.insert(prefix.clone() + &line(plural, resource));
                    for below in resource.array_at(&["subresources"]) {
                        let name = format!("{plural}/{}", text(below, "subresource"));
                        found.insert(prefix.clone() + &line(&name, below));
                    }
                }
            }
        }
    }
    found
}

/// The same as [`aggregated`], as the older form says it.
async fn legacy(client: &Client) -> BTreeSet<String> {
    let mut versions = vec![("/api/v1".to_owned(), "/v1".to_owned())];
    for group in client.get("/apis").await.expect(200).array_at(&["groups"]) {
        for version in group.array_at(&["versions"]) {
            let version = text(version, "groupVersion");
            versions.push((format!("/apis/{version}"), version.to_owned()));
        }
        client.get(&format!("/apis/{}", text(group, "name"))).await.expect(200);
    }
    let mut found = BTreeSet::new();
    for (path, version) in versions {
        for resource in client.get(&path).await.expect(200).array_at(&["resources"]) {
            let verbs: Vec<_> =
                resource.array_at(&["verbs"]).iter().filter_map(Value::as_str).collect();
            found.insert(format!("{version} {} {}", verbs.join(","), text(resource, "name")));
        }
    }
    found
}

#[tokio::test]
async fn both_forms_of_discovery_say_the_same() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let (aggregated, legacy) = (aggregated(&client).await, legacy(&client).await);
    assert_eq!(aggregated, legacy);
    for line in [
        "/v1 create,delete,deletecollection,get,list,patch,update,watch configmaps",
        "/v1 get,patch,update namespaces/status",
        "authorization.k8s.io/v1 create selfsubjectaccessreviews",
    ] {
        assert!(aggregated.contains(line), "{line}");
    }
}

#[tokio::test]
async fn documents_are_known_by_their_tag() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    for (path, accept) in [
        ("/api", AGGREGATED),
        ("/apis", AGGREGATED),
        ("/openapi/v2", "application/json"),
        ("/openapi/v3", "*/*"),
        ("/openapi/v3/api/v1", "*/*"),
    ] {
        let client = client.header("accept", accept);
        let first = client.get(path).await;
        assert_eq!(first.status, 200, "{path}");
        let tag = first.headers["etag"].to_str().unwrap();
        let known = client.header("if-none-match", tag).get(path).await;
        assert_eq!((known.status.as_u16(), known.body.len()), (304, 0), "{path}");
        client.header("if-none-match", "\"other\"").get(path).await.expect(200);
    }
}

#[tokio::test]
async fn every_stored_kind_is_described() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let index = client.get("/openapi/v3").await.expect(200);
    let mut described = BTreeSet::new();
    for (path, at) in index.get("paths").unwrap().as_object().unwrap().iter() {
        let url = text(at, "serverRelativeURL");
        let document = client.get(url).await;
        let caching = document.headers["cache-control"].to_str().unwrap();
        assert!(caching.contains("immutable"), "{path}: {caching}");
        let moved = client.get(&format!("/openapi/v3/{path}?hash=OLD")).await;
        assert_eq!(moved.status, 301);
        let document = document.expect(200);
        let schemas = document.at(&["components", "schemas"]).unwrap().as_object().unwrap();
        for (_, schema) in schemas.iter() {
            for kind in schema.array_at(&["x-kubernetes-group-version-kind"]) {
                let of = |key: &str| kind.str_at(&[key]).unwrap_or_default();
                described.insert(format!("{}/{} {}", of("group"), of("version"), of("kind")));
            }
        }
    }
    for group in
        client.header("accept", AGGREGATED).get("/apis").await.expect(200).array_at(&["items"])
    {
        for version in group.array_at(&["versions"]) {
            for resource in version.array_at(&["resources"]) {
                // Group and version are those around it.
                let kind = resource.str_at(&["responseKind", "kind"]).unwrap();
                let group = group.str_at(&["metadata", "name"]).unwrap();
                let line = format!("{group}/{} {kind}", text(version, "version"));
                assert!(described.contains(&line), "{line}");
            }
        }
    }
    let older = client.get("/openapi/v2").await.expect(200);
    let name = "io.k8s.api.core.v1.ConfigMap";
    assert!(older.at(&["definitions", name, "properties", "data"]).is_some());
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let older = client.header("accept", protobuf).get("/openapi/v2").await;
    assert!(older.body.starts_with(b"\x0a\x032.0") && older.text().contains(name));
}

#[tokio::test]
async fn the_version_says_which_kubernetes_this_is_like() {
    let hub = TestHub::start().await;
    for client in [hub.admin(), hub.anonymous().below("")] {
        let version = client.get("/version").await.expect(200);
        assert_eq!((text(&version, "major"), text(&version, "minor")), ("1", "34"));
        assert!(text(&version, "gitVersion").starts_with("v1.34.0"));
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_allowed_are_told_apart() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    for path in [
        "/none",
        "/api/v2",
        "/api/v2/configmaps",
        "/apis/none.io",
        "/apis/none.io/v1",
        "/apis/none.io/v1/things",
        "/api/v1/namespaces/default/things",
        "/api/v1/namespaces/default/configmaps/a/status",
        "/api/v1/namespaces/default/namespaces",
        "/api/v1/configmaps/a",
        "/openapi/v3/apis/none.io/v1",
    ] {
        let message = client.get(path).await.refused(404, "NotFound");
        assert_eq!(message, "the server could not find the requested resource", "{path}");
    }
    let empty = Value::object();
    for (method, path) in [
        ("POST", "/api/v1/configmaps"),
        ("PUT", "/api/v1/namespaces/default/configmaps"),
        ("POST", "/api/v1/namespaces/default/configmaps/a"),
        ("DELETE", "/api/v1/namespaces"),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("POST", "/version"),
        ("OPTIONS", "/api/v1/namespaces"),
    ] {
        let answer = client.send(method.parse().unwrap(), path, Some(&empty)).await;
        answer.refused(405, "MethodNotAllowed");
    }
}

#[tokio::test]
async fn health_is_open_to_everybody() {
    let hub = TestHub::start().await;
    let client = hub.anonymous().below("");
    for path in ["/livez", "/readyz", "/healthz", "/readyz/ping"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status.as_u16(), &*answer.text()), (200, "ok"), "{path}");
    }
    let verbose = client.get("/readyz?verbose").await.text();
    assert!(
        verbose.contains("[+]store ok\n") && verbose.ends_with("readyz check passed\n"),
        "{verbose}"
    );
    assert_eq!(client.get("/readyz/none").await.status, 404);
}
