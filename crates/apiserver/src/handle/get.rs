//! Reading one object.

use http::{HeaderMap, StatusCode};
use strait_machinery::status::Status;

use crate::body::ResponseBody;
use crate::handle::{include, present};
use crate::negotiate::{Encoding, Format, Offer, Transform};
use crate::query::Query;
use crate::registry::{Call, Registry, parse_revision};
use crate::respond::{self, ApiResponse};

/// Answers a GET of one object.
///
/// # Errors
/// As [`Registry::get`].
pub(crate) async fn get(
    registry: &Registry,
    call: &Call<'_>,
    name: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<ApiResponse, Status> {
    let format = Format::choose(headers, query.get("pretty"), Offer::Objects)?;
    let revision = query.get("resourceVersion").filter(|version| !version.is_empty());
    let revision = revision.map(parse_revision).transpose()?;
    let object = registry.get(call, name, revision).await?;
    let plain = format.encoding == Encoding::Json && !format.pretty;
    if plain && format.transform == Transform::None {
        let body = ResponseBody::Full(call.resource.served_bytes(&object, object.revision)?);
        return Ok(respond::bytes_of(StatusCode::OK, format.content_type(), body));
    }
    let how = (include(query)?, registry.clock().now());
    let value = present(call.resource, object.to_value(), format, how)?;
    Ok(respond::value(StatusCode::OK, &value, format))
}
