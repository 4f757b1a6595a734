//! What the tests of this crate share.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use strait_runtime::{Clock, ManualClock, SeededEntropy};
use strait_types::HubId;

use crate::authority::Authority;

/// 2026-01-01T00:00:00Z.
pub(crate) const NOW: i64 = 1_767_225_600;

pub(crate) fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_second(NOW).unwrap()))
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    manual_clock()
}

pub(crate) fn authority() -> Authority {
    authority_at(clock())
}

pub(crate) fn authority_at(clock: Arc<dyn Clock>) -> Authority {
    let hub = HubId::from_random([0; 16]);
    Authority::create(&hub, clock, Arc::new(SeededEntropy::new(1))).unwrap()
}

pub(crate) const fn day() -> Duration {
    Duration::from_secs(86_400)
}

/// A handshake in memory. The error is the first that either side met, the client's first.
pub(crate) fn handshake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: &'static str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name).unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        let served = server.process_new_packets();
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
        served?;
    }
    Ok((client, server))
}
