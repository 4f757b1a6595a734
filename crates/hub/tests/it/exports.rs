//! Exports: schemas, identities, where they are reached, and what is kept of them.

use strait_machinery::json::Value;

use crate::harness::{TestHub, yaml};
use crate::tenants::{
    BINDINGS, EXPORTS, SCHEMAS, SLICES, WIDGETS, condition, export, schema, widget,
};

const SECRETS: &str = "/api/v1/namespaces/kcp-system/secrets";

#[tokio::test]
async fn reserved_and_malformed_schemas_are_refused_and_good_ones_stay_as_they_are() {
    let hub = TestHub::start().await;
    let root = hub.workspace("root:provider").await;
    let changed = |path: &[&str], value: &str| {
        let mut schema = schema("v1", "widgets", "Widget");
        schema.set(path, value);
        schema
    };
    for (mut object, field) in [
        (changed(&["spec", "group"], "relay.strait.dev"), "spec.group"),
        (changed(&["spec", "group"], "tenancy.kcp.io"), "spec.group"),
        (changed(&["spec", "group"], "plain"), "spec.group"),
        (changed(&["spec", "group"], "new.k8s.io"), "metadata.annotations"),
        (changed(&["metadata", "name"], "widgets.example.io"), "metadata.name"),
        (changed(&["metadata", "name"], "1.widgets.example.io"), "metadata.name"),
    ] {
        if field != "metadata.name" {
            let group = object.str_at(&["spec", "group"]).unwrap().to_owned();
            object.set(&["metadata", "name"], format!("v1.widgets.{group}"));
        }
        let message = root.create(SCHEMAS, &object).await.refused(422, "Invalid");
        assert!(message.contains(field), "{field}: {message}");
    }
    root.export("widgets", &[("widgets", "Widget")]).await;
    let object = format!("{SCHEMAS}/v1.widgets.example.io");
    let patch = yaml("{spec: {names: {singular: other}}}");
    let message = root.merge(&object, &patch).await.refused(422, "Invalid");
    assert!(message.contains("spec is immutable"), "{message}");
    // It stays while it is exported.
    let message = root.delete(&object).await.refused(409, "Conflict");
    assert!(message.contains("exported by the APIExport \"widgets\""), "{message}");
    root.delete(&format!("{EXPORTS}/widgets")).await.expect(200);
    root.delete(&object).await.expect(200);
}

#[tokio::test]
async fn an_identity_is_the_hash_of_its_secret_and_never_changes() {
    let hub = TestHub::start().await;
    let root = hub.workspace("root:provider").await;
    // Made by the server.
    let made = root.export("widgets", &[("widgets", "Widget")]).await;
    assert_eq!(condition(&made, "IdentityValid").0, "True");
    let reference = |key: &str| made.str_at(&["spec", "identity", "secretRef", key]).unwrap();
    assert_eq!((reference("namespace"), reference("name")), ("kcp-system", "widgets"));
    let secret = root.get(&format!("{SECRETS}/widgets")).await.expect(200);
    assert!(secret.str_at(&["data", "key"]).is_some());
    // Given by the provider, after the export (the published pair of key and hash).
    let mut given = export("given", &[]);
    let wanted = yaml("{namespace: default, name: mine}");
    given.set(&["spec", "identity", "secretRef"], wanted);
    root.create(EXPORTS, &given).await.expect(201);
    let invalid = |own: &Value| condition(own, "IdentityValid").0 == "False";
    let own = root.wait(EXPORTS, "given", invalid).await;
    assert_eq!(condition(&own, "IdentityValid").1, "IdentityVerificationFailed");
    assert_eq!(own.str_at(&["status", "identityHash"]), None);
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = yaml("{metadata: {name: mine}, stringData: {key: abcd1234}}");
    root.create(secrets, &secret).await.expect(201);
    let valid = |own: &Value| condition(own, "IdentityValid").0 == "True";
    let own = root.wait(EXPORTS, "given", valid).await;
    let expected = "e9cee71ab932fde863338d08be4de9dfe39ea049bdafb342ce659ec5450b69ae";
    assert_eq!(own.str_at(&["status", "identityHash"]), Some(expected));
    // Changed or lost, it is kept and the export says so.
    for change in ["{stringData: {key: other}}", "{data: {key: null}}"] {
        root.merge(&format!("{secrets}/mine"), &yaml(change)).await.expect(200);
        let own = root.wait(EXPORTS, "given", invalid).await;
        assert_eq!(condition(&own, "IdentityValid").1, "IdentityVerificationFailed");
        assert_eq!(own.str_at(&["status", "identityHash"]), Some(expected));
        root.merge(&format!("{secrets}/mine"), &yaml("{stringData: {key: abcd1234}}"))
            .await
            .expect(200);
        root.wait(EXPORTS, "given", valid).await;
    }
}

#[tokio::test]
async fn an_endpoint_is_there_before_any_binding_and_stays_right() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("widgets", &[("widgets", "Widget")]).await;
    let cluster = provider.cluster().await;
    let url = format!("{}/services/apiexport/{cluster}/widgets", hub.hub().url());
    let has_url = |own: &Value| {
        let endpoints = own.array_at(&["status", "endpoints"]);
        endpoints.len() == 1 && endpoints[0].str_at(&["url"]) == Some(&*url)
    };
    let slice = provider.wait(SLICES, "widgets", has_url).await;
    assert_eq!(condition(&slice, "APIExportValid").0, "True");
    assert_eq!(condition(&slice, "PartitionValid").0, "True");
    // Deleted, it is made again.
    let uid = slice.str_at(&["metadata", "uid"]).unwrap().to_owned();
    provider.delete(&format!("{SLICES}/widgets")).await.expect(200);
    let newer = |own: &Value| own.str_at(&["metadata", "uid"]) != Some(&*uid);
    provider.wait(SLICES, "widgets", newer).await;
    // One of another name, elsewhere, ahead of its export.
    let other = hub.workspace("root:other").await;
    let slice = "{metadata: {name: far}, spec: {export: {path: 'root:provider', name: later}}}";
    other.create(SLICES, &yaml(slice)).await.expect(201);
    let absent = |own: &Value| condition(own, "APIExportValid").1 == "APIExportNotFound";
    let slice = other.wait(SLICES, "far", absent).await;
    assert!(slice.array_at(&["status", "endpoints"]).is_empty());
    let mut skipping = export("later", &[]);
    skipping.set(&["metadata", "annotations", "apiexports.apis.kcp.io/skip-endpointslice"], "true");
    provider.create(EXPORTS, &skipping).await.expect(201);
    let there = |own: &Value| own.array_at(&["status", "endpoints"]).len() == 1;
    other.wait(SLICES, "far", there).await;
    provider.get(&format!("{SLICES}/later")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn what_nobody_binds_any_more_is_not_kept() {
    let hub = TestHub::start().await;
    let provider = hub.workspace("root:provider").await;
    provider.export("widgets", &[("widgets", "Widget")]).await;
    let schema = provider.get(&format!("{SCHEMAS}/v1.widgets.example.io")).await.expect(200);
    let name = schema.str_at(&["metadata", "uid"]).unwrap().to_owned();
    let kept = hub.admin().within("system:bound-crds");
    let copy = format!("{SCHEMAS}/{name}");
    let (one, two) = (hub.workspace("root:one").await, hub.workspace("root:two").await);
    for _ in 0..3 {
        kept.get(&copy).await.refused(404, "NotFound");
        one.bind("widgets", "root:provider", "widgets").await;
        two.bind("widgets", "root:provider", "widgets").await;
        kept.get(&copy).await.expect(200);
        one.delete(&format!("{BINDINGS}/widgets")).await.expect(200);
        one.gone(BINDINGS, "widgets").await;
        kept.get(&copy).await.expect(200);
        two.create(WIDGETS, &widget("a")).await.expect(201);
        two.delete(&format!("{BINDINGS}/widgets")).await.expect(200);
        kept.gone(SCHEMAS, &name).await;
    }
}
