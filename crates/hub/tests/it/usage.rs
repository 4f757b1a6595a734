//! What the connections of agents carry, as operators of a workspace see it.

use strait_machinery::json::Value;

use crate::fake_agent::{Acme, CI, ask};
use crate::harness::PATIENCE;
use crate::streams::stay;

const METRICS: &str = "/apis/relay.strait.dev/v1alpha1/agentmetrics";

fn number(one: &Value, key: &str) -> i64 {
    one.at(&["status", key]).and_then(Value::as_i64).unwrap_or_else(|| panic!("{key}: {one}"))
}

#[tokio::test]
async fn a_workspace_sees_what_its_own_agents_carry() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let alice = &acme.alice;
    for _ in 0..3 {
        assert_eq!(ask(alice, &mut agent).await.status, 200);
    }
    let (body, stream) = stay(alice, &mut agent, CI).await;
    let all = alice.get(METRICS).await.expect(200);
    let [one] = all.array_at(&["items"]) else { panic!("{all}") };
    assert_eq!(one.str_at(&["spec", "agent"]), Some("smith"));
    assert_eq!((number(one, "connections"), number(one, "requests")), (1, 4));
    assert_eq!(number(one, "streams"), 1, "{one}");
    assert!(number(one, "bytesIn") > 0 && number(one, "bytesOut") > 0, "{one}");
    let each = &one.array_at(&["status", "each"])[0];
    assert_eq!(each.str_at(&["address"]), Some("127.0.0.1"));
    assert_eq!(each.at(&["requests"]), Some(&4.into()));
    let name = one.str_at(&["metadata", "name"]).unwrap();
    let path = format!("{METRICS}/{name}");
    assert_eq!(alice.get(&path).await.expect(200).at(&["spec"]), one.at(&["spec"]));
    let table = alice.header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table = table.get(METRICS).await.expect(200);
    let cells = table.array_at(&["rows"])[0].array_at(&["cells"]);
    assert_eq!(cells[..4], [name.into(), "smith".into(), 1.into(), 1.into()]);
    for (query, count) in [
        ("fieldSelector=spec.agent%3Dsmith", 1),
        ("fieldSelector=spec.agent%3Djones", 0),
        ("labelSelector=a", 0),
    ] {
        let list = alice.get(&format!("{METRICS}?{query}")).await.expect(200);
        assert_eq!(list.array_at(&["items"]).len(), count, "{query}");
    }
    alice.get(&format!("{METRICS}?fieldSelector=spec.user%3Dx")).await.refused(400, "BadRequest");
    alice.get(&format!("{METRICS}?watch=true")).await.refused(405, "MethodNotAllowed");
    alice.delete(&path).await.refused(405, "MethodNotAllowed");

    // Nobody else's.
    let other = acme.hub.workspace("root:other").await;
    other.bind("relay", "root", "relay.strait.dev").await;
    assert!(other.get(METRICS).await.expect(200).array_at(&["items"]).is_empty());
    other.get(&path).await.refused(404, "NotFound");
    let bob = acme.hub.client("bob", &[]).within("root:acme");
    bob.get(METRICS).await.refused(403, "Forbidden");
    bob.get(&path).await.refused(403, "Forbidden");

    drop((body, stream));
    agent.leave().await;
    let gone = async { while alice.get(&path).await.status != 404 {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("who is gone carries nothing");
}
