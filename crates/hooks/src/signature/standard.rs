//! Standard Webhooks 1.0 (standard-webhooks/spec/standard-webhooks.md), which GitLab's signing
//! tokens follow.
//!
//! What is signed is `id.timestamp.body`. Where an id may hold a full stop the same bytes could be
//! cut in two ways, so such an id is refused: senders must not make one.

use std::str;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{HeaderMap, HeaderName};
use jiff::Timestamp;
use strait_types::Redacted;

use super::hmac::{Algorithm, Macs};
use super::{Refused, Secret, single};

/// How far a signed time may be from ours, both ways.
pub const TOLERANCE: Duration = Duration::from_secs(300);
/// Most signatures of one request that are looked at; with more it is malformed.
pub const MAX_SIGNATURES: usize = 8;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// People copy keys with their padding and without it.
const KEYS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key that a secret's text stands for.
pub(super) fn key(secret: &Secret) -> Option<Redacted<Vec<u8>>> {
    let text = secret.expose();
    let text = text.strip_prefix(b"whsec_").unwrap_or(text);
    KEYS.decode(text).ok().filter(|key| !key.is_empty()).map(Redacted::new)
}

pub(super) fn begin(
    headers: &HeaderMap,
    secrets: &[Secret],
    now: Timestamp,
) -> Result<Macs, Refused> {
    let id = single(headers, &ID)?;
    let timestamp = single(headers, &TIMESTAMP)?;
    let sent = signatures(single(headers, &SIGNATURE)?)?;
    if id.is_empty() || id.contains(&b'.') {
        return Err(Refused::Malformed);
    }
    fresh(timestamp, now)?;
    let keys: Vec<_> = secrets.iter().filter_map(key).collect();
    if keys.is_empty() {
        return Err(Refused::NoSecret);
    }
    let keys = keys.iter().map(|key| key.expose().as_slice());
    let mut macs = Macs::new(Algorithm::Sha256, keys, sent);
    for part in [id, b".", timestamp, b"."] {
        macs.update(part);
    }
    Ok(macs)
}

/// The `v1` signatures; those of other versions are passed over.
fn signatures(value: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
    let mut found = Vec::new();
    let texts = value.split(|byte| *byte == b' ').filter(|text| !text.is_empty());
    for (count, text) in texts.enumerate() {
        if count == MAX_SIGNATURES {
            return Err(Refused::Malformed);
        }
        let Some(text) = text.strip_prefix(b"v1,") else {
            continue;
        };
        let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == 32);
        found.push(bytes.ok_or(Refused::Malformed)?);
    }
    if found.is_empty() { Err(Refused::Malformed) } else { Ok(found) }
}

/// Whole seconds since 1970, in digits and nothing else.
fn fresh(timestamp: &[u8], now: Timestamp) -> Result<(), Refused> {
    let digits = !timestamp.is_empty() && timestamp.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(timestamp).ok().filter(|_| digits).ok_or(Refused::Malformed)?;
    // More digits than a number has are a time far from now.
    let signed: i64 = text.parse().map_err(|_| Refused::Stale)?;
    if signed.abs_diff(now.as_second()) > TOLERANCE.as_secs() {
        return Err(Refused::Stale);
    }
    Ok(())
}
