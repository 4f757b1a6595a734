//! The TLS of connections to a service: files that are read as they are when one is made.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ClientConfig;
use strait_pki::{ClientIdentity, PkiError, TrustBundle, service_client_config};
use strait_runtime::Clock;
use strait_types::Report;

use crate::services::{Credential, Credentials, Disk, Files, Trust};

/// What is offered to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// No protocol by name.
    Nothing,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Either.
    Both,
}

impl Offered {
    fn names(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Nothing => &[],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Both => &[b"h2", b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// Gives the configuration of a new connection.
#[derive(Clone)]
pub(super) struct TlsSource(Arc<Shared>);

struct Shared {
    trust: Trust,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Last>>,
}

/// What was read last, and what was made of it: sessions are resumed while it stays the same.
struct Last {
    authorities: Vec<u8>,
    credential: Credential,
    config: Arc<ClientConfig>,
}

impl TlsSource {
    pub(super) fn new(trust: Trust, credentials: &Credentials, clock: Arc<dyn Clock>) -> Self {
        let credentials = match credentials {
            Credentials::ClientCertificate { .. } => credentials.clone(),
            _ => Credentials::None,
        };
        Self(Arc::new(Shared { trust, credentials, clock, last: Mutex::default() }))
    }

    /// The name that the certificate must be for, where it is not the host's.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.0.trust.server_name.as_deref()
    }

    pub(super) fn has_own_authorities(&self) -> bool {
        self.0.trust.ca_file.is_some()
    }

    /// Reads the files. Where that fails, what was read before goes on being used.
    ///
    /// # Errors
    /// Nothing usable was ever read; for this machine's log.
    pub(super) async fn config(&self, offered: Offered) -> Result<Arc<ClientConfig>, String> {
        let shared = self.0.clone();
        let read = tokio::task::spawn_blocking(move || shared.read());
        let mut config = read.await.map_err(|error| error.to_string())??;
        if offered != Offered::Nothing {
            Arc::make_mut(&mut config).alpn_protocols = offered.names();
        }
        Ok(config)
    }
}

impl Shared {
    fn read(&self) -> Result<Arc<ClientConfig>, String> {
        let fresh = self.fresh();
        let mut last = self.last.lock();
        match (fresh, &*last) {
            (Ok((authorities, credential)), Some(last))
                if last.authorities == authorities && last.credential.is_same(&credential) =>
            {
                Ok(last.config.clone())
            }
            (Ok((authorities, credential)), before) => {
                match (self.make(&authorities, &credential), before) {
                    (Ok(config), _) => {
                        *last = Some(Last { authorities, credential, config: config.clone() });
                        Ok(config)
                    }
                    (Err(error), Some(last)) => Ok(last.stay(&Report(&error).to_string())),
                    (Err(error), None) => Err(Report(&error).to_string()),
                }
            }
            (Err(error), Some(last)) => Ok(last.stay(&error)),
            (Err(error), None) => Err(error),
        }
    }

    fn fresh(&self) -> Result<(Vec<u8>, Credential), String> {
        let authorities = match &self.trust.ca_file {
            Some(path) => {
                Disk.read(path).map_err(|why| format!("{} {why}", path.display()))?.expose().clone()
            }
            None => Vec::new(),
        };
        let credential = Credential::load(&self.credentials, &Disk);
        Ok((authorities, credential.map_err(|error| error.to_string())?))
    }

    fn make(
        &self,
        authorities: &[u8],
        credential: &Credential,
    ) -> Result<Arc<ClientConfig>, PkiError> {
        let identity = match credential {
            Credential::Certificate { chain, key } => {
                Some(ClientIdentity::from_pem(chain, key.expose())?)
            }
            _ => None,
        };
        let clock = self.clock.clone();
        let bundle = match &self.trust.ca_file {
            _ if self.trust.insecure => None,
            Some(_) => Some(TrustBundle::from_pem(authorities)?),
            None => Some(TrustBundle::of_machine()?),
        };
        service_client_config(bundle.as_ref(), self.trust.only_1_3, identity, clock)
    }
}

impl Last {
    fn stay(&self, err: &str) -> Arc<ClientConfig> {
        tracing::warn!(err, "files of a service cannot be used; what was read before goes on");
        self.config.clone()
    }
}
