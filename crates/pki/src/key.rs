//! Private keys of our own making.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rcgen::{
    CertificateParams, DistinguishedName, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use strait_types::Redacted;

use crate::error::PkiError;
use crate::pem;

/// The SHA-256 of a public key (its SubjectPublicKeyInfo in DER). Prints as 64 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    pub(crate) fn of(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(crate) fn write_hex(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// An ECDSA P-256 private key. `Debug` shows the public half.
///
/// It stays within the crypto library, which clears it in the end; the pair of the library that
/// writes certificates would keep a copy of its PKCS#8 that nobody clears.
pub struct PrivateKey(EcdsaKeyPair);

impl PrivateKey {
    /// Makes a key with the crypto library's own generator.
    ///
    /// # Errors
    /// The library refused.
    pub fn generate() -> Result<Self, PkiError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        pair.map(Self).map_err(|_| PkiError::Crypto { action: "make a key" })
    }

    /// Reads a PKCS#8 key in PEM, as [`to_pem`](Self::to_pem) writes it.
    ///
    /// # Errors
    /// Anything but an ECDSA P-256 key.
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        const MALFORMED: PkiError =
            PkiError::Malformed { what: "private key (expected PKCS#8 PEM of an ECDSA P-256 key)" };
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| MALFORMED)?;
        let der = der.secret_pkcs8_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        pair.map(Self).map_err(|_| MALFORMED)
    }

    /// The key as PKCS#8 in PEM.
    ///
    /// # Errors
    /// The library refused.
    pub fn to_pem(&self) -> Result<Redacted<String>, PkiError> {
        let der = self.pkcs8()?;
        Ok(Redacted::new(pem::encode("PRIVATE KEY", der.as_ref())))
    }

    /// A signing request (PKCS#10 in PEM) that carries nothing but the public key.
    ///
    /// # Errors
    /// The library refused.
    pub fn to_csr_pem(&self) -> Result<String, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(self);
        let request = request.map_err(|_| PkiError::Crypto { action: "sign" })?;
        Ok(pem::encode("CERTIFICATE REQUEST", request.der()))
    }

    /// The hash of the public key.
    #[must_use]
    pub fn spki_sha256(&self) -> KeyHash {
        KeyHash::of(&self.subject_public_key_info())
    }

    /// For the TLS library.
    pub(crate) fn to_der(&self) -> Result<PrivateKeyDer<'static>, PkiError> {
        let der = self.pkcs8()?.as_ref().to_vec();
        Ok(PrivatePkcs8KeyDer::from(der).into())
    }

    fn pkcs8(&self) -> Result<aws_lc_rs::pkcs8::Document, PkiError> {
        self.0.to_pkcs8v1().map_err(|_| PkiError::Crypto { action: "write a private key" })
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.spki_sha256()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_itself() {
        let key = PrivateKey::generate().unwrap();
        let text = key.to_pem().unwrap();
        let read = PrivateKey::from_pem(text.expose()).unwrap();
        assert_eq!(read.spki_sha256(), key.spki_sha256());
        assert_ne!(PrivateKey::generate().unwrap().spki_sha256(), key.spki_sha256());
    }

    #[test]
    fn what_is_not_such_a_key_is_refused() {
        let csr = PrivateKey::generate().unwrap().to_csr_pem().unwrap();
        let empty = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n";
        for text in ["", "x", &csr, empty] {
            let error = PrivateKey::from_pem(text).unwrap_err().to_string();
            assert!(error.starts_with("malformed private key"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = PrivateKey::generate().unwrap();
        let expected = format!("PrivateKey({})", key.spki_sha256());
        assert_eq!(format!("{key:?}"), expected);
    }
}
