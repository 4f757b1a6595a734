//! TLS as a client of services that others run: who signed a certificate that is not trusted is
//! what people need to know to mend that.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, Error, OtherError};
use strait_runtime::Clock;

use crate::client::{ClientIdentity, builder, identified, issuer_of, unverified};
use crate::error::PkiError;
use crate::naming::Naming;
use crate::peer::TrustBundle;

/// As [`client_config`](crate::client_config), where a certificate by none of `authorities` fails
/// with [`UnknownAuthority`]. Without authorities every certificate is believed. `only_1_3`: for a
/// service that must not fall back to TLS 1.2.
///
/// # Errors
/// The identity's key and certificate do not belong together, or there is no authority.
pub fn service_client_config(
    authorities: Option<&TrustBundle>,
    only_1_3: bool,
    identity: Option<ClientIdentity>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, PkiError> {
    let versions: &[_] = if only_1_3 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let builder = builder(clock, versions)?;
    let Some(authorities) = authorities else { return identified(unverified(builder), identity) };
    let verifier = Naming::new(authorities, only_1_3, |certificate| {
        let unknown = UnknownAuthority { issuer: issuer_of(certificate) };
        CertificateError::Other(OtherError(Arc::new(unknown))).into()
    });
    let verifier = verifier.map_err(|error| PkiError::Tls(Error::General(error.to_string())))?;
    identified(builder.dangerous().with_custom_certificate_verifier(verifier), identity)
}

/// No authority that is trusted signed a service's certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is by {issuer:?}, which is not trusted")]
pub struct UnknownAuthority {
    /// Who signed it, as it says itself: not to be believed.
    pub issuer: String,
}

impl UnknownAuthority {
    /// What it was, if a failed handshake failed for that.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
            _ => None,
        }
    }
}
