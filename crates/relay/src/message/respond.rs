//! The answer that tells a failure.

use bytes::Bytes;
use http::StatusCode;
use strait_machinery::status::Status;
use strait_net::fields::names::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE,
};
use strait_net::fields::{Field, Fields, text};
use strait_net::{Body, Response};

use super::{Failure, ServiceName};
use crate::http::fields::{ERROR, REQUEST_ID};

/// How whoever asked will read the answer.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The request's identifier.
    pub request_id: &'a str,
    /// Whether a `Status` object is understood: a Kubernetes path, or [`prefers_json`].
    pub json: bool,
}

/// Whether a client lists JSON among what it accepts.
#[must_use]
pub fn prefers_json(fields: &Fields) -> bool {
    let values = fields.all(ACCEPT).filter_map(text);
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_json =
            parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
        let mut refused = parts.filter_map(|part| part.split_once('=')).filter(|(name, value)| {
            name.eq_ignore_ascii_case("q") && value.parse::<f32>().is_ok_and(|q| q == 0.0)
        });
        is_json && refused.next().is_none()
    })
}

/// The whole answer that tells a failure.
#[derive(Clone, Debug)]
pub struct Told {
    /// At least 400.
    pub status: StatusCode,
    /// Its fields.
    pub fields: Fields,
    /// A line of text, or a `Status` object.
    pub body: Bytes,
}

impl From<Told> for Response {
    fn from(told: Told) -> Self {
        Self::new(told.status, told.fields, Body::from(told.body))
    }
}

impl Failure {
    /// The whole answer.
    #[must_use]
    pub fn respond(&self, name: &ServiceName, reader: &Reader<'_>) -> Told {
        let text = self.text(name);
        let (kind, body) = if reader.json {
            ("application/json", self.to_status(text).to_value().to_bytes())
        } else {
            ("text/plain; charset=utf-8", format!("{text}\n").into_bytes())
        };
        let mut fields = Fields::new();
        for (name, value) in [
            (CONTENT_TYPE, kind),
            (CACHE_CONTROL, "no-store"),
            ("x-content-type-options", "nosniff"),
            (ERROR, self.reason()),
            (REQUEST_ID, reader.request_id),
        ] {
            fields.set(name, value.as_bytes());
        }
        if let Some(seconds) = self.retry_after_seconds() {
            fields.set(RETRY_AFTER, seconds.to_string().as_bytes());
        }
        if self.status() == StatusCode::UPGRADE_REQUIRED {
            fields.set(UPGRADE, b"websocket");
            fields.set(CONNECTION, b"upgrade");
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            for scheme in [r#"Bearer realm="strait""#, r#"Basic realm="strait", charset="UTF-8""#] {
                let _ = fields.push(Field::new(WWW_AUTHENTICATE, scheme.as_bytes()));
            }
        }
        Told { status: self.status(), fields, body: body.into() }
    }

    fn to_status(&self, message: String) -> Status {
        let status = Status {
            code: self.status().as_u16(),
            reason: self.reason(),
            message,
            details: None,
            continue_token: None,
        };
        match self.retry_after_seconds() {
            Some(seconds) => status.retry_after(seconds),
            None => status,
        }
    }
}

/// What is added to a service's own answer: that the hub is not who refused.
#[must_use]
pub fn hint(status: StatusCode, service: &str) -> Option<String> {
    if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return None;
    }
    Some(format!("{} came from {service}, not from the hub", status.as_u16()))
}
