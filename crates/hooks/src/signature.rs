//! Who sent it: the senders' schemes.
//!
//! A source names its scheme; nothing is guessed from what a request carries, and headers of
//! other schemes are ignored. What signs is one header of the scheme (Standard Webhooks: three),
//! there exactly once. The head is judged before the body is read ([`Scheme::begin`]); the body
//! is hashed as it comes, once for each secret; the end compares every secret with every
//! signature in constant time and has no early way out.
//!
//! Texts of signatures are taken exactly as their senders document them, so that one delivery
//! has one signature: lower-case hexadecimal digits or canonical base64. Only a source that
//! describes its own HMAC may be sent upper-case digits.
//!
//! | scheme | header | signed |
//! |---|---|---|
//! | `github` | `X-Hub-Signature-256: sha256=<hex>` | body |
//! | `gitea` | `X-Gitea-Signature`, `X-Forgejo-Signature`: `<hex>`, the same in both if both are there | body |
//! | `bitbucket`, `bitbucket-dc` | `X-Hub-Signature: sha256=<hex>` | body |
//! | `gitlab-token` | `X-Gitlab-Token: <secret>` | nothing |
//! | `gitlab-signed`, `standard` | `webhook-signature: v1,<base64> …`, `webhook-id`, `webhook-timestamp` | id, time and body |
//! | `hmac` | as the source says | body |

mod hmac;
mod secret;
mod standard;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::digest;
use http::header::{HeaderMap, HeaderName};
use jiff::Timestamp;
use subtle::{Choice, ConstantTimeEq};

pub use hmac::{Algorithm, Encoding, HmacScheme};
pub use secret::{EmptySecret, Secret};
pub use standard::{MAX_SIGNATURES, TOLERANCE};

const HUB_SIGNATURE_256: HeaderName = HeaderName::from_static("x-hub-signature-256");
const HUB_SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature");
const GITEA_SIGNATURE: HeaderName = HeaderName::from_static("x-gitea-signature");
const FORGEJO_SIGNATURE: HeaderName = HeaderName::from_static("x-forgejo-signature");
const GITLAB_TOKEN: HeaderName = HeaderName::from_static("x-gitlab-token");

/// How a source's sender proves that it is the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// GitHub and GitHub Enterprise Server, SHA-256 only.
    Github,
    /// GitLab's secret token, sent as it is.
    GitlabToken,
    /// GitLab's signing token: Standard Webhooks.
    GitlabSigned,
    /// Gitea and Forgejo.
    Gitea,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Bitbucket Data Center.
    BitbucketServer,
    /// Standard Webhooks 1.0, symmetric (`v1`).
    Standard,
    /// An HMAC over the body in a header of the source's choice.
    Hmac(HmacScheme),
    /// Nothing is proven.
    None,
}

/// Why a request was not believed. Senders are not told; it is a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// A header of the scheme is not there.
    #[error("no signature")]
    Missing,
    /// A header of the scheme is there twice, or two that must agree do not.
    #[error("more than one signature")]
    Repeated,
    /// A header of the scheme is not written as the scheme has it.
    #[error("malformed signature")]
    Malformed,
    /// The signed time is more than [`TOLERANCE`] away.
    #[error("signed too long ago, or in the future")]
    Stale,
    /// None of the secrets made the signature.
    #[error("wrong signature")]
    Mismatch,
    /// There is no secret to verify with.
    #[error("no secret")]
    NoSecret,
}

impl Refused {
    /// Every reason, for metrics that must exist before the first refusal.
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::Repeated,
        Self::Malformed,
        Self::Stale,
        Self::Mismatch,
        Self::NoSecret,
    ];

    /// A lower-case word, stable, fit for a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Mismatch => "mismatch",
            Self::NoSecret => "no_secret",
        }
    }
}

/// A secret cannot be one of the scheme's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not base64, with or without whsec_ before it")]
pub struct UnfitSecret;

impl Scheme {
    /// Whether the scheme needs a secret.
    #[must_use]
    pub const fn needs_secret(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether a secret can be one of this scheme's.
    ///
    /// # Errors
    /// Standard Webhooks and GitLab's signing tokens are keys in base64.
    pub fn check_secret(&self, secret: &Secret) -> Result<(), UnfitSecret> {
        match self {
            Self::GitlabSigned | Self::Standard => {
                standard::key(secret).map(drop).ok_or(UnfitSecret)
            }
            _ => Ok(()),
        }
    }

    /// Judges a request's head; the body is then given to the verifier.
    ///
    /// `now` is what signed times are compared with. A request without body ends at once.
    ///
    /// # Errors
    /// What the head alone shows: a header of the scheme that is missing, repeated, malformed or
    /// stale, and a wrong token.
    pub fn begin(
        &self,
        headers: &HeaderMap,
        secrets: &[Secret],
        now: Timestamp,
    ) -> Result<Verifier, Refused> {
        if self.needs_secret() && secrets.is_empty() {
            return Err(Refused::NoSecret);
        }
        let body_hex = |header: &HeaderName, prefix: &str| {
            hmac::begin_sha256(single(headers, header)?, prefix, secrets)
        };
        let macs = match self {
            Self::None => return Ok(Verifier(None)),
            Self::GitlabToken => {
                token(single(headers, &GITLAB_TOKEN)?, secrets)?;
                return Ok(Verifier(None));
            }
            Self::Github => body_hex(&HUB_SIGNATURE_256, "sha256="),
            Self::Bitbucket | Self::BitbucketServer => body_hex(&HUB_SIGNATURE, "sha256="),
            Self::Gitea => hmac::begin_sha256(gitea(headers)?, "", secrets),
            Self::GitlabSigned | Self::Standard => standard::begin(headers, secrets, now),
            Self::Hmac(scheme) => scheme.begin(single(headers, &scheme.header)?, secrets),
        }?;
        Ok(Verifier(Some(macs)))
    }
}

/// A verification under way.
pub struct Verifier(Option<hmac::Macs>);

impl Verifier {
    /// Takes the next bytes of the body, as they were sent.
    pub fn update(&mut self, chunk: &[u8]) {
        if let Some(macs) = &mut self.0 {
            macs.update(chunk);
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// [`Refused::Mismatch`].
    pub fn finish(self) -> Result<(), Refused> {
        match self.0 {
            None => Ok(()),
            Some(macs) => verdict(macs.any_matches()),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

fn verdict(matches: Choice) -> Result<(), Refused> {
    if bool::from(matches) { Ok(()) } else { Err(Refused::Mismatch) }
}

/// The value of a header that must be there exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], Refused> {
    optional(headers, name)?.ok_or(Refused::Missing)
}

fn optional<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Refused> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refused::Repeated);
    }
    Ok(first.map(http::HeaderValue::as_bytes))
}

/// Forgejo sends both names. A backend may look at either, so they must say the same.
fn gitea(headers: &HeaderMap) -> Result<&[u8], Refused> {
    match (optional(headers, &FORGEJO_SIGNATURE)?, optional(headers, &GITEA_SIGNATURE)?) {
        (Some(one), Some(other)) if one != other => Err(Refused::Repeated),
        (Some(value), _) | (None, Some(value)) => Ok(value),
        (None, None) => Err(Refused::Missing),
    }
}

/// Compares hashes, so that not even the length of a secret shows.
fn token(sent: &[u8], secrets: &[Secret]) -> Result<(), Refused> {
    let hash = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes);
    let sent = hash(sent);
    let matches = secrets.iter().fold(Choice::from(0), |found, secret| {
        found | hash(secret.expose()).as_ref().ct_eq(sent.as_ref())
    });
    verdict(matches)
}
