//! Clients of the hub, by the agent's own certificate and by whatever way leads there.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy;
use hyper_util::rt::TokioTimer;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use parking_lot::Mutex;
use rustls::ClientConfig;
use strait_reconcile::{ClientError, Clients};
use strait_relay::HTTP_PROTOCOL;
use strait_relay::agent::Membership;
use strait_relay::dial::DialError;
use strait_runtime::TaskSet;
use tower_service::Service;

use crate::member::Member;
use crate::wire::Wire;

/// Servers whose clients are kept; beyond that all are made anew.
const CLIENTS_MAX: usize = 64;

/// How long a connection is kept that is not used: a hub closes it after 30 s.
const IDLE: Duration = Duration::from_secs(20);

/// A server that the agent has no business with.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not an address of the hub that this agent joined")]
struct Foreign(Uri);

/// Makes clients for the hub's addresses and for no other: URLs come in endpoint slices, so from
/// the other side. Where the agent was told another address, that one is connected to in their
/// place. A renewed certificate is used from the next call on.
pub(crate) struct HubClients {
    member: Member,
    tasks: TaskSet,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by: Option<Arc<Membership>>,
    clients: HashMap<Uri, kube::Client>,
}

impl HubClients {
    pub(crate) fn new(member: Member, tasks: TaskSet) -> Self {
        Self { member, tasks, kept: Mutex::default() }
    }

    fn make(&self, server: &Uri, membership: &Membership) -> Result<kube::Client, ClientError> {
        let tls = self.member.tls(membership, HTTP_PROTOCOL)?;
        let connector = Connector { member: self.member.clone(), tls };
        let client = legacy::Client::builder(Daemons(self.tasks.clone()))
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build::<_, Body>(connector);
        let base = kube::Config::new(server.clone()).base_uri_layer();
        Ok(ClientBuilder::new(client, "default").with_layer(&base).build())
    }
}

impl Clients for HubClients {
    fn client(&self, server: &Uri) -> Result<kube::Client, ClientError> {
        let membership = self.member.now();
        let told = self.member.told_address();
        if !is_hub(server, membership.addresses.iter().map(String::as_str).chain(told)) {
            return Err(Foreign(server.clone()).into());
        }
        let mut kept = self.kept.lock();
        let is_current = kept.by.as_ref().is_some_and(|by| Arc::ptr_eq(by, &membership));
        if !is_current || kept.clients.len() >= CLIENTS_MAX {
            kept.clients.clear();
        }
        if let Some(client) = kept.clients.get(server) {
            return Ok(client.clone());
        }
        let client = self.make(server, &membership)?;
        kept.by = Some(membership);
        kept.clients.insert(server.clone(), client.clone());
        Ok(client)
    }
}

/// Makes connections for calls.
#[derive(Clone)]
struct Connector {
    member: Member,
    tls: Arc<ClientConfig>,
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let Self { member, tls } = self.clone();
        Box::pin(async move {
            let way = member.way(&[address(&server).unwrap_or_default()]);
            let (_, io) = member.ways().connect(&way, tls).await?;
            Ok(Wire::new(io))
        })
    }
}

/// Runs connections for as long as the agent.
#[derive(Clone)]
struct Daemons(TaskSet);

impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for Daemons {
    fn execute(&self, connection: F) {
        self.0.spawn_daemon("hub-connection", async { drop(connection.await) });
    }
}

/// Host and port of a URL.
fn address(server: &Uri) -> Option<String> {
    let authority = server.authority()?;
    Some(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(443)))
}

fn is_hub<'a>(server: &Uri, mut addresses: impl Iterator<Item = &'a str>) -> bool {
    let secure = server.scheme_str() == Some("https");
    let plain = server.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let address = address(server).filter(|_| secure && plain);
    address.is_some_and(|address| addresses.any(|own| own.eq_ignore_ascii_case(&address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hubs_own_addresses_are_called() {
        let addresses = ["hub.example:6443", "[::1]:443"];
        for (url, own) in [
            ("https://hub.example:6443/services/apiexport/a/b", true),
            ("https://HUB.example:6443/", true),
            ("https://[::1]/", true),
            ("http://hub.example:6443/", false),
            ("https://hub.example/", false),
            ("https://hub.example.evil:6443/", false),
            ("https://hub.example:6443@evil/", false),
            ("https://x@hub.example:6443/", false),
            ("/services", false),
        ] {
            assert_eq!(is_hub(&url.parse().unwrap(), addresses.into_iter()), own, "{url}");
        }
    }
}
