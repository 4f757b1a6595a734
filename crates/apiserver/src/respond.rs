//! Responses.

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY, WARNING,
};
use http::{HeaderMap, Response, StatusCode};
use strait_machinery::json::Value;
use strait_machinery::status::Status;
use strait_machinery::yaml;

use crate::body::{GZIP_FROM_BYTES, ResponseBody};
use crate::negotiate::{Encoding, Format};

/// Runes of all warnings of a response, and of one once they are too many
/// (`apiserver/pkg/endpoints/filters/warning.go`).
const WARNINGS_MAX: usize = 4096;
const WARNING_MAX: usize = 256;

/// A response of this server.
pub type ApiResponse = Response<ResponseBody>;

/// A tree in the format that the client asked for.
#[must_use]
pub fn value(code: StatusCode, value: &Value, format: Format) -> ApiResponse {
    let bytes = match (format.encoding, format.pretty) {
        (Encoding::Json, false) => {
            let mut bytes = value.to_bytes();
            bytes.push(b'\n');
            bytes
        }
        (Encoding::Json, true) => value.to_pretty_bytes(),
        (Encoding::Yaml, _) => yaml::to_text(value).into_bytes(),
    };
    bytes_of(code, format.content_type(), bytes.into())
}

/// Bytes of a media type.
#[must_use]
pub fn bytes_of(code: StatusCode, content_type: &'static str, body: ResponseBody) -> ApiResponse {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Plain text.
#[must_use]
pub fn text(code: StatusCode, text: impl Into<String>) -> ApiResponse {
    bytes_of(code, "text/plain; charset=utf-8", text.into().into_bytes().into())
}

/// A failure, as JSON or in what the client prefers.
#[must_use]
pub fn status(status: &Status, format: Format) -> ApiResponse {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = value(code, &status.to_value(), format);
    if let Some(seconds) = status.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds `Warning` headers, bounded as kube-apiserver bounds them.
pub fn warn(response: &mut ApiResponse, warnings: &[String]) {
    let mut seen: Vec<&str> = Vec::new();
    for warning in warnings {
        if !warning.is_empty() && !seen.contains(&warning.as_str()) {
            seen.push(warning);
        }
    }
    let total: usize = seen.iter().map(|warning| warning.chars().count()).sum();
    let clip = total > WARNINGS_MAX;
    let mut written = 0;
    for warning in seen {
        let shown: String =
            if clip { warning.chars().take(WARNING_MAX).collect() } else { warning.to_owned() };
        written += shown.chars().count();
        if written > WARNINGS_MAX {
            return;
        }
        let quoted = shown.replace('\\', "\\\\").replace('"', "\\\"");
        let printable: String = quoted.chars().filter(|c| !c.is_control()).collect();
        if let Ok(header) = HeaderValue::from_bytes(format!("299 - \"{printable}\"").as_bytes()) {
            response.headers_mut().append(WARNING, header);
        }
    }
}

/// Compresses a large body for clients that take it.
#[must_use]
pub fn compress(response: ApiResponse, request: &HeaderMap) -> ApiResponse {
    let accepted = request.get(http::header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let accepted = accepted.is_some_and(|value| {
        value.split(',').any(|one| one.split(';').next().is_some_and(|name| name.trim() == "gzip"))
    });
    let large = match response.body() {
        ResponseBody::Full(bytes) => bytes.len() >= GZIP_FROM_BYTES,
        ResponseBody::Chunks(_) => true,
        ResponseBody::Stream(_) => false,
    };
    if !accepted || !large {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, body.gzip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_carry_code_and_retry_after() {
        let response = status(&Status::too_many_requests("slow down", 1), Format::JSON);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-cache, private");
    }

    #[test]
    fn warnings_are_quoted_once_each_and_bounded() {
        let mut response = text(StatusCode::OK, "");
        warn(
            &mut response,
            &["unknown field \"a\"".into(), "unknown field \"a\"".into(), "b\n".into()],
        );
        let all: Vec<_> = response.headers().get_all(WARNING).iter().collect();
        assert_eq!(all, ["299 - \"unknown field \\\"a\\\"\"", "299 - \"b\""]);
        let mut response = text(StatusCode::OK, "");
        let many: Vec<String> = (0..100).map(|n| format!("{n}{}", "x".repeat(300))).collect();
        warn(&mut response, &many);
        assert_eq!(response.headers().get_all(WARNING).iter().count(), WARNINGS_MAX / WARNING_MAX);
    }
}
