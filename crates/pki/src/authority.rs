//! The hub's CA.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rcgen::{CertificateParams, Issuer, PublicKeyData, SerialNumber};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use strait_runtime::{Clock, Entropy, fs, random_16};
use strait_types::HubId;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::csr::Csr;
use crate::error::PkiError;
use crate::issue::{self, Certificate, ClientSubject, KeyedCertificate, ServerNames, add_up_to};
use crate::key::{KeyHash, PrivateKey, write_hex};
use crate::peer::TrustBundle;
use crate::pem;

/// Ten years, in days of 24 hours.
const LIFE: Duration = Duration::from_secs(3_652 * 24 * 3_600);

/// Certificates are valid a little before they are made: other machines' clocks are late.
const BACKDATING: Duration = Duration::from_secs(5 * 60);

const KEY_FILE: &str = "ca.key";
const CERTIFICATE_FILE: &str = "ca.crt";

/// A CA's files are a few hundred bytes.
const FILE_MAX: usize = 64 << 10;

/// The CA: its key, its certificate, and what issuing needs.
pub struct Authority {
    issuer: Issuer<'static, PrivateKey>,
    certificate: CertificateDer<'static>,
    not_after: Timestamp,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Authority {
    /// Makes the CA of a new hub. It is nowhere but in memory until [`save`](Self::save)d.
    ///
    /// # Errors
    /// The crypto library refused.
    pub fn create(
        hub: &HubId,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, PkiError> {
        let key = PrivateKey::generate()?;
        let now = whole_seconds(clock.now());
        let life = (backdated(now), add_up_to(now, LIFE, Timestamp::MAX));
        let params = issue::authority(&format!("Strait hub CA {hub}"));
        let params = completed(params, serial(&*entropy), life);
        let certificate = params.self_signed(&key).map_err(|_| UNSIGNED)?;
        Self::new(key, certificate.into(), clock, entropy)
    }

    /// Reads the CA that [`save`](Self::save) wrote; none if there is no certificate. A key
    /// without one was never used: saving a new CA replaces it.
    ///
    /// # Errors
    /// A file cannot be read or is malformed, or the two do not belong together.
    pub fn load(
        directory: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Option<Self>, PkiError> {
        let path = directory.join(CERTIFICATE_FILE);
        let certificate = match fs::read_capped(&path, FILE_MAX) {
            Err(error) if error.io().kind() == std::io::ErrorKind::NotFound => return Ok(None),
            result => result?,
        };
        let certificate = CertificateDer::from_pem_slice(&certificate).map_err(|_| MALFORMED)?;
        let key = fs::read_capped(&directory.join(KEY_FILE), FILE_MAX)?;
        let key = PrivateKey::from_pem(&String::from_utf8_lossy(&key))?;
        Self::new(key, certificate, clock, entropy).map(Some)
    }

    /// Writes `ca.key` (mode 0600) and then `ca.crt`, each durably, into a directory that is
    /// made private if missing.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), PkiError> {
        fs::create_private_dir(directory)?;
        let key = self.issuer.key().to_pem()?;
        fs::write_atomic(&directory.join(KEY_FILE), key.expose().as_bytes(), 0o600)?;
        let certificate = self.certificate_pem();
        fs::write_atomic(&directory.join(CERTIFICATE_FILE), certificate.as_bytes(), 0o644)?;
        Ok(())
    }

    fn new(
        key: PrivateKey,
        certificate: CertificateDer<'static>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, PkiError> {
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| MALFORMED)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(PkiError::KeyMismatch);
        }
        if !parsed.is_ca() {
            return Err(MALFORMED);
        }
        let not_after = parsed.validity().not_after.timestamp();
        let not_after = Timestamp::from_second(not_after).map_err(|_| MALFORMED)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|_| MALFORMED)?;
        Ok(Self { issuer, certificate, not_after, clock, entropy })
    }

    /// The CA's certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.certificate)
    }

    /// The CA as the only one to trust.
    ///
    /// # Errors
    /// The TLS library does not take the certificate.
    pub fn bundle(&self) -> Result<TrustBundle, PkiError> {
        TrustBundle::new(vec![self.certificate.clone()])
    }

    /// The hash of the CA's public key, as join tokens carry it.
    #[must_use]
    pub fn spki_sha256(&self) -> KeyHash {
        self.issuer.key().spki_sha256()
    }

    /// Issues a server's certificate for a new key.
    ///
    /// # Errors
    /// The CA expired, or the crypto library refused.
    pub fn issue_server(
        &self,
        names: &ServerNames,
        life: Duration,
    ) -> Result<KeyedCertificate, PkiError> {
        let key = PrivateKey::generate()?;
        let certificate = self.issue(&key, names.params(), life)?;
        Ok(KeyedCertificate { certificate, key })
    }

    /// Issues a client's certificate for a new key.
    ///
    /// # Errors
    /// The subject has an empty or unprintable part, the CA expired, or the crypto library
    /// refused.
    pub fn issue_client(
        &self,
        subject: &ClientSubject,
        life: Duration,
    ) -> Result<KeyedCertificate, PkiError> {
        let key = PrivateKey::generate()?;
        let certificate = self.issue(&key, subject.params()?, life)?;
        Ok(KeyedCertificate { certificate, key })
    }

    /// Issues a client's certificate for the key of a signing request. `subject` says
    /// everything else; the request's own wishes are not read.
    ///
    /// # Errors
    /// As [`issue_client`](Self::issue_client).
    pub fn certify(
        &self,
        request: &Csr,
        subject: &ClientSubject,
        life: Duration,
    ) -> Result<Certificate, PkiError> {
        self.issue(request.key(), subject.params()?, life)
    }

    /// Valid for `life` from now, but not longer than the CA.
    fn issue(
        &self,
        key: &impl PublicKeyData,
        params: CertificateParams,
        life: Duration,
    ) -> Result<Certificate, PkiError> {
        let now = whole_seconds(self.clock.now());
        if now > self.not_after {
            let not_after = self.not_after;
            return Err(PkiError::AuthorityExpired { not_after });
        }
        let serial = serial(&*self.entropy);
        let (not_before, not_after) = (backdated(now), add_up_to(now, life, self.not_after));
        let params = completed(params, serial, (not_before, not_after));
        let certificate = params.signed_by(key, &self.issuer).map_err(|_| UNSIGNED)?;
        let mut text = String::new();
        write_hex(&mut text, &serial).expect("a string takes all text");
        Ok(Certificate { der: certificate.into(), serial: text, not_before, not_after })
    }

    pub(crate) const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("key", self.issuer.key())
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

const MALFORMED: PkiError = PkiError::Malformed { what: "CA certificate" };
const UNSIGNED: PkiError = PkiError::Crypto { action: "sign" };

/// Adds what no two certificates share, and whose key signs.
fn completed(
    mut params: CertificateParams,
    serial: [u8; 16],
    (not_before, not_after): (Timestamp, Timestamp),
) -> CertificateParams {
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = SystemTime::from(not_before).into();
    params.not_after = SystemTime::from(not_after).into();
    params.use_authority_key_identifier_extension = true;
    params
}

/// 126 random bits; the bits above make it positive and sixteen bytes long.
fn serial(entropy: &dyn Entropy) -> [u8; 16] {
    let mut bytes = random_16(entropy);
    bytes[0] = bytes[0] & 0x7f | 0x40;
    bytes
}

fn backdated(now: Timestamp) -> Timestamp {
    now.checked_sub(BACKDATING).unwrap_or(now)
}

/// Certificates know no fractions.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use strait_runtime::{ManualClock, SeededEntropy};
    use x509_parser::prelude::{GeneralName, ParsedExtension};

    use super::*;
    use crate::peer::PeerCertificate;
    use crate::testing::{NOW, authority, clock, day};

    impl Authority {
        /// Another CA's certificate, below this one.
        pub(crate) fn certify_authority(&self, below: &Self) -> CertificateDer<'static> {
            let name = format!("Strait hub CA {}", HubId::from_random([0; 16]));
            let params = issue::authority(&name);
            self.issue(below.issuer.key(), params, day()).unwrap().der
        }
    }

    #[test]
    fn the_certificate_says_what_the_decision_says() {
        let authority = authority();
        let (rest, parsed) = X509Certificate::from_der(&authority.certificate).unwrap();
        assert!(rest.is_empty());
        assert_eq!(parsed.subject().to_string(), "CN=Strait hub CA 000000000000");
        assert_eq!(parsed.issuer(), parsed.subject());
        let constraints = parsed.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = parsed.key_usage().unwrap().unwrap();
        assert!(usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(usage.critical && !usage.value.digital_signature());
        let id = own_id(authority.spki_sha256());
        assert_eq!(key_ids(&parsed), (id.clone(), id));
        let life = parsed.validity();
        assert_eq!(life.not_before.timestamp(), NOW - 300);
        assert_eq!(life.not_after.timestamp(), NOW + 3_652 * 86_400);
    }

    /// What a certificate below the CA says beside names, key and times.
    fn check_leaf(authority: &Authority, issued: &KeyedCertificate, names: &[GeneralName<'_>]) {
        let (_, parsed) = X509Certificate::from_der(&issued.certificate.der).unwrap();
        let constraints = parsed.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && !constraints.value.ca);
        let usage = parsed.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.flags == 1, "a digital signature");
        let others = parsed.subject_alternative_name().unwrap().unwrap();
        assert!(!others.critical);
        assert_eq!(others.value.general_names, names);
        assert_eq!(key_ids(&parsed).0, own_id(issued.key.spki_sha256()));
        assert_eq!(key_ids(&parsed).1, own_id(authority.spki_sha256()));
    }

    /// The first 160 bits of the key's hash (RFC 7093 §2, method 1).
    fn own_id(key: KeyHash) -> Vec<u8> {
        key.0[..20].to_vec()
    }

    /// The identifiers of a certificate's key and of its issuer's.
    fn key_ids(parsed: &X509Certificate<'_>) -> (Vec<u8>, Vec<u8>) {
        let extensions = || parsed.iter_extensions().map(|extension| extension.parsed_extension());
        let own = extensions().find_map(|extension| match extension {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let issuers = extensions().find_map(|extension| match extension {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                Some(id.key_identifier.as_ref()?.0.to_vec())
            }
            _ => None,
        });
        (own.unwrap(), issuers.unwrap())
    }

    #[test]
    fn leaves_say_what_they_are_for() {
        let authority = authority();
        let names = ServerNames::new(["hub.example", "127.0.0.1"]).unwrap();
        let server = authority.issue_server(&names, day()).unwrap();
        let names = [GeneralName::DNSName("hub.example"), GeneralName::IPAddress(&[127, 0, 0, 1])];
        check_leaf(&authority, &server, &names);
        let subject = ClientSubject {
            user: "jo".into(),
            uri: Some("strait://x/y".into()),
            ..ClientSubject::default()
        };
        let client = authority.issue_client(&subject, day()).unwrap();
        check_leaf(&authority, &client, &[GeneralName::URI("strait://x/y")]);

        let purposes = |issued: &KeyedCertificate| {
            let (_, parsed) = X509Certificate::from_der(&issued.certificate.der).unwrap();
            let usage = parsed.extended_key_usage().unwrap().unwrap().value;
            (usage.server_auth, usage.client_auth)
        };
        assert_eq!((purposes(&server), purposes(&client)), ((true, false), (false, true)));
    }

    #[test]
    fn saved_and_loaded_it_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pki");
        let load = |path: &Path| Authority::load(path, clock(), Arc::new(SeededEntropy::new(1)));
        assert!(load(&path).unwrap().is_none());

        let authority = authority();
        authority.save(&path).unwrap();
        let mode = |name| {
            let metadata = std::fs::metadata(path.join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        assert_eq!((mode("ca.key"), mode("ca.crt")), (0o600, 0o644));
        let loaded = load(&path).unwrap().unwrap();
        assert_eq!(loaded.certificate_pem(), authority.certificate_pem());
        assert_eq!(loaded.spki_sha256(), authority.spki_sha256());

        let other = PrivateKey::generate().unwrap().to_pem().unwrap();
        std::fs::write(path.join("ca.key"), other.expose()).unwrap();
        assert!(matches!(load(&path), Err(PkiError::KeyMismatch)));
        std::fs::write(path.join("ca.crt"), "nonsense").unwrap();
        assert!(matches!(load(&path), Err(PkiError::Malformed { .. })));
    }

    #[test]
    fn a_users_certificate_says_who_and_until_when() {
        let subject = ClientSubject {
            user: "jo".into(),
            group: Some("système".into()),
            uri: Some("strait://x/y".into()),
        };
        let issued = authority().issue_client(&subject, day()).unwrap();
        let chain = [issued.certificate.der.clone()];
        let peer = PeerCertificate::parse(&chain).unwrap();
        assert_eq!(peer.user, "jo");
        assert_eq!(peer.groups, ["système"]);
        assert_eq!(peer.uris, ["strait://x/y"]);
        assert_eq!(peer.serial, issued.certificate.serial());
        assert_eq!(peer.not_before, issued.certificate.not_before());
        assert_eq!(peer.not_after, issued.certificate.not_after());
        assert_eq!(peer.not_before.as_second(), NOW - 300);
        assert_eq!(peer.not_after.as_second(), NOW + 86_400);
    }

    #[test]
    fn nothing_outlives_the_authority() {
        let time = Arc::new(ManualClock::new(Timestamp::from_second(NOW).unwrap()));
        let hub = HubId::from_random([0; 16]);
        let entropy = Arc::new(SeededEntropy::new(9));
        let authority = Authority::create(&hub, time.clone(), entropy).unwrap();
        let subject = ClientSubject { user: "jo".into(), ..ClientSubject::default() };
        let long = authority.issue_client(&subject, LIFE * 2).unwrap();
        assert_eq!(long.certificate.not_after(), authority.not_after);
        time.advance(LIFE + Duration::from_secs(1));
        let error = authority.issue_client(&subject, day()).unwrap_err();
        assert!(matches!(error, PkiError::AuthorityExpired { .. }));
    }

    #[test]
    fn serials_differ_and_are_positive() {
        let authority = authority();
        let subject = ClientSubject { user: "jo".into(), ..ClientSubject::default() };
        let serial = || {
            let issued = authority.issue_client(&subject, day()).unwrap();
            issued.certificate.serial().to_owned()
        };
        let (first, second) = (serial(), serial());
        assert_ne!(first, second);
        for serial in [first, second] {
            assert_eq!(serial.len(), 32);
            assert!(('4'..='7').contains(&serial.chars().next().unwrap()));
        }
    }
}
