//! HMACs over what is yet to come.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use subtle::{Choice, ConstantTimeEq};

use super::{Refused, Secret};

/// An HMAC over the body in a header of the source's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacScheme {
    /// The header.
    pub header: HeaderName,
    /// The hash.
    pub algorithm: Algorithm,
    /// How its bytes are written.
    pub encoding: Encoding,
    /// What stands before them.
    pub prefix: Box<str>,
}

/// The hash of an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// For senders that have nothing better.
    Sha1,
    /// What every scheme but an own one uses.
    Sha256,
    /// The longest.
    Sha512,
}

impl Algorithm {
    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    /// Length of what it makes, in bytes.
    const fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// How the bytes of an HMAC are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal digits, all in lower case or all in upper case.
    Hex,
    /// Base64 of the standard alphabet, padded.
    Base64,
}

impl HmacScheme {
    pub(super) fn begin(&self, sent: &[u8], secrets: &[Secret]) -> Result<Macs, Refused> {
        let text = sent.strip_prefix(self.prefix.as_bytes()).ok_or(Refused::Malformed)?;
        let decoded = match self.encoding {
            Encoding::Hex => hex(text, false).or_else(|| hex(text, true)),
            Encoding::Base64 => STANDARD.decode(text).ok(),
        };
        let sent = decoded.filter(|bytes| bytes.len() == self.algorithm.length());
        let keys = secrets.iter().map(Secret::expose);
        Ok(Macs::new(self.algorithm, keys, vec![sent.ok_or(Refused::Malformed)?]))
    }
}

/// SHA-256 in lower-case digits: what all known senders write.
pub(super) fn begin_sha256(sent: &[u8], prefix: &str, secrets: &[Secret]) -> Result<Macs, Refused> {
    let text = sent.strip_prefix(prefix.as_bytes()).ok_or(Refused::Malformed)?;
    let sent = hex(text, false).filter(|bytes| bytes.len() == Algorithm::Sha256.length());
    let keys = secrets.iter().map(Secret::expose);
    Ok(Macs::new(Algorithm::Sha256, keys, vec![sent.ok_or(Refused::Malformed)?]))
}

/// Digits of one case to bytes.
fn hex(text: &[u8], upper: bool) -> Option<Vec<u8>> {
    let first = if upper { b'A' } else { b'a' };
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        _ => byte.checked_sub(first).filter(|letter| *letter < 6).map(|letter| letter + 10),
    };
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// One HMAC for each secret, and what was sent.
pub(super) struct Macs {
    contexts: Vec<hmac::Context>,
    sent: Vec<Vec<u8>>,
}

impl Macs {
    pub(super) fn new<'a>(
        algorithm: Algorithm,
        keys: impl Iterator<Item = &'a [u8]>,
        sent: Vec<Vec<u8>>,
    ) -> Self {
        let context = |key: &[u8]| hmac::Context::with_key(&hmac::Key::new(algorithm.hmac(), key));
        Self { contexts: keys.map(context).collect(), sent }
    }

    pub(super) fn update(&mut self, chunk: &[u8]) {
        for context in &mut self.contexts {
            context.update(chunk);
        }
    }

    pub(super) fn any_matches(self) -> Choice {
        let mut found = Choice::from(0);
        for context in self.contexts {
            let tag = context.sign();
            for sent in &self.sent {
                found |= tag.as_ref().ct_eq(sent);
            }
        }
        found
    }
}
