//! Joining and renewing, as the agent asks for them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use rustls::ClientConfig;
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_net::{CallError, CallLimits, Client, EgressPolicy};
use strait_pki::{
    KeyHash, PinMismatch, PkiError, PrivateKey, TrustBundle, client_config, pinned_client_config,
};
use strait_runtime::Clock;
use strait_types::{InstanceId, Redacted};

use super::{Membership, MembershipError};
use crate::message::Joining;
use crate::token::JoinToken;
use crate::{JOIN_PATH, RENEW_PATH};

const LIMITS: CallLimits = CallLimits {
    connect: Duration::from_secs(10),
    total: Duration::from_secs(30),
    response_bytes: 256 << 10,
};

/// Most of a hub's message that is passed on.
const MESSAGE_CHARS_MAX: usize = 512;

/// Waits for approval between two questions, whatever the hub says.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// How far this machine's clock may be from the hub's.
const CLOCK_OFF_MAX: Duration = Duration::from_secs(60);

/// What an installation says about itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its identifier.
    pub instance: InstanceId,
    /// Its release.
    pub version: String,
    /// The machine that it runs on.
    pub host: String,
    /// Whether it does not come back once it is gone: another may have its place.
    pub ephemeral: bool,
}

/// Joining or renewing did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// What answered is not the hub that the token was made by. Final.
    #[error("{address} is not the hub that made the token, or an inspecting proxy is in the way")]
    NotTrusted {
        /// What was dialled.
        address: String,
        /// What it presented.
        #[source]
        source: PinMismatch,
    },
    /// The hub refused. Final.
    #[error("the hub refused: {message} ({reason})")]
    Refused {
        /// For programs.
        reason: String,
        /// For people.
        message: String,
    },
    /// A person has to approve it first; the same request is to be made again. May pass.
    #[error("{request} waits for approval")]
    Waiting {
        /// Name of the CertificateRequest.
        request: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// The hub takes no such request now. May pass.
    #[error("the hub answered {status}: {message}")]
    NotNow {
        /// Status of the answer.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// No address answered. May pass.
    #[error("no answer from the hub")]
    Unreachable(#[source] CallError),
    /// The hub's answer cannot be used.
    #[error(transparent)]
    Answer(#[from] MembershipError),
    /// A key or certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl JoinError {
    /// Whether another try cannot end better.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::NotTrusted { .. } | Self::Refused { .. })
    }
}

/// Where and how a hub is asked, if not where and how the token or the membership says.
#[derive(Clone, Debug, Default)]
pub struct FrontDoor {
    /// `host:port`.
    pub address: Option<String>,
    /// CA that the hub's certificate must come from.
    pub ca: Option<TrustBundle>,
}

impl FrontDoor {
    /// Joins with a token. The same key may be used again: where an answer was lost, the hub
    /// answers the second time what it did the first.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join(
        &self,
        token: &JoinToken,
        key: &PrivateKey,
        facts: &Facts,
        clock: &Arc<dyn Clock>,
    ) -> Result<Membership, JoinError> {
        let tls = match &self.ca {
            Some(ca) => client_config(ca, None, clock.clone())?,
            None => pinned_client_config(KeyHash(token.ca), clock.clone())?,
        };
        let body = object! {
            "token": token.reveal(),
            "csr": key.to_csr_pem()?,
            "instance": facts.instance.as_str(),
            "version": facts.version.as_str(),
            "host": facts.host.as_str(),
            "ephemeral": facts.ephemeral,
        };
        let answer = self.ask(tls, &token.hubs, (JOIN_PATH, &body), clock).await?;
        Ok(Membership::granted(&answer, key.to_pem()?)?)
    }

    /// Asks for the next certificate, for a new key, by the one that there is.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn renew(
        &self,
        membership: &Membership,
        clock: &Arc<dyn Clock>,
    ) -> Result<Membership, JoinError> {
        let key = PrivateKey::generate()?;
        let tls = self.tls(membership, clock)?;
        let body = object! {"csr": key.to_csr_pem()?};
        let answer = self.ask(tls, &membership.addresses, (RENEW_PATH, &body), clock).await?;
        Ok(Membership::granted(&answer, key.to_pem()?)?)
    }

    /// Connections of a member.
    ///
    /// # Errors
    /// The membership's key and certificate do not belong together.
    pub fn tls(
        &self,
        membership: &Membership,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<ClientConfig>, PkiError> {
        let own = membership.trust()?;
        let trust = self.ca.as_ref().unwrap_or(&own);
        client_config(trust, Some(membership.identity()?), clock.clone())
    }

    /// The hub's addresses, at least one.
    #[must_use]
    pub fn addresses<'a>(&'a self, known: &'a [String]) -> &'a [String] {
        self.address.as_ref().map_or(known, std::slice::from_ref)
    }

    /// Asks the first address that can be reached.
    async fn ask(
        &self,
        tls: Arc<ClientConfig>,
        known: &[String],
        (path, body): (&str, &Value),
        clock: &Arc<dyn Clock>,
    ) -> Result<Value, JoinError> {
        let client = Client::new(Some(tls), EgressPolicy::unrestricted());
        let body = Redacted::new(body.to_bytes());
        let mut failed = None;
        for address in self.addresses(known) {
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("https://{address}{path}"))
                .header(header::CONTENT_TYPE, "application/json")
                .body(Bytes::copy_from_slice(body.expose()));
            let Ok(request) = request else {
                return Err(MembershipError::Malformed {
                    from: "the hub's address".into(),
                    field: "host:port",
                }
                .into());
            };
            match client.call(request, &LIMITS).await {
                Ok(answer) => {
                    let date = answer.headers().get(header::DATE);
                    if let Some(wrong) = wrong_clock(date, clock.now()) {
                        tracing::warn!("{wrong}");
                    }
                    return read(answer.status(), answer.body());
                }
                Err(error) => {
                    if let Some(mismatch) = PinMismatch::find(&error) {
                        return Err(JoinError::NotTrusted {
                            address: address.clone(),
                            source: mismatch.clone(),
                        });
                    }
                    let goes_on = error.nothing_was_sent();
                    failed = Some(error);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        let failed = failed.map(JoinError::Unreachable);
        Err(failed.unwrap_or_else(|| {
            MembershipError::Malformed { from: "the token".into(), field: "hubs" }.into()
        }))
    }
}

/// Says that this machine's clock is wrong, if a `Date` of the hub's does: certificates would seem to
/// be of another time.
fn wrong_clock(date: Option<&HeaderValue>, now: Timestamp) -> Option<Joining> {
    let text = date?.to_str().ok()?;
    let hubs = DateTimeParser::new().parse_timestamp(text).ok()?;
    let ahead = now.duration_since(hubs);
    let off = ahead.unsigned_abs();
    (off > CLOCK_OFF_MAX).then_some(Joining::Clock { off, ahead: ahead.is_positive() })
}

/// Tells an answer that grants from one that refuses and one that may come out otherwise later.
fn read(status: StatusCode, body: &[u8]) -> Result<Value, JoinError> {
    let value = parse(body).unwrap_or_default();
    let text = |field: &str| -> String {
        let text = value.str_at(&[field]).unwrap_or_default().chars();
        text.filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
    };
    if status == StatusCode::ACCEPTED {
        let seconds = value.at(&["retryAfter"]).and_then(Value::as_i64);
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
        let retry_after = Duration::from_secs(seconds).clamp(RETRY_MIN, RETRY_MAX);
        return Err(JoinError::Waiting { request: text("request"), retry_after });
    }
    if status.is_success() {
        return Ok(value);
    }
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        return Err(JoinError::Refused { reason: text("reason"), message: text("message") });
    }
    Err(JoinError::NotNow { status, message: text("message") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_final_and_overload_is_not() {
        let refused =
            br#"{"reason":"JoinTokenInvalid","message":"join token unknown, used or expired"}"#;
        for (status, finally) in
            [(403, true), (400, true), (409, true), (429, false), (500, false), (503, false)]
        {
            let error = read(StatusCode::from_u16(status).unwrap(), refused).unwrap_err();
            assert_eq!(error.is_final(), finally, "{status}");
            assert!(error.to_string().contains("unknown, used or expired"), "{error}");
        }
        assert!(read(StatusCode::OK, b"{}").is_ok());
    }

    #[test]
    fn a_clock_that_is_wrong_is_found_by_the_hubs() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for (date, expected) in [
            ("Fri, 02 Jan 2026 03:04:00 GMT", None),
            ("Fri, 02 Jan 2026 02:55:05 GMT", Some("this machine's clock is 9m ahead of the hub")),
            ("Fri, 02 Jan 2026 03:09:05 GMT", Some("this machine's clock is 5m behind the hub")),
            ("soon", None),
        ] {
            let date = HeaderValue::from_static(date);
            let said = wrong_clock(Some(&date), now).map(|wrong| wrong.to_string());
            assert_eq!(said.as_deref(), expected);
        }
        assert_eq!(wrong_clock(None, now), None);
    }

    #[test]
    fn approval_is_waited_for_in_bounds() {
        for (body, name, seconds) in [
            (r#"{"request":"smith.6f1c","retryAfter":5}"#, "smith.6f1c", 5),
            (r#"{"request":"a\nb","retryAfter":-1}"#, "ab", 1),
            (r#"{"retryAfter":1000000}"#, "", 300),
            ("", "", 1),
        ] {
            let error = read(StatusCode::ACCEPTED, body.as_bytes()).unwrap_err();
            let JoinError::Waiting { request, retry_after } = error else { panic!("{error:?}") };
            assert_eq!((&*request, retry_after.as_secs()), (name, seconds), "{body}");
        }
    }
}
