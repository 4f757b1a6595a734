//! How bodies are written and read: media types, tables, metadata alone, protobuf.

use http::Method;

use crate::harness::{TestHub, names, yaml};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

#[tokio::test]
async fn clients_choose_the_form_of_answers() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    client.post(MAPS, &yaml("{metadata: {name: a}, data: {k: v}}")).await.expect(201);
    let path = format!("{MAPS}/a");
    for (accept, content_type, part) in [
        ("*/*", "application/json", "{\"apiVersion\":\"v1\","),
        ("application/yaml", "application/yaml", "\ndata:\n  k: v\n"),
        ("application/vnd.kubernetes.protobuf,application/json", "application/json", "\"k\":\"v\""),
        ("application/json;q=0.1,application/yaml", "application/yaml", "kind: ConfigMap\n"),
    ] {
        let answer = client.header("accept", accept).get(&path).await;
        assert_eq!(answer.headers["content-type"], content_type, "{accept}");
        assert!(answer.text().contains(part), "{accept}: {}", answer.text());
    }
    let pretty = client.get(&format!("{path}?pretty=true")).await;
    assert!(pretty.text().starts_with("{\n  \"apiVersion\""), "{}", pretty.text());
    for accept in ["text/html", "application/json;as=Book;v=v1;g=meta.k8s.io"] {
        client.header("accept", accept).get(&path).await.refused(406, "NotAcceptable");
    }
}

#[tokio::test]
async fn tables_have_columns_and_rows() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    client.post(MAPS, &yaml("{metadata: {name: a}, data: {k: v, l: w}}")).await.expect(201);
    let tables = client.header("accept", TABLE);
    let table = tables.get(&format!("{MAPS}?labelSelector=!none")).await.expect(200);
    assert_eq!(table.str_at(&["kind"]), Some("Table"));
    let columns: Vec<_> = table
        .array_at(&["columnDefinitions"])
        .iter()
        .map(|one| one.str_at(&["name"]).unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    let row = &table.array_at(&["rows"])[0];
    assert_eq!(row.array_at(&["cells"])[0].as_str(), Some("a"));
    assert_eq!(row.array_at(&["cells"])[1].as_i64(), Some(2));
    assert_eq!(row.str_at(&["object", "kind"]), Some("PartialObjectMetadata"));
    assert!(row.at(&["object", "data"]).is_none());

    for (include, kind) in [("Object", Some("ConfigMap")), ("None", None)] {
        let table = tables.get(&format!("{MAPS}?includeObject={include}")).await.expect(200);
        assert_eq!(table.array_at(&["rows"])[0].str_at(&["object", "kind"]), kind);
    }
    let empty = tables.get(&format!("{MAPS}?labelSelector=none")).await.expect(200);
    assert_eq!(empty.get("rows").unwrap().as_array(), Some(&[][..]));
    tables.get(&format!("{MAPS}?includeObject=Some")).await.refused(400, "BadRequest");
    let review = yaml("{spec: {nonResourceAttributes: {path: /, verb: get}}}");
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    tables.post(reviews, &review).await.refused(406, "NotAcceptable");
}

#[tokio::test]
async fn metadata_comes_alone_where_it_is_asked_for() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let made = client.post(MAPS, &yaml("{metadata: {name: a}, data: {k: v}}")).await.expect(201);
    let of = |kind: &str| {
        client.header("accept", &format!("application/json;as={kind};v=v1;g=meta.k8s.io"))
    };
    let one = of("PartialObjectMetadata").get(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(one.str_at(&["kind"]), Some("PartialObjectMetadata"));
    assert_eq!(one.get("metadata"), made.get("metadata"));
    assert!(one.get("data").is_none());
    let list = of("PartialObjectMetadataList").get(MAPS).await.expect(200);
    assert_eq!(list.str_at(&["kind"]), Some("PartialObjectMetadataList"));
    assert_eq!(names(&list), ["a", "kube-root-ca.crt"]);
}

#[tokio::test]
async fn bodies_may_be_yaml_or_protobuf() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let send = |media_type: &'static str, path: &'static str, body: &'static [u8]| {
        let client = client.header("content-type", media_type);
        async move { client.send_bytes(Method::POST, path, body.into()).await }
    };
    let written = b"metadata:\n  name: a\ndata:\n  key: 'yes'\n";
    let map = send("application/yaml", MAPS, written).await.expect(201);
    assert_eq!(map.str_at(&["data", "key"]), Some("yes"));

    // Unknown{typeMeta{v1, Namespace}, raw: Namespace{metadata{name: n}}}.
    let namespace = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x05\x0a\x03\x0a\x01n";
    let spaces = "/api/v1/namespaces";
    let protobuf = "application/vnd.kubernetes.protobuf";
    let made = send(protobuf, spaces, namespace).await.expect(201);
    assert_eq!(made.str_at(&["metadata", "name"]), Some("n"));

    send("text/plain", MAPS, b"{}").await.refused(415, "UnsupportedMediaType");
    send(";", MAPS, b"{}").await.refused(415, "UnsupportedMediaType");
    send("application/yaml", MAPS, b"a: [").await.refused(400, "BadRequest");
    send(protobuf, spaces, b"k8s\0\xff").await.refused(400, "BadRequest");
    send(protobuf, spaces, b"{}").await.refused(400, "BadRequest");
    send("application/json; charset=utf-8", MAPS, br#"{"metadata":{"name":"b"}}"#)
        .await
        .expect(201);
}
