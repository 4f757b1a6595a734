//! Clients of the hub, by the agent's own certificate.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use kube::config::AuthInfo;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use strait_reconcile::{ClientError, Clients};
use strait_relay::agent::Membership;

use crate::member::Member;

/// Servers whose clients are kept; beyond that all are made anew.
const CLIENTS_MAX: usize = 64;

/// A server that the agent has no business with.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not an address of the hub that this agent joined")]
struct Foreign(Uri);

/// Makes clients for the hub's addresses and for no other: URLs come in endpoint slices, so from
/// the other side. Where the agent was told another address, that one is called in their place.
/// A renewed certificate is used from the next call on.
pub(crate) struct HubClients {
    member: Member,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by: Option<Arc<Membership>>,
    clients: HashMap<Uri, kube::Client>,
}

impl HubClients {
    pub(crate) fn new(member: Member) -> Self {
        Self { member, kept: Mutex::default() }
    }

    fn make(&self, server: &Uri, membership: &Membership) -> Result<kube::Client, ClientError> {
        let mut config = kube::Config::new(server.clone());
        let authority = self.member.authority();
        let roots = CertificateDer::pem_slice_iter(authority.as_bytes());
        let roots = roots.map(|root| root.map(|der| der.to_vec())).collect::<Result<_, _>>()?;
        config.root_cert = Some(roots);
        config.auth_info = AuthInfo {
            client_certificate_data: Some(STANDARD.encode(&membership.certificate)),
            client_key_data: Some(STANDARD.encode(membership.key.expose()).into()),
            ..AuthInfo::default()
        };
        Ok(kube::Client::try_from(config)?)
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
        let target = told.map_or_else(|| Ok(server.clone()), |told| at(server, told))?;
        let client = self.make(&target, &membership)?;
        kept.by = Some(membership);
        kept.clients.insert(server.clone(), client.clone());
        Ok(client)
    }
}

/// A URL at another address.
fn at(server: &Uri, address: &str) -> Result<Uri, http::Error> {
    let mut parts = server.clone().into_parts();
    parts.authority = Some(address.parse()?);
    Ok(Uri::from_parts(parts)?)
}

fn is_hub<'a>(server: &Uri, mut addresses: impl Iterator<Item = &'a str>) -> bool {
    let Some(authority) = server.authority().filter(|_| server.scheme_str() == Some("https"))
    else {
        return false;
    };
    let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(443));
    !authority.as_str().contains('@') && addresses.any(|own| own.eq_ignore_ascii_case(&address))
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

    #[test]
    fn an_address_that_was_told_takes_the_others_place() {
        let url: Uri = "https://hub.example:6443/services/a".parse().unwrap();
        assert_eq!(at(&url, "10.0.0.1:443").unwrap(), "https://10.0.0.1:443/services/a");
    }
}
