//! Creates, each durable before it is answered.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;

use super::Ground;
use super::hub::Hub;
use super::load;
use super::report::{Goal, Row};

/// Where objects are made.
pub(crate) const COLLECTION: &str = "/clusters/root/api/v1/namespaces/default/configmaps";

/// Makes objects as fast as 64 clients can.
pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let hub = Hub::start(ground)?;
    let outcome = load::run(&hub, StatusCode::CREATED, &(Arc::new(create) as load::Requests))?;
    Ok(vec![Row {
        name: "durable creates, 64 clients",
        goal: Some(Goal::AtLeast(3_000.0)),
        measured: outcome.per_second,
        unit: "/s",
        details: outcome.details,
    }])
}

/// The request that makes the object with a number.
pub(crate) fn create(number: usize) -> Request<Full<Bytes>> {
    let body = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"load-{number}"}},"data":{{"number":"{number}"}}}}"#
    );
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(COLLECTION);
    let headers = request.headers_mut();
    headers.insert(header::HOST, header::HeaderValue::from_static("hub"));
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    request
}
