//! Certificates judged as the library does; of one that nobody known signed it is told whose it is.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use crate::peer::TrustBundle;
use crate::provider::provider;

/// Judges by some authorities; `unknown` makes the error about a certificate by none of them.
pub(crate) struct Naming<F> {
    inner: Arc<WebPkiServerVerifier>,
    only_1_3: bool,
    unknown: F,
}

impl<F: Fn(&CertificateDer<'_>) -> Error> Naming<F> {
    pub(crate) fn new(
        authorities: &TrustBundle,
        only_1_3: bool,
        unknown: F,
    ) -> Result<Arc<Self>, VerifierBuilderError> {
        let roots = authorities.roots().clone();
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider()).build()?;
        Ok(Arc::new(Self { inner, only_1_3, unknown }))
    }
}

impl<F> fmt::Debug for Naming<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Naming").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<F: Fn(&CertificateDer<'_>) -> Error + Send + Sync> ServerCertVerifier for Naming<F> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let inner = &self.inner;
        let judged =
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        judged.map_err(|error| match error {
            // The latter where the authority only has the name of one that is known.
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => (self.unknown)(end_entity),
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.only_1_3 {
            return Err(Error::General("only TLS 1.3 is spoken here".into()));
        }
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
