//! The answer that tells a failure.

use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use strait_machinery::status::Status;

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
pub fn prefers_json(fields: &HeaderMap) -> bool {
    let values = fields.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
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

impl Failure {
    /// The whole answer.
    #[must_use]
    pub fn respond(&self, name: &ServiceName, reader: &Reader<'_>) -> Response<Bytes> {
        let text = self.text(name);
        let (kind, body) = if reader.json {
            ("application/json", self.to_status(text).to_value().to_bytes())
        } else {
            ("text/plain; charset=utf-8", format!("{text}\n").into_bytes())
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status();
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        fields.insert(ERROR, HeaderValue::from_static(self.reason()));
        if let Ok(id) = HeaderValue::from_str(reader.request_id) {
            fields.insert(REQUEST_ID, id);
        }
        if let Some(seconds) = self.retry_after_seconds() {
            fields.insert(RETRY_AFTER, seconds.into());
        }
        if self.status() == StatusCode::UPGRADE_REQUIRED {
            fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
            fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            for scheme in [r#"Bearer realm="strait""#, r#"Basic realm="strait", charset="UTF-8""#] {
                fields.append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        response
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
pub fn hint(status: StatusCode, service: &str) -> Option<HeaderValue> {
    if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return None;
    }
    let text = format!("{} came from {service}, not from the hub", status.as_u16());
    HeaderValue::from_str(&text).ok()
}
