//! Requests that are not about objects: discovery, OpenAPI, version, health.

use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, StatusCode};
use strait_machinery::object;
use strait_machinery::status::Status;

use crate::body::ResponseBody;
use crate::catalog::Catalog;
use crate::documents::{Document, OPENAPI_V2_PROTOBUF};
use crate::health::Health;
use crate::negotiate::{Format, Offer};
use crate::query::Query;
use crate::respond::{self, ApiResponse};

/// The Kubernetes release whose API is served.
pub const KUBERNETES_VERSION: &str = "v1.34.0";

/// Answers a GET of a path within a workspace.
///
/// # Errors
/// 404 for paths that there are not.
pub(crate) fn get(
    catalog: &Catalog,
    health: &Health,
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<ApiResponse, Status> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let segments: Vec<&str> = inner.split('/').collect();
    let documents = catalog.documents();
    match *segments.as_slice() {
        [""] => Ok(paths(catalog, query, headers)),
        ["version"] => Ok(version(query, headers)),
        ["healthz" | "livez" | "readyz", ..] => Ok(health.answer(&segments, query)),
        ["api"] if wants_aggregated(headers) => Ok(public(documents.aggregated_core(), headers)),
        ["apis"] if wants_aggregated(headers) => Ok(public(documents.aggregated_groups(), headers)),
        ["api"] => Ok(document(documents.legacy_versions(), headers)),
        ["apis"] => Ok(document(documents.legacy_groups(), headers)),
        ["apis", group] => found(documents.legacy_group(group), headers),
        ["api", version] => found(documents.legacy_resources("", version), headers),
        ["apis", group, version] => found(documents.legacy_resources(group, version), headers),
        ["openapi", "v2"] if wants_v2_protobuf(headers) => {
            Ok(document(documents.openapi_v2_protobuf(), headers))
        }
        ["openapi", "v2"] => Ok(document(documents.openapi_v2(), headers)),
        ["openapi", "v3"] => Ok(document(documents.openapi_index(), headers)),
        ["openapi", "v3", "api", version] => openapi(catalog, ("", version), query, headers),
        ["openapi", "v3", "apis", group, version] => {
            openapi(catalog, (group, version), query, headers)
        }
        _ => Err(Status::unknown_path()),
    }
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| {
        accept.split(',').any(|clause| {
            let has = |part: &str| clause.split(';').any(|own| own.trim() == part);
            has("g=apidiscovery.k8s.io") && has("v=v2") && has("as=APIGroupDiscoveryList")
        })
    })
}

/// Whether the first that a client names is protobuf; kubectl spells it with an `@`.
fn wants_v2_protobuf(headers: &HeaderMap) -> bool {
    let accept = headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok());
    let first = accept.unwrap_or_default().split([',', ';']).next().unwrap_or_default().trim();
    first.replace("v2@v1.0", "v2.v1.0") == OPENAPI_V2_PROTOBUF
}

fn found(found: Option<&Document>, headers: &HeaderMap) -> Result<ApiResponse, Status> {
    found.map(|found| document(found, headers)).ok_or_else(Status::unknown_path)
}

/// A document that caches between client and server may keep.
fn public(found: &Document, headers: &HeaderMap) -> ApiResponse {
    let mut response = document(found, headers);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

/// A document with its ETag, or 304 where the client has it.
fn document(document: &Document, headers: &HeaderMap) -> ApiResponse {
    let known = headers.get(IF_NONE_MATCH).is_some_and(|known| {
        known
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|tag| tag.trim_ascii() == document.etag.as_bytes())
    });
    let mut response = if known {
        respond::bytes_of(StatusCode::NOT_MODIFIED, document.content_type, ResponseBody::empty())
    } else {
        let body = ResponseBody::Full(document.bytes.clone());
        respond::bytes_of(StatusCode::OK, document.content_type, body)
    };
    let response_headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        response_headers.insert(ETAG, etag);
    }
    response_headers.insert(VARY, HeaderValue::from_static("Accept"));
    respond::compress(response, headers)
}

/// One group-version's OpenAPI. With its current hash it may be kept for ever; with another
/// the client is sent to the current one.
fn openapi(
    catalog: &Catalog,
    (group, version): (&str, &str),
    query: &Query,
    headers: &HeaderMap,
) -> Result<ApiResponse, Status> {
    let found = catalog.documents().openapi(group, version).ok_or_else(Status::unknown_path)?;
    let hash = found.etag.trim_matches('"');
    match query.get("hash") {
        None => Ok(document(found, headers)),
        Some(given) if given == hash => {
            let mut response = document(found, headers);
            let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
            response.headers_mut().insert(CACHE_CONTROL, forever);
            Ok(response)
        }
        Some(_) => {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            let mut response = respond::text(StatusCode::MOVED_PERMANENTLY, "");
            // Relative, so that it stays inside the workspace.
            let name = path.rsplit('/').next().unwrap_or_default();
            if let Ok(location) = HeaderValue::from_str(&format!("{name}?hash={hash}")) {
                response.headers_mut().insert(LOCATION, location);
            }
            Ok(response)
        }
    }
}

/// Answers `/version`.
#[must_use]
pub fn version(query: &Query, headers: &HeaderMap) -> ApiResponse {
    let release = env!("CARGO_PKG_VERSION");
    let version = object! {
        "major": "1",
        "minor": "34",
        "gitVersion": format!("{KUBERNETES_VERSION}+strait-{release}"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    };
    let pretty =
        Format::choose(headers, query.get("pretty"), Offer::Plain).unwrap_or(Format::JSON).pretty;
    respond::value(StatusCode::OK, &version, Format { pretty, ..Format::JSON })
}

/// The processor architecture in Go's words, which clients know.
const fn go_arch() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}

fn paths(catalog: &Catalog, query: &Query, headers: &HeaderMap) -> ApiResponse {
    let mut paths: Vec<String> =
        ["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"].map(str::to_owned).to_vec();
    for resource in catalog.resources() {
        let version = resource.gvr.group_version();
        if version.group.is_empty() {
            paths.extend(["/api".to_owned(), format!("/api/{}", version.version)]);
        } else {
            paths.extend([
                "/apis".to_owned(),
                format!("/apis/{}", version.group),
                format!("/apis/{version}"),
            ]);
        }
    }
    paths.sort();
    paths.dedup();
    let pretty =
        Format::choose(headers, query.get("pretty"), Offer::Plain).unwrap_or(Format::JSON).pretty;
    let value = object! {"paths": paths.into_iter().collect::<strait_machinery::json::Value>()};
    respond::value(StatusCode::OK, &value, Format { pretty, ..Format::JSON })
}
