//! kill -9 in a loop.

use super::chance::Chance;
use super::hub::Hub;
use super::load::Ledger;

const ROUNDS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hub_acknowledged_or_showed_survives_kill_9() {
    let mut chance = Chance::new();
    let home = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        let hub = Hub::start(home.path(), "127.0.0.1:0");
        let access = hub.access(home.path());
        ledger.check(&access).await.unwrap_or_else(|lost| panic!("round {round}: {lost}"));
        ledger.work_and_kill(hub, &access, 1 + chance.below(200)).await;
    }
    let hub = Hub::start(home.path(), "127.0.0.1:0");
    ledger.check(&hub.access(home.path())).await.unwrap();
    hub.stop();
}
