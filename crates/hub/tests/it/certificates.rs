//! Who a connection is, by its certificate.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use strait_pki::{Authority, ClientIdentity, ClientSubject};
use strait_runtime::{Clock, ManualClock, SystemClock, SystemEntropy};
use strait_types::HubId;

use crate::harness::TestHub;

const HOUR: Duration = Duration::from_secs(3600);

/// A certificate for the user `admin` in `system:masters`, issued by an authority when it was
/// that time there.
fn masters(authority: &Authority) -> ClientIdentity {
    let subject =
        ClientSubject { user: "admin".into(), group: Some("system:masters".into()), uri: None };
    let issued = authority.issue_client(&subject, HOUR).unwrap();
    let key = issued.key_pem().unwrap();
    let certificate = issued.certificate_pem();
    ClientIdentity::from_pem(certificate.as_bytes(), key.expose().as_bytes()).unwrap()
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_nobodys() {
    let hub = TestHub::start().await;
    let other = HubId::from_random([7; 16]);
    let other = Authority::create(&other, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap();
    let client = hub.client_with(Some(masters(&other)));
    for path in ["/api/v1/namespaces", "/api", "/version", "/api/v1/namespaces?watch=true"] {
        client.get(path).await.refused(401, "Unauthorized");
    }
}

#[tokio::test]
async fn a_certificate_whose_time_is_over_is_refused() {
    let hub = TestHub::start().await;
    let past = Timestamp::now() - SignedDuration::from_hours(2);
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(past));
    let pki = hub.directory().join("pki");
    let authority = Authority::load(&pki, clock, Arc::new(SystemEntropy)).unwrap().unwrap();
    let client = hub.client_with(Some(masters(&authority)));
    client.get("/api/v1/namespaces").await.refused(401, "Unauthorized");
}

#[tokio::test]
async fn without_a_certificate_only_health_is_open() {
    let hub = TestHub::start().await;
    let nobody = hub.anonymous();
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(nobody.below("").get(path).await.text(), "ok", "{path}");
    }
    for path in ["/metrics", "/clusters/root/api/v1/secrets", "/clusters/root/readyz", "/api"] {
        nobody.below("").get(path).await.refused(403, "Forbidden");
    }
}
