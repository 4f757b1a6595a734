//! Signing requests (PKCS#10, RFC 2986): of each only the public key is taken.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm, SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509;

use crate::error::PkiError;
use crate::key::KeyHash;

/// A request for an RSA 8192 key is about 3 KiB.
const PEM_MAX: usize = 16 << 10;

const RSA_BITS_MIN: usize = 2048;
const ED25519_BYTES: usize = 32;

/// How a point begins that is written with both coordinates (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A signing request whose key is of an accepted kind and whose maker holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    key: SubjectPublicKeyInfo,
}

impl Csr {
    /// Checks a request in PEM: the key is ECDSA P-256 or P-384, Ed25519, or RSA of at least
    /// 2048 bits, and the signature is that key's.
    ///
    /// # Errors
    /// [`PkiError::Malformed`], [`PkiError::RefusedKey`], [`PkiError::RefusedSignature`],
    /// [`PkiError::WrongSignature`].
    pub fn parse(pem: &str) -> Result<Self, PkiError> {
        if pem.len() > PEM_MAX {
            return Err(MALFORMED);
        }
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|_| MALFORMED)?;
        let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| MALFORMED)?;
        if !rest.is_empty() {
            return Err(MALFORMED);
        }
        let key = accepted(&request.certification_request_info.subject_pki)?;
        check_signature(&request)?;
        Ok(Self { key })
    }

    /// The hash of the public key: what tells one requester from another.
    #[must_use]
    pub fn spki_sha256(&self) -> KeyHash {
        KeyHash::of(&self.key.subject_public_key_info())
    }

    pub(crate) const fn key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }
}

const MALFORMED: PkiError = PkiError::Malformed { what: "signing request" };

/// A key of an accepted kind in its one right encoding: in another it would be another key to
/// those who compare.
fn accepted(spki: &x509::SubjectPublicKeyInfo<'_>) -> Result<SubjectPublicKeyInfo, PkiError> {
    let key = SubjectPublicKeyInfo::from_der(spki.raw).ok();
    let key = key.filter(|key| is_accepted(key.algorithm()));
    let in_full = match spki.parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() < RSA_BITS_MIN => {
            return Err(refused(&format!("RSA {}", rsa.key_size())));
        }
        Ok(PublicKey::RSA(_)) => true,
        Ok(PublicKey::EC(_)) if key.is_none() => {
            return Err(refused("elliptic-curve keys on other curves"));
        }
        Ok(PublicKey::EC(point)) => point.data().first() == Some(&UNCOMPRESSED),
        Ok(_) if key.is_none() => return Err(refused("keys of another algorithm")),
        Ok(_) => spki.subject_public_key.data.len() == ED25519_BYTES,
        Err(_) => false,
    };
    key.filter(|key| in_full && key.subject_public_key_info() == spki.raw).ok_or(MALFORMED)
}

/// Whether keys are of an accepted kind whose usual signatures are of this algorithm. RSA has one
/// kind of key for all its algorithms.
fn is_accepted(algorithm: &SignatureAlgorithm) -> bool {
    [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256]
        .contains(&algorithm)
}

fn refused(found: &str) -> PkiError {
    PkiError::RefusedKey { found: found.to_owned() }
}

fn check_signature(request: &X509CertificationRequest<'_>) -> Result<(), PkiError> {
    let algorithm = request.signature_algorithm.algorithm.iter();
    let algorithm: Vec<u64> = algorithm.ok_or(PkiError::RefusedSignature)?.collect();
    // The verifier would also take SHA-1 and PSS.
    SignatureAlgorithm::from_oid(&algorithm).map_err(|_| PkiError::RefusedSignature)?;
    request.verify_signature().map_err(|error| match error {
        X509Error::SignatureUnsupportedAlgorithm => PkiError::RefusedSignature,
        _ => PkiError::WrongSignature,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;

    use super::*;
    use crate::issue::ClientSubject;
    use crate::key::PrivateKey;
    use crate::peer::PeerCertificate;
    use crate::testing::{authority, day};
    use crate::{AgentIdentity, pem};

    macro_rules! testdata {
        ($name:literal) => {
            include_str!(concat!("../testdata/", $name, ".csr"))
        };
    }

    #[test]
    fn accepted_keys_are_certified() {
        let authority = authority();
        let ours = PrivateKey::generate().unwrap().to_csr_pem().unwrap();
        for text in [
            &ours,
            testdata!("p256"),
            testdata!("p384"),
            testdata!("ed25519"),
            testdata!("rsa2048"),
            testdata!("rsa4096"),
            testdata!("rsasha512"),
        ] {
            let request = Csr::parse(text).unwrap();
            let subject = ClientSubject { user: "agent".into(), ..ClientSubject::default() };
            let issued = authority.certify(&request, &subject, day()).unwrap();
            let chain = [CertificateDer::from_pem_slice(issued.to_pem().as_bytes()).unwrap()];
            let bundle = authority.bundle().unwrap();
            let now = authority.clock().now();
            PeerCertificate::verify(&chain, &bundle, now).unwrap();
        }
    }

    #[test]
    fn ours_carries_nothing_but_the_key() {
        let key = PrivateKey::generate().unwrap();
        let text = key.to_csr_pem().unwrap();
        assert_eq!(Csr::parse(&text).unwrap().spki_sha256(), key.spki_sha256());
        let der = CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).unwrap();
        let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
        let info = &request.certification_request_info;
        assert_eq!(info.subject.iter().count(), 0);
        assert!(info.attributes().is_empty());
    }

    #[test]
    fn other_keys_and_signatures_are_refused() {
        let elsewhere = "elliptic-curve keys on other curves";
        for (text, found) in [
            (testdata!("p224"), elsewhere),
            (testdata!("p521"), elsewhere),
            (testdata!("k256"), elsewhere),
            (testdata!("explicit"), elsewhere),
            (testdata!("rsa1024"), "RSA 1024"),
        ] {
            match Csr::parse(text).unwrap_err() {
                PkiError::RefusedKey { found: got } => assert_eq!(got, found),
                error => panic!("{found}: {error}"),
            }
        }
        for text in [testdata!("rsasha1"), testdata!("rsapss")] {
            let error = Csr::parse(text).unwrap_err();
            assert!(matches!(error, PkiError::RefusedSignature), "{error}");
        }
    }

    #[test]
    fn a_request_without_its_key_is_refused() {
        let der = CertificateSigningRequestDer::from_pem_slice(testdata!("p256").as_bytes());
        let mut der = der.unwrap().as_ref().to_vec();
        // In the subject: `root` becomes `rooT`.
        let at = der.windows(4).position(|window| window == b"root").unwrap();
        der[at + 3] = b'T';
        let error = Csr::parse(&pem::encode("CERTIFICATE REQUEST", &der)).unwrap_err();
        assert!(matches!(error, PkiError::WrongSignature), "{error}");
    }

    #[test]
    fn what_the_request_wishes_for_is_ignored() {
        let request = Csr::parse(testdata!("p256")).unwrap();
        let subject = ClientSubject { user: "smith".into(), ..ClientSubject::default() };
        let issued = authority().certify(&request, &subject, day()).unwrap();
        let peer = PeerCertificate::parse(&[issued.der]).unwrap();
        assert_eq!(peer.user, "smith");
        assert!(peer.groups.is_empty() && peer.uris.is_empty());
        assert!(AgentIdentity::is_claimed_by("strait://x/root/agent/a/b"));
    }

    #[test]
    fn text_that_is_no_request_is_malformed() {
        let long = "x".repeat(PEM_MAX + 1);
        let trailing = {
            let der = CertificateSigningRequestDer::from_pem_slice(testdata!("p256").as_bytes());
            let der = [der.unwrap().as_ref(), &[0]].concat();
            pem::encode("CERTIFICATE REQUEST", &der)
        };
        // A point of the curve must be written in full, so that a key has one encoding.
        for text in ["", "nonsense", &long, &trailing, testdata!("compressed")] {
            let error = Csr::parse(text).unwrap_err();
            assert!(matches!(error, PkiError::Malformed { .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let der = CertificateSigningRequestDer::from_pem_slice(testdata!("rsa2048").as_bytes());
            let mut der = der.unwrap().as_ref().to_vec();
            let at = at.index(der.len());
            der[at] = byte;
            let _ = Csr::parse(&pem::encode("CERTIFICATE REQUEST", &der));
        }
    }
}
