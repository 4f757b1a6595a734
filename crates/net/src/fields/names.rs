//! Names of fields that are spoken of in more than one place.

/// `Accept`.
pub const ACCEPT: &str = "accept";
/// `Audit-Id`.
pub const AUDIT_ID: &str = "audit-id";
/// `Authorization`.
pub const AUTHORIZATION: &str = "authorization";
/// `Cache-Control`.
pub const CACHE_CONTROL: &str = "cache-control";
/// `Connection`.
pub const CONNECTION: &str = "connection";
/// `Content-Encoding`.
pub const CONTENT_ENCODING: &str = "content-encoding";
/// `Content-Length`.
pub const CONTENT_LENGTH: &str = "content-length";
/// `Content-Range`.
pub const CONTENT_RANGE: &str = "content-range";
/// `Content-Type`.
pub const CONTENT_TYPE: &str = "content-type";
/// `Cookie`.
pub const COOKIE: &str = "cookie";
/// `Date`.
pub const DATE: &str = "date";
/// `Expect`.
pub const EXPECT: &str = "expect";
/// `Host`.
pub const HOST: &str = "host";
/// `Location`.
pub const LOCATION: &str = "location";
/// `Max-Forwards`.
pub const MAX_FORWARDS: &str = "max-forwards";
/// `Origin`.
pub const ORIGIN: &str = "origin";
/// `Range`.
pub const RANGE: &str = "range";
/// `Retry-After`.
pub const RETRY_AFTER: &str = "retry-after";
/// `Sec-WebSocket-Accept`.
pub const SEC_WEBSOCKET_ACCEPT: &str = "sec-websocket-accept";
/// `Sec-WebSocket-Key`.
pub const SEC_WEBSOCKET_KEY: &str = "sec-websocket-key";
/// `Sec-WebSocket-Protocol`.
pub const SEC_WEBSOCKET_PROTOCOL: &str = "sec-websocket-protocol";
/// `Sec-WebSocket-Version`.
pub const SEC_WEBSOCKET_VERSION: &str = "sec-websocket-version";
/// `Set-Cookie`.
pub const SET_COOKIE: &str = "set-cookie";
/// `TE`.
pub const TE: &str = "te";
/// `Traceparent`.
pub const TRACEPARENT: &str = "traceparent";
/// `Tracestate`.
pub const TRACESTATE: &str = "tracestate";
/// `Trailer`.
pub const TRAILER: &str = "trailer";
/// `Transfer-Encoding`.
pub const TRANSFER_ENCODING: &str = "transfer-encoding";
/// `Upgrade`.
pub const UPGRADE: &str = "upgrade";
/// `WWW-Authenticate`.
pub const WWW_AUTHENTICATE: &str = "www-authenticate";
/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: &str = "x-forwarded-for";
