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
use strait_net::{CallError, CallLimits, call_over};
use strait_pki::{
    KeyHash, PinMismatch, PkiError, PrivateKey, TrustBundle, client_config, pinned_client_config,
    tunnel_client_config,
};
use strait_types::{InstanceId, Redacted};

use super::{Membership, MembershipError};
use crate::dial::{DialError, Way, Ways};
use crate::message::Joining;
use crate::services::{HubConfig, Transport};
use crate::token::JoinToken;
use crate::{HTTP_PROTOCOL, JOIN_PATH, RENEW_PATH};

/// Of one exchange, once there is a connection.
const LIMITS: CallLimits = CallLimits {
    connect: Duration::ZERO,
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
    #[error(
        "{address} is not the hub that made the token, or an inspecting proxy is in the way{hint}"
    )]
    NotTrusted {
        /// What was dialled.
        address: String,
        /// What else is known, or may be tried.
        hint: &'static str,
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
    /// There is no connection. May pass.
    #[error("no connection to the hub")]
    NoWay(#[source] DialError),
    /// There was one, and no answer. May pass.
    #[error("no answer from the hub")]
    NoAnswer(#[source] CallError),
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
        (ways, hub): (&Ways, &HubConfig),
    ) -> Result<Membership, JoinError> {
        let clock = ways.clock().clone();
        let tls = match &self.ca {
            Some(ca) => client_config(ca, None, clock)?,
            None => pinned_client_config(KeyHash(token.ca), clock)?,
        };
        let mut tls = Arc::unwrap_or_clone(tls);
        tls.alpn_protocols = vec![HTTP_PROTOCOL.to_vec()];
        let body = object! {
            "token": token.reveal(),
            "csr": key.to_csr_pem()?,
            "instance": facts.instance.as_str(),
            "version": facts.version.as_str(),
            "host": facts.host.as_str(),
            "ephemeral": facts.ephemeral,
        };
        let way = self.way(hub, &token.hubs);
        let answer = ask(ways, &way, tls.into(), (JOIN_PATH, &body)).await?;
        Ok(Membership::granted(&answer, key.to_pem()?)?)
    }

    /// Asks for the next certificate, for a new key, by the one that there is.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn renew(
        &self,
        membership: &Membership,
        (ways, hub): (&Ways, &HubConfig),
    ) -> Result<Membership, JoinError> {
        let key = PrivateKey::generate()?;
        let tls = self.tls(membership, HTTP_PROTOCOL, ways)?;
        let body = object! {"csr": key.to_csr_pem()?};
        let way = self.way(hub, &membership.addresses);
        let answer = ask(ways, &way, tls, (RENEW_PATH, &body)).await?;
        Ok(Membership::granted(&answer, key.to_pem()?)?)
    }

    /// Connections of a member, for one protocol.
    ///
    /// # Errors
    /// The membership's key and certificate do not belong together.
    pub fn tls(
        &self,
        membership: &Membership,
        protocol: &[u8],
        ways: &Ways,
    ) -> Result<Arc<ClientConfig>, PkiError> {
        let own = membership.trust()?;
        let trust = self.ca.as_ref().unwrap_or(&own);
        tunnel_client_config(trust, membership.identity()?, protocol, ways.clock().clone())
    }

    /// How the hub is reached: where this front door says, else where the configuration does, else at
    /// the addresses that are `known`.
    #[must_use]
    pub fn way(&self, hub: &HubConfig, known: &[String]) -> Way {
        let told = if hub.addresses.is_empty() { known } else { &hub.addresses };
        let told = self.address.as_ref().map_or(told, std::slice::from_ref);
        Way {
            addresses: told.to_vec(),
            transport: hub.transport,
            proxy_file: hub.proxy_file.clone(),
        }
    }
}

/// Asks a hub, over a connection of its own.
async fn ask(
    ways: &Ways,
    way: &Way,
    tls: Arc<ClientConfig>,
    (path, body): (&str, &Value),
) -> Result<Value, JoinError> {
    let connected = ways.connect(way, tls).await;
    let (host, stream) = connected.map_err(|error| match error.untrusted() {
        Some((address, found)) => {
            let hint = match (&error, way.transport) {
                (DialError::NeitherWay { inside, .. }, _) if inside.untrusted().is_none() => {
                    " and passes no WebSocket"
                }
                (_, Transport::Tls) => " (`hub.transport: auto` may pass one)",
                _ => "",
            };
            JoinError::NotTrusted { address: address.to_owned(), hint, source: found.clone() }
        }
        None => JoinError::NoWay(error),
    })?;
    let body = Redacted::new(body.to_bytes());
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("https://{host}{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::copy_from_slice(body.expose()));
    let malformed =
        |_| MembershipError::Malformed { from: "the hub's address".into(), field: "host:port" };
    let answer = call_over(stream, request.map_err(malformed)?, &LIMITS).await;
    let answer = answer.map_err(JoinError::NoAnswer)?;
    let date = answer.headers().get(header::DATE);
    if let Some(wrong) = wrong_clock(date, ways.clock().now()) {
        tracing::warn!("{wrong}");
    }
    read(answer.status(), answer.body())
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
