//! TLS as a server whose certificate somebody else issues: files that change, TLS 1.2 as well.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use strait_runtime::Clock;
use strait_runtime::fs::read_capped;

use crate::error::PkiError;
use crate::provider::{TlsClock, provider};

/// Most bytes of a chain or key.
const FILE_MAX: usize = 1 << 20;

/// A certificate and key in PEM files, replaced while connections go on.
pub struct FileCertificate {
    chain: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

impl FileCertificate {
    /// Reads the files: the chain, the server's own certificate first, and its key.
    ///
    /// # Errors
    /// A file that cannot be read or is not what it should be; a key of another certificate.
    ///
    /// # Blocking
    /// Reads files.
    pub fn load(chain: &Path, key: &Path) -> Result<Arc<Self>, PkiError> {
        let current = ArcSwap::from_pointee(read(chain, key)?);
        Ok(Arc::new(Self { chain: chain.to_owned(), key: key.to_owned(), current }))
    }

    /// Reads the files again; whether they changed. After an error, as in the moment between the
    /// writing of one file and the other, the old certificate goes on being served.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    ///
    /// # Blocking
    /// Reads files.
    pub fn refresh(&self) -> Result<bool, PkiError> {
        let fresh = read(&self.chain, &self.key)?;
        // A key that is replaced comes with a certificate that names it.
        if fresh.cert == self.current.load().cert {
            return Ok(false);
        }
        self.current.store(Arc::new(fresh));
        Ok(true)
    }
}

fn read(chain: &Path, key: &Path) -> Result<CertifiedKey, PkiError> {
    let chain = read_capped(chain, FILE_MAX)?;
    let key = read_capped(key, FILE_MAX)?;
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
    let chain = chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or(PkiError::Malformed { what: "server certificate (expected PEM)" })?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| PkiError::Malformed { what: "server key (expected PEM)" })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(PkiError::Tls)
}

impl ResolvesServerCert for FileCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl fmt::Debug for FileCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCertificate")
            .field("chain", &self.chain)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// TLS 1.3, and 1.2 for clients that are older, with `certificate`; HTTP/1.1 alone, whose requests
/// a listener can bound one by one. No client certificate is asked for.
///
/// # Errors
/// The TLS library refused.
pub fn file_server_config(
    certificate: Arc<FileCertificate>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, PkiError> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(PkiError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::ServerNames;
    use crate::testing::{authority, day};

    struct Pair {
        chain: String,
        key: String,
    }

    fn pair() -> Pair {
        let names = ServerNames::new(["hooks.example"]).unwrap();
        let issued = authority().issue_server(&names, day()).unwrap();
        let key = issued.key_pem().unwrap();
        Pair { chain: issued.certificate_pem(), key: key.expose().clone() }
    }

    #[test]
    fn files_that_change_are_served_and_half_a_change_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
        let (old, new) = (pair(), pair());
        std::fs::write(&chain, &old.chain).unwrap();
        std::fs::write(&key, &old.key).unwrap();
        let served = FileCertificate::load(&chain, &key).unwrap();
        let first = served.current.load_full();
        assert!(!served.refresh().unwrap());

        std::fs::write(&chain, &new.chain).unwrap();
        assert!(matches!(served.refresh(), Err(PkiError::Tls(_))));
        assert!(Arc::ptr_eq(&first, &served.current.load_full()));

        std::fs::write(&key, &new.key).unwrap();
        assert!(served.refresh().unwrap());
        assert_ne!(first.cert, served.current.load().cert);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
        let error = FileCertificate::load(&chain, &key).unwrap_err();
        assert!(error.to_string().contains("tls.crt"), "{error}");
        std::fs::write(&chain, "").unwrap();
        std::fs::write(&key, pair().key).unwrap();
        let error = FileCertificate::load(&chain, &key).unwrap_err();
        assert_eq!(error.to_string(), "malformed server certificate (expected PEM)");
        std::fs::write(&chain, pair().chain).unwrap();
        assert!(matches!(FileCertificate::load(&chain, &key), Err(PkiError::Tls(_))));
    }
}
