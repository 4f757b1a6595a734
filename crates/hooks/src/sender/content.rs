//! What a body is said to be, and the JSON in it.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;

use crate::signature::Scheme;

/// How a body holds its JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// It is the JSON.
    Json,
    /// A form with the JSON in its field `payload`, as GitHub sends it on request.
    Form,
}

/// A body is of a type that the scheme does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unsupported content type")]
pub struct Unsupported;

/// What the head says that the body is. Parameters such as `charset` do not matter.
///
/// `None`: anything; only sources that prove nothing or describe their own HMAC take it.
///
/// # Errors
/// The header is missing or repeated, or names something else than JSON (for GitHub, a form).
pub fn content_type(
    scheme: &Scheme,
    headers: &HeaderMap,
) -> Result<Option<ContentType>, Unsupported> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = values.next().filter(|_| values.next().is_none());
    let essence = value
        .and_then(|value| value.to_str().ok())
        .map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match (essence.as_deref(), scheme) {
        (Some("application/json"), _) => Ok(Some(ContentType::Json)),
        (Some("application/x-www-form-urlencoded"), Scheme::Github) => Ok(Some(ContentType::Form)),
        (_, Scheme::Hmac(_) | Scheme::None) => Ok(None),
        _ => Err(Unsupported),
    }
}

/// The JSON of a body, not yet looked into.
#[must_use]
pub fn json(content: Option<ContentType>, body: &[u8]) -> Option<Cow<'_, [u8]>> {
    match content? {
        ContentType::Json => Some(Cow::Borrowed(body)),
        ContentType::Form => payload(body),
    }
}

/// The first field of the name.
fn payload(form: &[u8]) -> Option<Cow<'_, [u8]>> {
    form.split(|byte| *byte == b'&').find_map(|field| {
        let mut halves = field.splitn(2, |byte| *byte == b'=');
        let (name, value) = (halves.next()?, halves.next()?);
        (*plain(name) == *b"payload").then(|| plain(value))
    })
}

/// A plus is a space; a percent sign without two digits stands for itself.
fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    if text.contains(&b'+') {
        let spaced: Vec<u8> =
            text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        return Cow::Owned(percent_decode(&spaced).collect());
    }
    percent_decode(text).into()
}
