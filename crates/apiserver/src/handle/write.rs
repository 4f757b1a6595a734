//! Creating, replacing, changing and removing objects.

use futures_util::future;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, StatusCode};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::status::{Details, Status};

use crate::decode;
use crate::handle::answer;
use crate::handle::list::Writer;
use crate::negotiate::{Format, Offer, content_type};
use crate::options::{DeleteOptions, WriteOptions};
use crate::patch::Patch;
use crate::query::Query;
use crate::registry::{Call, Deleted, ListOptions, Registry, Shown, Written};
use crate::respond::{self, ApiResponse};
use crate::select::Selection;

/// Objects of a collection that are deleted at once: so many share a sync of the disk, and leave
/// room in the store's queue for others.
const DELETIONS_AT_ONCE: usize = 16;

/// A write and what came with it.
pub(crate) struct Request<'a> {
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a bytes::Bytes,
}

/// Answers a POST.
///
/// # Errors
/// As [`Registry::create`].
pub(crate) async fn create(
    registry: &Registry,
    call: &Call<'_>,
    request: &Request<'_>,
) -> Result<ApiResponse, Status> {
    let format = request.format()?;
    let options = WriteOptions::parse(request.query, "CreateOptions")?;
    let incoming = request.object(call)?;
    let written = registry.create(call, incoming, &options).await?;
    show(registry, call, &written, format, request.query)
}

/// Answers a PUT.
///
/// # Errors
/// As [`Registry::update`].
pub(crate) async fn update(
    registry: &Registry,
    call: &Call<'_>,
    name: &str,
    request: &Request<'_>,
) -> Result<ApiResponse, Status> {
    let format = request.format()?;
    let options = WriteOptions::parse(request.query, "UpdateOptions")?;
    let incoming = request.object(call)?;
    let written = registry.update(call, name, incoming, &options).await?;
    show(registry, call, &written, format, request.query)
}

/// Answers a PATCH.
///
/// # Errors
/// As [`Registry::patch`], and 415 for a patch of another type.
pub(crate) async fn patch(
    registry: &Registry,
    call: &Call<'_>,
    name: &str,
    request: &Request<'_>,
) -> Result<ApiResponse, Status> {
    let format = request.format()?;
    let patch = Patch::read(content_type(request.headers), request.body, call.resource)?;
    let options = WriteOptions::parse(request.query, "PatchOptions")?;
    let written = registry.patch(call, name, &patch, &options).await?;
    show(registry, call, &written, format, request.query)
}

/// Answers a DELETE of one object.
///
/// # Errors
/// As [`Registry::delete`].
pub(crate) async fn delete(
    registry: &Registry,
    call: &Call<'_>,
    name: &str,
    request: &Request<'_>,
) -> Result<ApiResponse, Status> {
    let format = request.format()?;
    let options = request.delete_options()?;
    match registry.delete(call, name, &options).await? {
        Deleted::Waiting(shown) => {
            let now = registry.clock().now();
            answer(StatusCode::OK, call.resource, &shown, format, (request.query, now))
        }
        Deleted::Gone(shown) => {
            let status = success(call, name, &shown);
            Ok(respond::value(StatusCode::OK, &status, format))
        }
    }
}

/// Answers a DELETE of many objects, a few at once, with what they last were; those that are
/// gone meanwhile do not matter.
///
/// # Errors
/// As [`Registry::list`] and [`Registry::delete`].
pub(crate) async fn delete_collection(
    registry: &Registry,
    call: &Call<'_>,
    request: &Request<'_>,
) -> Result<ApiResponse, Status> {
    let format = request.format()?;
    let options = request.delete_options()?;
    let list_options = ListOptions::parse(request.query)?;
    let selection = Selection::parse(request.query, call.resource)?;
    let writer = Writer::new(registry, call, format, request.query)?;
    let mut list = registry.list(call, &selection, &list_options).await?;
    let deletions = list.items.into_iter().map(|item| {
        let options = &options;
        async move {
            let call = Call { namespace: item.1.namespace(), ..*call };
            match registry.delete(&call, item.1.name(), options).await {
                Ok(_) => Ok(Some(item)),
                Err(status) if status.code == 404 => Ok(None),
                Err(status) => Err(status),
            }
        }
    });
    let deletions = stream::iter(deletions).buffered(DELETIONS_AT_ONCE);
    list.items = deletions.try_filter_map(future::ok).try_collect().await?;
    writer.respond(list)
}

impl Request<'_> {
    fn format(&self) -> Result<Format, Status> {
        Format::choose(self.headers, self.query.get("pretty"), Offer::Objects)
    }

    fn object(&self, call: &Call<'_>) -> Result<crate::registry::Incoming, Status> {
        decode::object(content_type(self.headers), self.body, call.resource.kind())
    }

    fn delete_options(&self) -> Result<DeleteOptions, Status> {
        DeleteOptions::read(self.query, self.headers, self.body)
    }
}

fn show(
    registry: &Registry,
    call: &Call<'_>,
    written: &Written,
    format: Format,
    query: &Query,
) -> Result<ApiResponse, Status> {
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let now = registry.clock().now();
    let mut response = answer(code, call.resource, &written.object, format, (query, now))?;
    respond::warn(&mut response, &written.warnings);
    Ok(response)
}

/// The `Success` that a deletion answers with.
fn success(call: &Call<'_>, name: &str, shown: &Shown) -> Value {
    let details = Details {
        name: name.to_owned(),
        group: call.resource.gvr.group.to_string(),
        kind: call.resource.gvr.resource.to_string(),
        uid: match shown {
            Shown::Stored(object) => object.header.uid.to_string(),
            Shown::Dry(value) => value.str_at(&["metadata", "uid"]).unwrap_or_default().to_owned(),
        },
        ..Details::default()
    };
    object! {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": Value::object(),
        "status": "Success",
        "details": details.to_value(),
    }
}
