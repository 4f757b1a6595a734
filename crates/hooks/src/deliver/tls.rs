//! The TLS configuration of a backend, from files that may change.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ClientConfig;
use sha2::{Digest, Sha256};
use strait_net::TlsSource;
use strait_pki::{ClientIdentity, TrustBundle, client_config, unverified_client_config};
use strait_runtime::Clock;
use strait_runtime::fs::read_capped;

use crate::config::BackendTls;

/// Bytes of a file with certificates or a key.
const FILE_BYTES_MAX: usize = 1 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Reads a backend's files at each new connection, and makes a configuration when they changed:
/// a certificate that was renewed is used from then on.
pub(super) fn source(tls: &BackendTls, clock: Arc<dyn Clock>) -> TlsSource {
    let tls = tls.clone();
    let last: Mutex<Option<([u8; 32], Arc<ClientConfig>)>> = Mutex::default();
    Arc::new(move || {
        let files = Files::read(&tls)?;
        let (digest, mut last) = (files.digest(), last.lock());
        if let Some((before, config)) = &*last
            && *before == digest
        {
            return Ok(config.clone());
        }
        let config = files.config(tls.insecure, clock.clone())?;
        *last = Some((digest, config.clone()));
        Ok(config)
    })
}

struct Files {
    authorities: Option<Vec<u8>>,
    /// Certificates and key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    fn read(tls: &BackendTls) -> Result<Self, BoxError> {
        let read = |path: &Path| read_capped(path, FILE_BYTES_MAX);
        let authorities = tls.authorities.as_deref().map(read).transpose()?;
        let identity = match &tls.identity {
            Some(identity) => Some((read(&identity.certificates)?, read(&identity.key)?)),
            None => None,
        };
        Ok(Self { authorities, identity })
    }

    fn digest(&self) -> [u8; 32] {
        let identity = self.identity.as_ref().map(|(certificates, key)| [certificates, key]);
        let parts = self.authorities.iter().chain(identity.into_iter().flatten());
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn config(&self, insecure: bool, clock: Arc<dyn Clock>) -> Result<Arc<ClientConfig>, BoxError> {
        let identity = match &self.identity {
            Some((certificates, key)) => Some(ClientIdentity::from_pem(certificates, key)?),
            None => None,
        };
        if insecure {
            return Ok(unverified_client_config(identity, clock)?);
        }
        let authorities = match &self.authorities {
            Some(pem) => TrustBundle::from_pem(pem)?,
            None => TrustBundle::of_machine()?,
        };
        Ok(client_config(&authorities, identity, clock)?)
    }
}
