//! What an Agent object takes back ends at once, with everything that lives by it.

use std::time::{Duration, Instant};

use strait_relay::RENEW_PATH;

use crate::credentials::SERVICES;
use crate::fake_agent::{Acme, CI, FakeAgent};
use crate::harness::yaml;
use crate::joining::{AGENTS, Installation, refused, token};
use crate::services::offer;
use crate::streams::{assert_cut, stay};

/// Until the last byte, from the acknowledgement.
const WITHIN: Duration = Duration::from_secs(2);

#[tokio::test]
async fn connections_of_a_certificate_that_is_not_honoured_any_more_end_within_two_seconds() {
    for what in ["suspended", "revokedBefore", "revokedSerials", "deleted"] {
        let acme = Acme::new().await;
        let installation = Installation::new();
        let token = token(&acme.alice, "smith", "{}").await;
        let member = installation.join(&acme.hub, &token).await;
        let mut agent = FakeAgent::connect(&member, &[offer("ci", "h1")]).await;
        acme.alice.wait(SERVICES, "ci.smith", |_| true).await;
        let open = stay(&acme.alice, &mut agent, CI).await;
        let object = format!("{AGENTS}/smith");
        let stored = acme.alice.get(&object).await.expect(200);
        let instance = &stored.array_at(&["status", "instances"])[0];
        let serial = instance.str_at(&["certificate", "serial"]).unwrap();
        let patch = match what {
            "suspended" => "{spec: {suspended: true}}".to_owned(),
            "revokedBefore" => "{spec: {revokedBefore: '2999-01-01T00:00:00Z'}}".to_owned(),
            _ => format!("{{spec: {{revokedSerials: ['{serial}']}}}}"),
        };
        match what {
            "deleted" => acme.alice.delete(&object).await.expect(200),
            _ => acme.alice.merge(&object, &yaml(&patch)).await.expect(200),
        };
        let begun = Instant::now();
        assert_cut(open).await;
        assert!(begun.elapsed() < WITHIN, "{what}: {:?}", begun.elapsed());
        member.within("root:acme").get(&object).await.refused(401, "Unauthorized");
        refused(&renewed(&member, &installation).await, 403, "CertificateRefused");
    }
}

async fn renewed(
    member: &crate::harness::Client,
    installation: &Installation,
) -> crate::harness::Answer {
    let csr = installation.key.to_csr_pem().unwrap();
    member.below("").post(RENEW_PATH, &strait_machinery::object! {"csr": csr}).await
}

#[tokio::test]
async fn an_agent_that_renews_without_end_is_held_back_and_others_are_not() {
    const TIMES: usize = 128;
    let acme = Acme::new().await;
    crate::joining::make_agent(&acme.alice, "jones", "{}").await;
    let [smith, jones] = [(); 2].map(|()| Installation::new());
    let mut members = Vec::new();
    for (name, installation) in [("smith", &smith), ("jones", &jones)] {
        let token = token(&acme.alice, name, "{}").await;
        members.push(installation.join(&acme.hub, &token).await);
    }
    for _ in 0..TIMES {
        renewed(&members[0], &smith).await.expect(200);
    }
    refused(&renewed(&members[0], &smith).await, 429, "TooManyRequests");
    renewed(&members[1], &jones).await.expect(200);
}
