//! Objects over the wire.

use crate::harness::{TestHub, yaml};

#[tokio::test]
async fn creates_reads_and_deletes_an_object() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let path = "/api/v1/namespaces/default/configmaps";
    let map = yaml("{metadata: {name: a}, data: {k: v}}");
    let made = client.post(path, &map).await.expect(201);
    assert_eq!(made.str_at(&["data", "k"]), Some("v"));
    let read = client.get(&format!("{path}/a")).await.expect(200);
    assert_eq!(read, made);
    client.delete(&format!("{path}/a")).await.expect(200);
    client.get(&format!("{path}/a")).await.refused(404, "NotFound");
}
