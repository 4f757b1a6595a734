//! Where a client shows its credential, and what becomes of `Authorization` behind it.
//!
//! A credential for the hub never reaches a service. A field of the client's that is for the
//! service passes only where the operator of the service said so, and only if the hub needed it
//! for nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strait_net::fields::names::AUTHORIZATION;
use strait_net::fields::{Fields, text};
use strait_types::Redacted;

use super::any_byte;

/// The token of tools that need `Authorization` for something else.
const TOKEN: &str = "x-opsmx-token";

/// A request shows two credentials, or one that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// Two that differ.
    #[error("the request has two different credentials")]
    Two,
    /// It cannot be read.
    #[error("the credential is malformed")]
    Malformed,
}

/// What a request showed.
#[derive(Clone, Debug, Default)]
pub struct Presented {
    /// For the hub.
    pub token: Option<Redacted<String>>,
    /// The client's own `Authorization`, not for the hub.
    pub own: Option<Redacted<Vec<u8>>>,
}

/// Takes the credentials out of a head. `Authorization` is the hub's unless the credential came
/// another way: by `X-Opsmx-Token`, or, with `proved`, by the connection's certificate.
/// `is_ours` tells by form whether a text is a token of this hub.
///
/// # Errors
/// See [`BadCredentials`].
pub fn present(
    fields: &mut Fields,
    proved: bool,
    is_ours: impl Fn(&str) -> bool,
) -> Result<Presented, BadCredentials> {
    let presented = presented(fields, proved, is_ours);
    fields.remove(TOKEN);
    fields.remove(AUTHORIZATION);
    presented
}

fn presented(
    fields: &Fields,
    proved: bool,
    is_ours: impl Fn(&str) -> bool,
) -> Result<Presented, BadCredentials> {
    let (token, authorization) = (one(fields, TOKEN)?, one(fields, AUTHORIZATION)?);
    let token = match token {
        None => None,
        Some(value) => {
            let text = text(value).ok_or(BadCredentials::Malformed)?.trim();
            Some(text).filter(|text| !text.is_empty())
        }
    };
    let Some(authorization) = authorization else {
        return Ok(Presented { token: token.map(secret), own: None });
    };
    let shown = secret_of(authorization);
    match (token, shown) {
        (None, shown) if !proved => Ok(Presented { token: Some(shown?), own: None }),
        (token, Ok(shown)) if is_ours(shown.expose()) => {
            if token.is_some_and(|token| token != shown.expose()) {
                return Err(BadCredentials::Two);
            }
            Ok(Presented { token: Some(shown), own: None })
        }
        (Some(token), Ok(shown)) if token == shown.expose() => {
            Ok(Presented { token: Some(shown), own: None })
        }
        (token, _) => {
            let own = Redacted::new(authorization.to_vec());
            Ok(Presented { token: token.map(secret), own: Some(own) })
        }
    }
}

/// Whether the credential is one of Basic, which browsers add to requests of any page.
#[must_use]
pub fn is_basic(fields: &Fields) -> bool {
    let scheme = fields.get(AUTHORIZATION).and_then(|value| value.get(..6));
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
}

fn secret(text: &str) -> Redacted<String> {
    Redacted::new(text.to_owned())
}

/// The field's value; the same twice is one.
fn one<'a>(fields: &'a Fields, name: &'a str) -> Result<Option<&'a [u8]>, BadCredentials> {
    let mut values = fields.all(name);
    let first = values.next();
    if values.any(|other| Some(other) != first) {
        return Err(BadCredentials::Two);
    }
    Ok(first)
}

/// The token in a Bearer or, as its password, in a Basic `Authorization`.
fn secret_of(value: &[u8]) -> Result<Redacted<String>, BadCredentials> {
    let text = text(value).ok_or(BadCredentials::Malformed)?;
    let (scheme, rest) = text.trim().split_once(' ').ok_or(BadCredentials::Malformed)?;
    let rest = rest.trim_start();
    let is_one = !rest.is_empty() && !any_byte(rest, |byte| byte == b' ');
    if scheme.eq_ignore_ascii_case("bearer") && is_one {
        return Ok(secret(rest));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(BadCredentials::Malformed);
    }
    let decoded = STANDARD.decode(rest).map_err(|_| BadCredentials::Malformed)?;
    let decoded = Redacted::new(decoded);
    let text = std::str::from_utf8(decoded.expose()).map_err(|_| BadCredentials::Malformed)?;
    match text.split_once(':') {
        Some((_, password)) if !password.is_empty() => Ok(secret(password)),
        _ => Err(BadCredentials::Malformed),
    }
}

/// Puts the client's own `Authorization` back: only where the service lets it pass
/// (`clientAuthorization: pass`) and has no credential of its own.
pub fn restore(fields: &mut Fields, presented: &Presented, passes: bool) {
    if let Some(own) = presented.own.as_ref().filter(|_| passes) {
        fields.set_secret(AUTHORIZATION, own.expose());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields_of;

    /// The fields, whether a certificate proved who asks, and what is found.
    type Case = (&'static [(&'static str, &'static str)], bool, Shown);
    type Shown = Result<(Option<&'static str>, Option<&'static str>), BadCredentials>;

    #[test]
    fn credentials_and_what_is_the_clients_own() {
        const BASIC: &str = "Basic YW55OnNydC1h"; // any:srt-a
        let lines: [Case; 18] = [
            (&[], false, Ok((None, None))),
            (&[("authorization", "Bearer srt-a")], false, Ok((Some("srt-a"), None))),
            (&[("authorization", "bEARER  srt-a")], false, Ok((Some("srt-a"), None))),
            (&[("authorization", BASIC)], false, Ok((Some("srt-a"), None))),
            (&[("authorization", "Bearer other")], false, Ok((Some("other"), None))),
            (&[("x-opsmx-token", "srt-a")], false, Ok((Some("srt-a"), None))),
            (
                &[("x-opsmx-token", "srt-a"), ("authorization", "Bearer other")],
                false,
                Ok((Some("srt-a"), Some("Bearer other"))),
            ),
            (
                &[("x-opsmx-token", "srt-a"), ("authorization", "Digest x=y")],
                false,
                Ok((Some("srt-a"), Some("Digest x=y"))),
            ),
            (
                &[("x-opsmx-token", "srt-a"), ("authorization", BASIC)],
                false,
                Ok((Some("srt-a"), None)),
            ),
            (
                &[("x-opsmx-token", "srt-a"), ("authorization", "Bearer srt-b")],
                false,
                Err(BadCredentials::Two),
            ),
            (&[("authorization", "Bearer other")], true, Ok((None, Some("Bearer other")))),
            (&[("authorization", "Bearer srt-a")], true, Ok((Some("srt-a"), None))),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
                false,
                Err(BadCredentials::Two),
            ),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
                false,
                Ok((Some("a"), None)),
            ),
            (&[("authorization", "Digest x=y")], false, Err(BadCredentials::Malformed)),
            (&[("authorization", "Bearer")], false, Err(BadCredentials::Malformed)),
            (&[("authorization", "Basic !")], false, Err(BadCredentials::Malformed)),
            (&[("authorization", "Basic YW55Og==")], false, Err(BadCredentials::Malformed)),
        ];
        for (lines, proved, expected) in lines {
            let mut fields = fields_of(lines);
            let shown = present(&mut fields, proved, |text| text.starts_with("srt-"));
            assert!(fields.is_empty(), "nothing is left to be passed on");
            let shown = shown.as_ref().map(|shown| {
                (
                    shown.token.as_ref().map(|token| token.expose().as_str()),
                    shown.own.as_ref().map(|own| text(own.expose()).unwrap()),
                )
            });
            assert_eq!(shown.map_err(|error| *error), expected, "{lines:?} {proved}");
        }
    }

    #[test]
    fn the_clients_own_passes_where_the_service_lets_it() {
        let presented = Presented { token: None, own: Some(Redacted::new(b"Bearer own".to_vec())) };
        for (passes, expected) in [(true, Some("Bearer own")), (false, None)] {
            let mut fields = Fields::new();
            restore(&mut fields, &presented, passes);
            let own = fields.get(AUTHORIZATION).map(|own| text(own).unwrap());
            assert_eq!(own, expected);
        }
        assert!(
            !format!("{:?}", Presented { token: Some(secret("canary")), own: None })
                .contains("canary")
        );
    }
}
