//! HTTP handlers, one module per kind of request.

pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod paths;
pub(crate) mod reviews;
pub(crate) mod watch;
pub(crate) mod write;

use http::StatusCode;
use jiff::Timestamp;
use strait_machinery::json::parse;
use strait_machinery::status::Status;
use strait_machinery::table::{self, IncludeObject, Printer};

use crate::catalog::Resource;
use crate::negotiate::{Format, RESPONSE_TYPES, Transform};
use crate::query::Query;
use crate::registry::Shown;
use crate::respond::{self, ApiResponse};

/// What `?includeObject=` says.
///
/// # Errors
/// 400 for a word that is none.
pub(crate) fn include(query: &Query) -> Result<IncludeObject, Status> {
    IncludeObject::parse(query.get("includeObject").unwrap_or_default())
}

/// The printer of a kind.
///
/// # Errors
/// 406: the kind is not shown as tables.
pub(crate) fn printer(resource: &Resource) -> Result<&Printer, Status> {
    resource.printer.as_deref().ok_or_else(|| Status::not_acceptable(&RESPONSE_TYPES))
}

/// An object as the client asked for it. One that is stored is answered out of its own bytes
/// where plain JSON will do.
///
/// # Errors
/// 406 for a table of a kind that has none, 400 for an `includeObject` that is not understood.
pub(crate) fn answer(
    code: StatusCode,
    resource: &Resource,
    shown: &Shown,
    format: Format,
    (query, now): (&Query, Timestamp),
) -> Result<ApiResponse, Status> {
    if let (Shown::Stored(object), Format::JSON) = (shown, format) {
        let mut bytes = resource.served_bytes(object, object.revision)?;
        bytes.push(b'\n');
        return Ok(respond::bytes_of(code, format.content_type(), bytes.into()));
    }
    let stored = shown.to_value();
    let value = match format.transform {
        Transform::None => resource.served_form(stored)?,
        Transform::Partial => table::partial_object(&stored),
        Transform::Table => {
            let table = printer(resource)?.single(&stored, true, include(query)?, now);
            parse(&table).map_err(|_| Status::internal("a table cannot be shown"))?
        }
    };
    Ok(respond::value(code, &value, format))
}
