//! Continue tokens: where a paged list goes on, sealed.
//!
//! A token says revision, place and what remains, encrypted and bound to the list that it was made
//! for: view, resource, scope and selectors are associated data. So a client can neither read
//! another tenant's object names out of one nor use it in another list.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use strait_runtime::Entropy;
use strait_store::ObjectName;
use strait_types::{ClusterName, Revision};

/// Bytes of the sealing key.
pub const KEY_LENGTH: usize = 32;

/// Longest token accepted, in characters: two names of 253, a cluster and the seal.
const MAX_TOKEN: usize = 2048;

/// Makes and opens continue tokens. Hubs of one store share the key.
pub struct Sealer {
    key: LessSafeKey,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// The list's revision; `None`: whatever is newest (an expired list goes on so).
    pub revision: Option<Revision>,
    /// The last object that was sent.
    pub after: (ClusterName, ObjectName),
    /// Objects behind that one, where it was counted.
    pub remaining: Option<u64>,
}

/// A token was not made here for this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("continue key is not valid")]
pub struct InvalidToken;

impl Sealer {
    /// Uses a key.
    #[must_use]
    pub fn new(key: &[u8; KEY_LENGTH]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the algorithm's length");
        Self { key: LessSafeKey::new(key) }
    }

    /// Makes a token for the list that `list` identifies.
    #[must_use]
    pub fn seal(&self, token: &Continuation, list: &str, entropy: &dyn Entropy) -> String {
        let (revision, remaining) =
            (number(token.revision.map(|own| own.0)), number(token.remaining));
        let (cluster, name) = &token.after;
        let text = format!("{revision}\n{remaining}\n{cluster}\n{}", name.as_str());
        let mut sealed = text.into_bytes();
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(list.as_bytes()),
                &mut sealed,
            )
            .expect("a short text is within the cipher's limits");
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens a token.
    ///
    /// # Errors
    /// It was not made with this key for this list.
    pub fn open(&self, token: &str, list: &str) -> Result<Continuation, InvalidToken> {
        if token.len() > MAX_TOKEN {
            return Err(InvalidToken);
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken)?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(InvalidToken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| InvalidToken)?;
        let text = self
            .key
            .open_in_place(nonce, Aad::from(list.as_bytes()), sealed)
            .map_err(|_| InvalidToken)?;
        read(std::str::from_utf8(text).map_err(|_| InvalidToken)?).ok_or(InvalidToken)
    }
}

fn read(text: &str) -> Option<Continuation> {
    let mut lines = text.split('\n');
    let mut number = || match lines.next()? {
        "-" => Some(None),
        number => number.parse().ok().map(Some),
    };
    let (revision, remaining) = (number()?.map(Revision), number()?);
    let cluster = ClusterName::new(lines.next()?).ok()?;
    let name = lines.next()?;
    let name = match name.split_once('/') {
        Some((namespace, name)) => ObjectName::namespaced(namespace, name),
        None => ObjectName::cluster_scoped(name),
    };
    Some(Continuation { revision, after: (cluster, name), remaining })
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_runtime::SeededEntropy;

    fn token() -> Continuation {
        let after = (ClusterName::root(), ObjectName::namespaced("ns", "secret-name"));
        Continuation { revision: Some(Revision(7)), after, remaining: Some(500) }
    }

    #[test]
    fn tokens_open_only_for_their_list_and_key() {
        let entropy = SeededEntropy::new(1);
        let sealer = Sealer::new(&[1; KEY_LENGTH]);
        let sealed = sealer.seal(&token(), "root configmaps", &entropy);
        assert_eq!(sealer.open(&sealed, "root configmaps"), Ok(token()));
        assert_eq!(sealer.open(&sealed, "root secrets"), Err(InvalidToken));
        assert_eq!(
            Sealer::new(&[2; KEY_LENGTH]).open(&sealed, "root configmaps"),
            Err(InvalidToken)
        );
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert!(sealer.open(&URL_SAFE_NO_PAD.encode(forged), "root configmaps").is_err());
        }
        for text in ["", "x", "%%%", &"a".repeat(MAX_TOKEN + 1)] {
            assert_eq!(sealer.open(text, ""), Err(InvalidToken), "{text}");
        }
    }

    #[test]
    fn an_expired_list_goes_on_at_the_newest_revision() {
        let sealer = Sealer::new(&[1; KEY_LENGTH]);
        let token = Continuation { revision: None, remaining: None, ..token() };
        let sealed = sealer.seal(&token, "l", &SeededEntropy::new(1));
        assert_eq!(sealer.open(&sealed, "l"), Ok(token));
    }
}
