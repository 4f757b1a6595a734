//! TLS towards a hub whose authority is known: nobody else is believed, and who is not is named.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, Error, OtherError};
use strait_runtime::Clock;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::client::{ClientIdentity, PinMismatch};
use crate::error::PkiError;
use crate::key::KeyHash;
use crate::naming::Naming;
use crate::peer::TrustBundle;
use crate::provider::{TlsClock, provider};

/// TLS 1.3 as a member of a hub, with one application protocol. The server's certificate must
/// come from one of `authorities` and be for the name that was dialled; where another authority
/// signed it, the handshake fails with [`PinMismatch`]. Sessions are not resumed: each connection
/// proves who it is by the certificate of now.
///
/// # Errors
/// The identity's key and certificate do not belong together.
pub fn tunnel_client_config(
    authorities: &TrustBundle,
    identity: ClientIdentity,
    protocol: &[u8],
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, PkiError> {
    let malformed = || PkiError::Malformed { what: "CA certificate" };
    let (_, first) = X509Certificate::from_der(authorities.first()).map_err(|_| malformed())?;
    // Of the first authority.
    let expected = KeyHash::of(first.public_key().raw);
    let unknown =
        move |certificate: &CertificateDer<'_>| PinMismatch::by(certificate, expected).into();
    let verifier = Naming::new(authorities, true, unknown).map_err(|_| malformed())?;
    let (chain, key) = identity.into_parts();
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(PkiError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .map_err(PkiError::Tls)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

impl From<PinMismatch> for Error {
    fn from(mismatch: PinMismatch) -> Self {
        CertificateError::Other(OtherError(Arc::new(mismatch))).into()
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;
    use crate::authority::Authority;
    use crate::issue::{ClientSubject, ServerNames};
    use crate::server::{ServingCertificate, server_config};
    use crate::testing::{authority, clock, day, handshake};

    fn attempt(hub: &Arc<Authority>, trusted: &Authority, name: &'static str) -> Result<(), Error> {
        let names = ServerNames::new(["hub.example"]).unwrap();
        let serving = ServingCertificate::new(hub.clone(), names, day()).unwrap();
        let server = server_config(serving, &[b"own/1"], clock()).unwrap();
        let subject = ClientSubject { user: "smith".into(), ..ClientSubject::default() };
        let issued = trusted.issue_client(&subject, day()).unwrap();
        let identity = ClientIdentity::try_from(&issued).unwrap();
        let bundle = trusted.bundle().unwrap();
        let client = tunnel_client_config(&bundle, identity, b"own/1", clock()).unwrap();
        let (client, server) = handshake(client, server, name)?;
        assert_eq!(client.alpn_protocol(), Some(&b"own/1"[..]));
        assert_eq!(server.peer_certificates().map(<[_]>::len), Some(1));
        Ok(())
    }

    #[test]
    fn only_the_known_authority_is_believed_and_only_for_the_dialled_name() {
        let (hub, other) = (Arc::new(authority()), authority());
        attempt(&hub, &hub, "hub.example").unwrap();
        let error = attempt(&hub, &hub, "other.example").unwrap_err();
        assert!(matches!(
            error,
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
        ));
        let error = std::io::Error::other(attempt(&hub, &other, "hub.example").unwrap_err());
        let mismatch = PinMismatch::find(&error).unwrap();
        assert_eq!(mismatch.expected, other.spki_sha256());
        assert!(mismatch.issuer.starts_with("CN=Strait hub CA"), "{mismatch}");
    }
}
