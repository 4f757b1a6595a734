//! The other side's certificate: what it says, and whether to believe it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, RootCertStore};
use sha2::{Digest, Sha256};
use strait_types::{Classified, ErrorKind};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

use crate::error::PkiError;
use crate::key::write_hex;
use crate::pem;
use crate::provider::{provider, unix_time};

/// Certificates of CAs to trust: at least one.
#[derive(Clone)]
pub struct TrustBundle {
    certificates: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl TrustBundle {
    /// Reads PEM certificates; other sections are passed over.
    ///
    /// # Errors
    /// There is none, or one is malformed.
    pub fn from_pem(text: &[u8]) -> Result<Self, PkiError> {
        let certificates = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
        Self::new(certificates.map_err(|_| MALFORMED_BUNDLE)?)
    }

    /// Those that this machine trusts (`/etc/ssl`, or where `SSL_CERT_FILE` points). What cannot
    /// be read among them is left out.
    ///
    /// # Errors
    /// There is none.
    pub fn of_machine() -> Result<Self, PkiError> {
        let mut certificates = rustls_native_certs::load_native_certs().certs;
        certificates.retain(|der| RootCertStore::empty().add(der.clone()).is_ok());
        Self::new(certificates)
    }

    pub(crate) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, PkiError> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(PkiError::Tls)?;
        }
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
            .build()
            .map_err(|_| MALFORMED_BUNDLE)?;
        Ok(Self { certificates, roots, clients })
    }

    /// The certificates in PEM, in their order.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let texts = self.certificates.iter();
        texts.map(|der| pem::encode("CERTIFICATE", der)).collect()
    }

    /// The first certificate.
    pub(crate) fn first(&self) -> &CertificateDer<'static> {
        &self.certificates[0]
    }

    pub(crate) const fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.certificates.len();
        f.debug_struct("TrustBundle").field("certificates", &count).finish_non_exhaustive()
    }
}

const MALFORMED_BUNDLE: PkiError =
    PkiError::Malformed { what: "CA bundle (expected at least one certificate in PEM)" };

/// What a client's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject's common name, the last if there are several; empty if there is none.
    pub user: String,
    /// The subject's organisations, in their order.
    pub groups: Vec<String>,
    /// URIs among the further names.
    pub uris: Vec<String>,
    /// The serial number in lower-case hexadecimal, two digits a byte, no sign byte.
    pub serial: String,
    /// The first second in which it is valid.
    pub not_before: Timestamp,
    /// The last second in which it is valid.
    pub not_after: Timestamp,
    /// SHA-256 of the whole certificate, in lower-case hexadecimal.
    pub fingerprint: String,
}

/// Why a client's certificate is not believed. The texts may be told to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No authority of ours signed it.
    #[error("the client certificate was signed by an unknown authority")]
    UnknownAuthority,
    /// Its time is over.
    #[error("the client certificate expired at {0}")]
    Expired(Timestamp),
    /// Its time has not come.
    #[error("the client certificate is not valid before {0}")]
    NotYetValid(Timestamp),
    /// It is for something else, such as serving.
    #[error("the certificate is not a client's")]
    NotForClients,
    /// It cannot be read.
    #[error("the client certificate is malformed")]
    Malformed,
}

impl Classified for VerifyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unauthenticated
    }
}

impl PeerCertificate {
    /// Reads the first certificate of a chain. It is not believed yet: see
    /// [`verify`](Self::verify).
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn parse(chain: &[CertificateDer<'_>]) -> Result<Self, VerifyError> {
        let der = chain.first().ok_or(VerifyError::Malformed)?;
        let malformed = |_| VerifyError::Malformed;
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| VerifyError::Malformed)?;
        if !rest.is_empty() {
            return Err(VerifyError::Malformed);
        }
        let subject = parsed.subject();
        let common_names: Vec<String> = texts(subject.iter_common_name())?;
        let validity = parsed.validity();
        Ok(Self {
            user: common_names.into_iter().next_back().unwrap_or_default(),
            groups: texts(subject.iter_organization())?,
            uris: uris(&parsed),
            serial: hex(unsigned(parsed.raw_serial())),
            not_before: Timestamp::from_second(validity.not_before.timestamp())
                .map_err(malformed)?,
            not_after: Timestamp::from_second(validity.not_after.timestamp()).map_err(malformed)?,
            fingerprint: hex(&Sha256::digest(der)),
        })
    }

    /// Reads the first certificate of a chain and checks that one of the authorities signed it,
    /// directly or through the rest of the chain, for a client, and that it is valid `now`.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn verify(
        chain: &[CertificateDer<'_>],
        authorities: &TrustBundle,
        now: Timestamp,
    ) -> Result<Self, VerifyError> {
        let peer = Self::parse(chain)?;
        let verified =
            authorities.clients.verify_client_cert(&chain[0], &chain[1..], unix_time(now));
        match verified {
            Ok(_) => Ok(peer),
            Err(rustls::Error::InvalidCertificate(reason)) => Err(peer.refusal(&reason)),
            Err(_) => Err(VerifyError::Malformed),
        }
    }

    fn refusal(&self, reason: &CertificateError) -> VerifyError {
        match reason {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                VerifyError::UnknownAuthority
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                VerifyError::Expired(self.not_after)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                VerifyError::NotYetValid(self.not_before)
            }
            CertificateError::BadEncoding => VerifyError::Malformed,
            // Purpose, a CA in a leaf's place, constraints.
            _ => VerifyError::NotForClients,
        }
    }
}

fn texts<'a>(
    attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Result<Vec<String>, VerifyError> {
    attributes
        .map(|attribute| attribute.as_str().map(str::to_owned))
        .collect::<Result<_, _>>()
        .map_err(|_| VerifyError::Malformed)
}

fn uris(parsed: &X509Certificate<'_>) -> Vec<String> {
    let names =
        parsed.iter_extensions().filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
    names
        .flatten()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
        .collect()
}

/// A positive number with its top bit set has a zero byte in front.
fn unsigned(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => bytes,
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    write_hex(&mut text, bytes).expect("a string takes all text");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use strait_runtime::Clock;

    use super::*;
    use crate::issue::{ClientSubject, ServerNames};
    use crate::testing::{NOW, authority, authority_at, day, manual_clock};

    fn subject(user: &str) -> ClientSubject {
        ClientSubject { user: user.into(), group: Some("g".into()), uri: None }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn every_group_of_a_certificate_is_read() {
        let text = include_bytes!("../testdata/groups.crt");
        let chain = [CertificateDer::from_pem_slice(text).unwrap()];
        let peer = PeerCertificate::parse(&chain).unwrap();
        assert_eq!(peer.user, "jo");
        assert_eq!(peer.groups, ["z", "a", "système"]);
        assert_eq!(peer.uris, ["https://example.com/jo"]);
    }

    #[test]
    fn a_certificate_is_believed_in_its_time() {
        let authority = authority();
        let bundle = authority.bundle().unwrap();
        let issued = authority.issue_client(&subject("jo"), day()).unwrap();
        let chain = [issued.certificate.der];
        let verify = |second| PeerCertificate::verify(&chain, &bundle, at(second));
        let early = VerifyError::NotYetValid(at(NOW - 300));
        let late = VerifyError::Expired(at(NOW + 86_400));
        assert_eq!(verify(NOW - 301), Err(early));
        assert_eq!(verify(NOW - 300).unwrap().user, "jo");
        assert_eq!(verify(NOW + 86_400).unwrap().groups, ["g"]);
        assert_eq!(verify(NOW + 86_401), Err(late));
    }

    #[test]
    fn what_is_not_a_clients_of_ours_is_refused() {
        let clock = manual_clock();
        let ours = authority_at(clock.clone());
        clock.advance(Duration::from_secs(1));
        let theirs = authority_at(clock.clone());
        let bundle = ours.bundle().unwrap();

        let stranger = theirs.issue_client(&subject("jo"), day()).unwrap();
        let names = ServerNames::new(["localhost"]).unwrap();
        let server = ours.issue_server(&names, day()).unwrap();
        let mut tampered = {
            let issued = ours.issue_client(&subject("jo"), day()).unwrap();
            issued.certificate.der.as_ref().to_vec()
        };
        let name = tampered.windows(2).position(|window| window == b"jo").unwrap();
        tampered[name..name + 2].copy_from_slice(b"al");

        let unknown = VerifyError::UnknownAuthority;
        let cases = [
            ("stranger", vec![stranger.certificate.der.clone()], unknown.clone()),
            (
                "stranger with its CA",
                vec![stranger.certificate.der, theirs.certificate().clone()],
                unknown.clone(),
            ),
            ("server", vec![server.certificate.der], VerifyError::NotForClients),
            ("our CA", vec![ours.certificate().clone()], VerifyError::NotForClients),
            ("tampered", vec![tampered.into()], unknown),
            ("garbage", vec![vec![0x30, 0].into()], VerifyError::Malformed),
            ("nothing", vec![], VerifyError::Malformed),
        ];
        for (what, chain, expected) in cases {
            let result = PeerCertificate::verify(&chain, &bundle, clock.now());
            assert_eq!(result, Err(expected), "{what}");
        }
    }

    #[test]
    fn a_bundle_reads_back_and_trusts_each() {
        let clock = manual_clock();
        let (first, second) = (authority_at(clock.clone()), authority_at(clock.clone()));
        let text = first.certificate_pem() + &second.certificate_pem();
        let bundle = TrustBundle::from_pem(text.as_bytes()).unwrap();
        assert_eq!(bundle.to_pem(), text);
        for authority in [first, second] {
            let issued = authority.issue_client(&subject("jo"), day()).unwrap();
            let chain = [issued.certificate.der];
            assert!(PeerCertificate::verify(&chain, &bundle, clock.now()).is_ok());
        }
        for text in [&b""[..], b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            assert!(TrustBundle::from_pem(text).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut der = authority().certificate().as_ref().to_vec();
            let at = at.index(der.len());
            der[at] = byte;
            let _ = PeerCertificate::parse(&[der.into()]);
        }
    }
}
