//! What a kubeconfig of Strait says of whom to trust and who to be.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::https;

/// A TLS configuration for the last user of a kubeconfig, which is its current context's.
///
/// # Errors
/// The file is not what `strait` writes.
pub(crate) fn tls(path: &Path) -> Result<Arc<ClientConfig>> {
    let text = fs::read_to_string(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&last(&text, "certificate-authority-data:")?)? {
        roots.add(certificate)?;
    }
    let chain = certificates(&last(&text, "client-certificate-data:")?)?;
    let key = PrivateKeyDer::from_pem_slice(&last(&text, "client-key-data:")?)?;
    https::tls(roots, Some((chain, key)))
}

/// The PEM under the last entry with this name.
fn last(text: &str, key: &str) -> Result<Vec<u8>> {
    let value = text.lines().rev().find_map(|line| line.trim().strip_prefix(key));
    let value = value.with_context(|| format!("the kubeconfig has no {key}"))?;
    Ok(STANDARD.decode(value.trim().trim_matches('"'))?)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_last_entry() {
        let text = "users:\n- name: a\n  user:\n    client-key-data: YQ==\n\
                    - name: b\n  user:\n    client-key-data: \"Yg==\"\n";
        assert_eq!(last(text, "client-key-data:").unwrap(), b"b");
        assert!(last(text, "client-certificate-data:").is_err());
    }
}
