//! Reading one object.

use http::{HeaderMap, StatusCode};
use strait_machinery::status::Status;

use crate::handle::answer;
use crate::negotiate::{Format, Offer};
use crate::query::Query;
use crate::registry::{Call, Registry, Shown, parse_revision};
use crate::respond::ApiResponse;

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
    let now = registry.clock().now();
    answer(StatusCode::OK, call.resource, &Shown::Stored(object), format, (query, now))
}
