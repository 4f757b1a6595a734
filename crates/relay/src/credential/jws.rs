//! Signing and checking of tokens.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use strait_pki::PrivateKey;
use strait_types::{Classified, ErrorKind, Redacted};

use super::claims::{AUDIENCE, Claims};

/// Longest token, bytes.
const LENGTH_MAX: usize = 16 << 10;
/// How far ahead of ours the clock of another hub may be.
const SKEW: Duration = Duration::from_secs(60);
/// What the header of every token begins with; a multiple of three bytes, so that it has one
/// form in base64.
const HEADER_START: &str = r#"{"typ":"strait-relay+jwt"#;
/// Bytes of a signature.
const SIGNATURE_LENGTH: usize = 64;

/// A token cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The crypto library refused.
    #[error("the crypto library cannot {0}")]
    Crypto(&'static str),
    /// It would be too long to be shown in a request: too many groups.
    #[error("the token would be longer than {LENGTH_MAX} bytes")]
    TooLong,
}

impl Classified for SignError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Crypto(_) => ErrorKind::Internal,
            Self::TooLong => ErrorKind::TooLarge,
        }
    }
}

/// Signs tokens. `Debug` shows only its id.
pub struct TokenKey {
    pair: EcdsaKeyPair,
    id: String,
}

impl TokenKey {
    /// Makes a signing key of a private key. Its id is a part of the public key's hash.
    ///
    /// # Errors
    /// The crypto library refused.
    pub fn new(key: &PrivateKey) -> Result<Self, SignError> {
        let pem = key.to_pem().map_err(|_| SignError::Crypto("write a private key"))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes())
            .map_err(|_| SignError::Crypto("read a private key"))?;
        let der = Redacted::new(der.secret_pkcs8_der().to_vec());
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.expose())
            .map_err(|_| SignError::Crypto("use a private key"))?;
        let mut id = key.spki_sha256().to_string();
        id.truncate(16);
        Ok(Self { pair, id })
    }

    /// The key's identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The half that checks.
    fn verifier(&self) -> Verifier {
        Verifier {
            id: self.id.clone(),
            header: encoded_header(&self.id),
            public: self.pair.public_key().as_ref().to_vec(),
        }
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TokenKey").field(&self.id).finish()
    }
}

struct Verifier {
    id: String,
    header: String,
    public: Vec<u8>,
}

fn encoded_header(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{HEADER_START}","alg":"ES256","kid":"{id}"}}"#))
}

/// Whether a text has the form of a relay token, of whatever hub.
#[must_use]
pub fn is_ours(text: &str) -> bool {
    text.len() <= LENGTH_MAX && text.starts_with(&URL_SAFE_NO_PAD.encode(HEADER_START))
}

/// Why a token is not honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is no token of ours: malformed, or by another key, or changed.
    #[error("it is not a token of this hub")]
    Invalid,
    /// It is too old.
    #[error("token {id} expired")]
    Expired {
        /// Its identifier.
        id: String,
        /// Since when.
        ago: Duration,
        /// How long it lived.
        life: Duration,
    },
    /// It is from the future: a clock is wrong.
    #[error("token {id} is not valid yet")]
    Early {
        /// Its identifier.
        id: String,
    },
}

/// The hub's keys: one signs, all check.
pub struct KeyRing {
    issuer: String,
    current: TokenKey,
    verifiers: Vec<Verifier>,
}

impl KeyRing {
    /// The keys of a hub. Tokens by `earlier` keys are honoured too.
    #[must_use]
    pub fn new(issuer: &str, current: TokenKey, earlier: &[TokenKey]) -> Self {
        let verifiers = std::iter::once(&current).chain(earlier).map(TokenKey::verifier).collect();
        Self { issuer: issuer.to_owned(), current, verifiers }
    }

    /// The key that signs.
    #[must_use]
    pub const fn current(&self) -> &TokenKey {
        &self.current
    }

    /// Makes a token. Issuer and audience are this hub's, whatever the claims say.
    ///
    /// # Errors
    /// See [`SignError`].
    ///
    /// # Panics
    /// Never: claims are texts and numbers.
    pub fn sign(&self, mut claims: Claims) -> Result<Redacted<String>, SignError> {
        claims.iss.clone_from(&self.issuer);
        AUDIENCE.clone_into(&mut claims.aud);
        let claims = serde_json::to_vec(&claims).expect("claims are texts and numbers");
        let mut token = encoded_header(&self.current.id);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.current.pair.sign(&SystemRandom::new(), token.as_bytes());
        let signature = signature.map_err(|_| SignError::Crypto("sign"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        if token.len() > LENGTH_MAX { Err(SignError::TooLong) } else { Ok(Redacted::new(token)) }
    }

    /// Checks a token: who made it, then whether it is its time. The id of its key comes with
    /// its claims. A signature is checked also for a key that is not known, so that the time
    /// that it takes does not tell which are.
    ///
    /// # Errors
    /// See [`Rejected`]. Nothing of its content is told before its signature was right.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<(Claims, &str), Rejected> {
        let verifier = |header: &str| {
            let known = self.verifiers.iter().find(|one| one.header == header);
            (known.or_else(|| self.verifiers.first()), known.is_some())
        };
        let (signed, header, payload, signature) = parts(token).ok_or(Rejected::Invalid)?;
        let (verifier, known) = verifier(header);
        let verifier = verifier.ok_or(Rejected::Invalid)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &verifier.public);
        let right = key.verify(signed.as_bytes(), &signature).is_ok();
        if !right || !known {
            return Err(Rejected::Invalid);
        }
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| Rejected::Invalid)?;
        if claims.aud != AUDIENCE || claims.iss != self.issuer {
            return Err(Rejected::Invalid);
        }
        if claims.issued() > now.checked_add(SKEW).unwrap_or(Timestamp::MAX) {
            return Err(Rejected::Early { id: claims.jti });
        }
        if claims.expires() <= now {
            let ago = Duration::try_from(now.duration_since(claims.expires())).unwrap_or_default();
            let life = claims.life();
            return Err(Rejected::Expired { id: claims.jti, ago, life });
        }
        Ok((claims, &verifier.id))
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.verifiers.iter().map(|one| &one.id).collect();
        f.debug_struct("KeyRing").field("issuer", &self.issuer).field("keys", &ids).finish()
    }
}

/// What is signed, the header in it, the payload and the signature.
fn parts(token: &str) -> Option<(&str, &str, Vec<u8>, Vec<u8>)> {
    if token.len() > LENGTH_MAX {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    (signature.len() == SIGNATURE_LENGTH).then_some((signed, header, payload, signature))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::credential) fn claims() -> Claims {
        Claims {
            iss: String::new(),
            aud: String::new(),
            sub: "alice".into(),
            groups: vec!["acme:dev".into()],
            cluster: "c1".into(),
            agent: "smith".into(),
            agent_uid: "0190b3a1-7c3e-4f00-8d2a-5b6c7d8e9f01".into(),
            service: "ci".into(),
            service_type: None,
            verbs: Vec::new(),
            networks: Vec::new(),
            jti: "01H".into(),
            iat: 1_000,
            exp: 4_600,
        }
    }

    fn key() -> TokenKey {
        TokenKey::new(&PrivateKey::generate().unwrap()).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_good_in_its_time() {
        let ring = KeyRing::new("hub-1", key(), &[]);
        let token = ring.sign(claims()).unwrap();
        let token = token.expose();
        assert!(is_ours(token));
        let (read, id) = ring.verify(token, at(2_000)).unwrap();
        assert_eq!((&*read.iss, &*read.aud, &*read.jti), ("hub-1", "strait-relay", "01H"));
        assert_eq!(id, ring.current().id());
        let verify = |second| ring.verify(token, at(second)).map(drop);
        assert_eq!(verify(4_599), Ok(()));
        let expired = |ago| Rejected::Expired {
            id: "01H".into(),
            ago: Duration::from_secs(ago),
            life: Duration::from_secs(3_600),
        };
        assert_eq!(verify(4_600), Err(expired(0)));
        assert_eq!(verify(4_600 + 10_800), Err(expired(10_800)));
        assert_eq!(verify(940), Ok(()));
        assert_eq!(verify(939), Err(Rejected::Early { id: "01H".into() }));
    }

    #[test]
    fn a_token_that_no_request_could_show_is_not_made() {
        let ring = KeyRing::new("hub-1", key(), &[]);
        let groups = |count: usize| (0..count).map(|n| format!("acme:group-{n:04}")).collect();
        let sign = |count| ring.sign(Claims { groups: groups(count), ..claims() });
        let token = sign(256).unwrap();
        assert!(ring.verify(token.expose(), at(2_000)).is_ok());
        assert_eq!(sign(2_000).map(drop), Err(SignError::TooLong));
    }

    #[test]
    fn keys_rotate_and_other_hubs_tokens_are_nothing() {
        let (old, new) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let token_key = |key| TokenKey::new(key).unwrap();
        let before = KeyRing::new("hub-1", token_key(&old), &[]);
        let both = KeyRing::new("hub-1", token_key(&new), &[token_key(&old)]);
        let after = KeyRing::new("hub-1", token_key(&new), &[]);
        let other = KeyRing::new("hub-2", token_key(&old), &[]);
        let token = before.sign(claims()).unwrap();
        let token = token.expose();
        assert!(both.verify(token, at(2_000)).is_ok());
        for ring in [&after, &other] {
            assert_eq!(ring.verify(token, at(2_000)).map(drop), Err(Rejected::Invalid));
        }
        let newer = both.sign(claims()).unwrap();
        assert!(after.verify(newer.expose(), at(2_000)).is_ok());
    }

    #[test]
    fn w12_no_other_form_is_honoured() {
        let ring = KeyRing::new("hub-1", key(), &[]);
        let token = ring.sign(claims()).unwrap();
        let parts: Vec<&str> = token.expose().split('.').collect();
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let join = |parts: [&str; 3]| parts.join(".");
        let none = encode(r#"{"alg":"none"}"#);
        let kid = ring.current().id();
        let hs256 = encode(&format!(r#"{{"typ":"strait-relay+jwt","alg":"HS256","kid":"{kid}"}}"#));
        let spaced =
            encode(&format!(r#"{{ "typ":"strait-relay+jwt","alg":"ES256","kid":"{kid}"}}"#));
        let payload = encode(&serde_json::to_string(&claims()).unwrap());
        let flipped = {
            let mut signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
            signature[0] ^= 1;
            URL_SAFE_NO_PAD.encode(signature)
        };
        for token in [
            String::new(),
            "..".into(),
            join([&none, parts[1], ""]),
            join([&none, parts[1], parts[2]]),
            join([&hs256, parts[1], parts[2]]),
            join([&spaced, parts[1], parts[2]]),
            join([parts[0], &payload, parts[2]]),
            join([parts[0], parts[1], &flipped]),
            join([parts[0], parts[1], &parts[2][..80]]),
            format!("{}.x", token.expose()),
            format!("{}=", token.expose()),
            format!(" {}", token.expose()),
            "A".repeat(LENGTH_MAX + 1),
        ] {
            assert_eq!(ring.verify(&token, at(2_000)).map(drop), Err(Rejected::Invalid), "{token}");
        }
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let ring = KeyRing::new("hub-1", key(), &[]);
        let shown = format!("{ring:?} {:?}", ring.current());
        assert!(shown.contains(ring.current().id()) && shown.len() < 120, "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[A-Za-z0-9_.-]{0,80}") {
            let ring = KeyRing::new("hub-1", key(), &[]);
            prop_assert!(ring.verify(&text, at(2_000)).is_err());
        }
    }
}
