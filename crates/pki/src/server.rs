//! TLS as the hub: TLS 1.3, client certificates asked for and judged later.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
};
use strait_runtime::Clock;

use crate::authority::Authority;
use crate::error::PkiError;
use crate::issue::{ServerNames, renewal_time};
use crate::provider::{TlsClock, provider};

/// The hub's certificate: kept in memory only, replaced while connections go on.
pub struct ServingCertificate {
    authority: Arc<Authority>,
    names: ServerNames,
    life: Duration,
    current: ArcSwap<Current>,
}

struct Current {
    certified: Arc<CertifiedKey>,
    renew_at: Timestamp,
}

impl ServingCertificate {
    /// Issues the first one.
    ///
    /// # Errors
    /// The CA expired, or the crypto library refused.
    pub fn new(
        authority: Arc<Authority>,
        names: ServerNames,
        life: Duration,
    ) -> Result<Arc<Self>, PkiError> {
        let current = ArcSwap::from_pointee(issue(&authority, &names, life)?);
        Ok(Arc::new(Self { authority, names, life, current }))
    }

    /// Replaces the certificate if two thirds of its life are over. Returns when to call again.
    /// After an error the old one goes on being served: try again soon.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn renew_if_due(&self) -> Result<Timestamp, PkiError> {
        let renew_at = self.current.load().renew_at;
        if self.authority.clock().now() < renew_at {
            return Ok(renew_at);
        }
        let fresh = issue(&self.authority, &self.names, self.life)?;
        let renew_at = fresh.renew_at;
        self.current.store(Arc::new(fresh));
        Ok(renew_at)
    }
}

fn issue(authority: &Authority, names: &ServerNames, life: Duration) -> Result<Current, PkiError> {
    let issued = authority.issue_server(names, life)?;
    let (not_before, not_after) = (issued.certificate.not_before(), issued.certificate.not_after());
    let key =
        provider().key_provider.load_private_key(issued.key.to_der()?).map_err(PkiError::Tls)?;
    // With the CA, so that who knows only its hash can check the chain.
    let chain = vec![issued.certificate.der, authority.certificate().clone()];
    Ok(Current {
        certified: Arc::new(CertifiedKey::new(chain, key)),
        renew_at: renewal_time(not_before, not_after),
    })
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().certified.clone())
    }
}

impl fmt::Debug for ServingCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServingCertificate")
            .field("names", &self.names)
            .field("renew_at", &self.current.load().renew_at)
            .finish_non_exhaustive()
    }
}

/// TLS 1.3 with `certificate`, HTTP/2 or HTTP/1.1 by negotiation, or one of `others` by their
/// ALPN names. A client may present a
/// certificate; it proves that it holds the key, and whoever authenticates requests judges the
/// rest ([`PeerCertificate::verify`](crate::PeerCertificate::verify)).
///
/// # Errors
/// The TLS library refused.
pub fn server_config(
    certificate: Arc<ServingCertificate>,
    others: &[&[u8]],
    clock: Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, PkiError> {
    let provider = provider();
    let clients = Arc::new(AnyClient::new(&provider));
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(PkiError::Tls)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificate);
    let http: [&[u8]; 2] = [b"h2", b"http/1.1"];
    config.alpn_protocols = http.iter().chain(others).map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Takes every certificate whose holder signs the handshake with its key.
#[derive(Debug)]
struct AnyClient(WebPkiSupportedAlgorithms);

impl AnyClient {
    const fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AnyClient {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: with a hint, clients keep back certificates of other authorities, and would be
    /// told that they presented none.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
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
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, ProtocolVersion};

    use super::*;
    use crate::client::{ClientIdentity, client_config};
    use crate::issue::ClientSubject;
    use crate::peer::{PeerCertificate, VerifyError};
    use crate::testing::{authority_at, clock, day, handshake, manual_clock};

    fn names() -> ServerNames {
        ServerNames::new(["localhost", "127.0.0.1"]).unwrap()
    }

    fn client_of(authority: &Authority) -> ClientIdentity {
        let subject = ClientSubject { user: "jo".into(), ..ClientSubject::default() };
        let issued = authority.issue_client(&subject, day()).unwrap();
        let key = issued.key_pem().unwrap();
        let chain = issued.certificate_pem();
        ClientIdentity::from_pem(chain.as_bytes(), key.expose().as_bytes()).unwrap()
    }

    #[test]
    fn a_client_certificate_is_optional_and_handed_on() {
        let authority = Arc::new(authority_at(clock()));
        let bundle = authority.bundle().unwrap();
        let serving = ServingCertificate::new(authority.clone(), names(), day()).unwrap();
        let server = server_config(serving, &[], clock()).unwrap();

        let anonymous = client_config(&bundle, None, clock()).unwrap();
        let (client, connection) = handshake(anonymous, server.clone(), "localhost").unwrap();
        assert_eq!(connection.peer_certificates(), None);
        assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(client.peer_certificates().unwrap().len(), 2, "with the CA");

        let known = client_config(&bundle, Some(client_of(&authority)), clock()).unwrap();
        let (_, connection) = handshake(known, server, "127.0.0.1").unwrap();
        let chain = connection.peer_certificates().unwrap();
        let peer = PeerCertificate::verify(chain, &bundle, clock().now()).unwrap();
        assert_eq!(peer.user, "jo");
    }

    #[test]
    fn a_wrong_client_certificate_survives_the_handshake() {
        let authority = Arc::new(authority_at(clock()));
        let other = authority_at(clock());
        let bundle = authority.bundle().unwrap();
        let serving = ServingCertificate::new(authority, names(), day()).unwrap();
        let server = server_config(serving, &[], clock()).unwrap();
        let stranger = client_config(&bundle, Some(client_of(&other)), clock()).unwrap();
        let (_, connection) = handshake(stranger, server, "localhost").unwrap();
        let chain = connection.peer_certificates().unwrap();
        let result = PeerCertificate::verify(chain, &bundle, clock().now());
        assert_eq!(result, Err(VerifyError::UnknownAuthority));
    }

    #[test]
    fn older_tls_is_refused() {
        let authority = Arc::new(authority_at(clock()));
        let bundle = authority.bundle().unwrap();
        let serving = ServingCertificate::new(authority, names(), day()).unwrap();
        let server = server_config(serving, &[], clock()).unwrap();
        let old = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(bundle.roots().clone())
            .with_no_client_auth();
        let error = handshake(Arc::new(old), server, "localhost").unwrap_err();
        let expected = rustls::Error::AlertReceived(AlertDescription::ProtocolVersion);
        assert_eq!(error, expected);
    }

    #[test]
    fn the_certificate_is_replaced_at_two_thirds_of_its_life() {
        let clock = manual_clock();
        let authority = Arc::new(authority_at(clock.clone()));
        let serving = ServingCertificate::new(authority, names(), day()).unwrap();
        let first = serving.current.load().certified.clone();
        let is_first = || Arc::ptr_eq(&serving.current.load().certified, &first);

        let due = serving.renew_if_due().unwrap();
        let wait = Duration::try_from(due.duration_since(clock.now())).unwrap();
        clock.advance(wait - Duration::from_secs(1));
        assert_eq!(serving.renew_if_due().unwrap(), due);
        assert!(is_first());
        clock.advance(Duration::from_secs(1));
        assert!(serving.renew_if_due().unwrap() > due);
        assert!(!is_first());
    }
}
