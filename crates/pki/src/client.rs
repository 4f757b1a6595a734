//! TLS as a client.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore,
    SignatureScheme, SupportedProtocolVersion, WantsVerifier,
};
use strait_runtime::Clock;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::PkiError;
use crate::issue::KeyedCertificate;
use crate::key::KeyHash;
use crate::peer::TrustBundle;
use crate::provider::{TlsClock, provider};

/// A client's certificate chain and key.
pub struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    /// Reads a chain, the client's own certificate first, and a key of any kind, both in PEM.
    ///
    /// # Errors
    /// [`PkiError::Malformed`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PkiError> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        Ok(Self {
            chain: chain
                .ok_or(PkiError::Malformed { what: "client certificate (expected PEM)" })?,
            key: PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| PkiError::Malformed { what: "client key (expected PEM)" })?,
        })
    }

    pub(crate) fn into_parts(self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain, self.key)
    }
}

impl TryFrom<&KeyedCertificate> for ClientIdentity {
    type Error = PkiError;

    fn try_from(issued: &KeyedCertificate) -> Result<Self, PkiError> {
        Ok(Self { chain: vec![issued.certificate.der.clone()], key: issued.key.to_der()? })
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").finish_non_exhaustive()
    }
}

/// Trusts servers that one of `authorities` signed, under the name that was dialled. TLS 1.3 and,
/// for private services that are older than that, 1.2. No application protocol is offered.
///
/// # Errors
/// The identity's key and certificate do not belong together.
pub fn client_config(
    authorities: &TrustBundle,
    identity: Option<ClientIdentity>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, PkiError> {
    let builder = builder(clock, &[&TLS13, &TLS12])?;
    identified(builder.with_root_certificates(authorities.roots().clone()), identity)
}

/// As [`client_config`], for a server with any certificate: whoever is in between can read and
/// change everything.
///
/// # Errors
/// As [`client_config`].
pub fn unverified_client_config(
    identity: Option<ClientIdentity>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, PkiError> {
    identified(unverified(builder(clock, &[&TLS13, &TLS12])?), identity)
}

pub(crate) fn unverified(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let anyone = Arc::new(Anyone(provider().signature_verification_algorithms));
    builder.dangerous().with_custom_certificate_verifier(anyone)
}

pub(crate) fn builder(
    clock: Arc<dyn Clock>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, PkiError> {
    ClientConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(versions)
        .map_err(PkiError::Tls)
}

pub(crate) fn identified(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<ClientIdentity>,
) -> Result<Arc<ClientConfig>, PkiError> {
    Ok(Arc::new(match identity {
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain, identity.key).map_err(PkiError::Tls)?
        }
        None => builder.with_no_client_auth(),
    }))
}

/// Trusts servers whose chain contains a CA with this public key that signed the server's own
/// certificate, whatever its names: for joining, when nothing but the hash is known. TLS 1.3
/// only, no client certificate. A chain without that CA fails with [`PinMismatch`].
///
/// # Errors
/// The TLS library refused.
pub fn pinned_client_config(
    authority: KeyHash,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, PkiError> {
    let provider = provider();
    let verifier =
        PinnedAuthority { authority, algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_details(provider, Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(PkiError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The server did not present the CA that was expected: another hub, or somebody in between.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server presented a certificate by {issuer:?}; expected hub CA {expected}")]
pub struct PinMismatch {
    /// The hash that was expected.
    pub expected: KeyHash,
    /// Who signed what was presented, as it says itself.
    pub issuer: String,
}

impl PinMismatch {
    /// Of what a server presented.
    pub(crate) fn by(end_entity: &CertificateDer<'_>, expected: KeyHash) -> Self {
        Self { expected, issuer: issuer_of(end_entity) }
    }

    /// Finds the mismatch among the causes of a failed connection.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) =
                error.downcast_ref()
            {
                return other.0.downcast_ref();
            }
            // An io::Error shows what it wraps only here, not as its source.
            let wrapped = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
            next = match wrapped {
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        None
    }
}

/// Who signed a certificate, as it says itself.
pub(crate) fn issuer_of(certificate: &CertificateDer<'_>) -> String {
    let parsed = X509Certificate::from_der(certificate);
    parsed.map(|(_, parsed)| parsed.issuer().to_string()).unwrap_or_default()
}

/// Believes every certificate, and still that the server holds its key.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[derive(Debug)]
struct PinnedAuthority {
    authority: KeyHash,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = |certificate: &&CertificateDer<'_>| {
            X509Certificate::from_der(certificate)
                .is_ok_and(|(_, parsed)| KeyHash::of(parsed.public_key().raw) == self.authority)
        };
        let Some(authority) = intermediates.iter().find(pinned) else {
            return Err(PinMismatch::by(end_entity, self.authority).into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        // No intermediates: the CA signs leaves itself.
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots,
            &[],
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use rustls::ServerConfig;

    use super::*;
    use crate::authority::Authority;
    use crate::issue::{ClientSubject, ServerNames};
    use crate::key::PrivateKey;
    use crate::server::{ServingCertificate, server_config};
    use crate::testing::{authority, authority_at, clock, day, handshake, manual_clock};

    fn server_of(authority: &Arc<Authority>) -> Arc<ServerConfig> {
        let names = ServerNames::new(["hub.example"]).unwrap();
        let serving = ServingCertificate::new(authority.clone(), names, day()).unwrap();
        server_config(serving, &[], clock()).unwrap()
    }

    fn reason(error: rustls::Error) -> CertificateError {
        match error {
            rustls::Error::InvalidCertificate(reason) => reason,
            error => panic!("{error}"),
        }
    }

    #[test]
    fn whoever_does_not_care_believes_any_server() {
        let config = unverified_client_config(None, clock()).unwrap();
        handshake(config, server_of(&Arc::new(authority())), "another.example").unwrap();
    }

    #[test]
    fn some_services_must_speak_tls_1_3() {
        let hub = Arc::new(authority());
        let bundle = hub.bundle().unwrap();
        for trusted in [Some(&bundle), None] {
            let config = crate::service_client_config(trusted, true, None, clock()).unwrap();
            handshake(config.clone(), server_of(&hub), "hub.example").unwrap();
            let old = ServerConfig::builder_with_details(provider(), Arc::new(TlsClock(clock())))
                .with_protocol_versions(&[&TLS12])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(server_of(&hub).cert_resolver.clone());
            let error = handshake(config, Arc::new(old), "hub.example").unwrap_err();
            assert!(
                matches!(
                    error,
                    rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_)
                ),
                "{error}"
            );
        }
        let config = crate::service_client_config(Some(&bundle), true, None, clock()).unwrap();
        let other = server_of(&Arc::new(authority()));
        handshake(config, other, "hub.example").unwrap_err();
    }

    #[test]
    fn a_bundle_is_trusted_under_the_dialled_name_only() {
        let hub = Arc::new(authority());
        let config = client_config(&hub.bundle().unwrap(), None, clock()).unwrap();
        handshake(config.clone(), server_of(&hub), "hub.example").unwrap();
        let error = handshake(config.clone(), server_of(&hub), "other.example").unwrap_err();
        assert!(matches!(reason(error), CertificateError::NotValidForNameContext { .. }));
        let error = handshake(config, server_of(&Arc::new(authority())), "hub.example");
        assert!(matches!(reason(error.unwrap_err()), CertificateError::BadSignature));
    }

    #[test]
    fn a_pinned_authority_is_trusted_under_any_name() {
        let hub = Arc::new(authority());
        let config = pinned_client_config(hub.spki_sha256(), clock()).unwrap();
        handshake(config, server_of(&hub), "somewhere.else").unwrap();
    }

    #[test]
    fn another_authority_is_named_with_what_was_expected() {
        let (hub, other) = (Arc::new(authority()), authority());
        let pin = other.spki_sha256();
        let config = pinned_client_config(pin, clock()).unwrap();
        let error = handshake(config, server_of(&hub), "hub.example").unwrap_err();
        // As a caller gets it: inside an io::Error.
        let error = io::Error::other(error);
        let mismatch = PinMismatch::find(&error).unwrap();
        assert_eq!(mismatch.expected, pin);
        assert_eq!(
            mismatch.to_string(),
            format!(
                "the server presented a certificate by \"CN=Strait hub CA 000000000000\"; \
                 expected hub CA {pin}"
            )
        );
        assert_eq!(PinMismatch::find(&io::Error::other("other")), None);
    }

    /// A server that presents `chain` with `key`.
    fn presenting(chain: Vec<CertificateDer<'static>>, key: &PrivateKey) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key.to_der().unwrap());
        Arc::new(config.unwrap())
    }

    /// A CA below another, and a server's certificate that it issued.
    fn intermediate(above: &Authority) -> (CertificateDer<'static>, KeyedCertificate) {
        let below = authority();
        let names = ServerNames::new(["hub.example"]).unwrap();
        let leaf = below.issue_server(&names, day()).unwrap();
        let certificate = above.certify_authority(&below);
        (certificate, leaf)
    }

    #[test]
    fn under_a_pin_only_a_valid_server_of_that_authority_is_believed() {
        let clock = manual_clock();
        let (hub, other) = (authority_at(clock.clone()), authority_at(clock.clone()));
        let names = ServerNames::new(["hub.example"]).unwrap();
        let client = hub
            .issue_client(&ClientSubject { user: "jo".into(), ..ClientSubject::default() }, day());
        let ours = hub.issue_server(&names, day()).unwrap();
        let theirs = other.issue_server(&names, day()).unwrap();
        let ca = || hub.certificate().clone();
        let pin = hub.spki_sha256();
        let attempt = |chain, key: &PrivateKey| {
            let config = pinned_client_config(pin, clock.clone()).unwrap();
            handshake(config, presenting(chain, key), "hub.example").map(|_| ())
        };

        let client = client.unwrap();
        let error = attempt(vec![client.certificate.der, ca()], &client.key).unwrap_err();
        assert!(matches!(reason(error), CertificateError::InvalidPurposeContext { .. }));
        // Signed by a CA that ours signed, as ours never does.
        let (below, leaf) = intermediate(&hub);
        let chain = vec![leaf.certificate.der, below, ca()];
        let error = attempt(chain, &leaf.key).unwrap_err();
        assert!(matches!(reason(error), CertificateError::BadSignature));
        // The CA is there, but signed something else.
        let error = attempt(vec![theirs.certificate.der, ca()], &theirs.key).unwrap_err();
        assert!(matches!(reason(error), CertificateError::BadSignature));
        let chain = vec![ours.certificate.der, ca()];
        attempt(chain.clone(), &ours.key).unwrap();
        clock.advance(day() + Duration::from_secs(1));
        let error = attempt(chain, &ours.key).unwrap_err();
        assert!(matches!(reason(error), CertificateError::ExpiredContext { .. }));
    }

    #[test]
    fn an_identity_must_be_whole() {
        let issued = authority()
            .issue_client(&ClientSubject { user: "jo".into(), ..ClientSubject::default() }, day());
        let issued = issued.unwrap();
        let (chain, key) = (issued.certificate_pem(), issued.key_pem().unwrap());
        let (chain, key) = (chain.as_bytes(), key.expose().as_bytes());
        assert!(ClientIdentity::from_pem(b"", key).is_err());
        assert!(ClientIdentity::from_pem(chain, b"").is_err());
        let other = PrivateKey::generate().unwrap().to_pem().unwrap();
        let mixed = ClientIdentity::from_pem(chain, other.expose().as_bytes()).unwrap();
        let bundle = authority().bundle().unwrap();
        assert!(client_config(&bundle, Some(mixed), clock()).is_err());
    }
}
