//! HTTP handlers, one module per kind of request.

pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod paths;
pub(crate) mod reviews;
pub(crate) mod watch;
pub(crate) mod write;

use jiff::Timestamp;
use strait_machinery::json::{Value, parse};
use strait_machinery::status::Status;
use strait_machinery::table::{self, IncludeObject, Printer};

use crate::catalog::Resource;
use crate::negotiate::{Format, RESPONSE_TYPES, Transform};
use crate::query::Query;
use crate::registry::Shown;

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

/// A stored object as the client asked for it, at a revision.
///
/// # Errors
/// 406 for a table of a kind that has none.
pub(crate) fn present(
    resource: &Resource,
    stored: Value,
    format: Format,
    (include, now): (IncludeObject, Timestamp),
) -> Result<Value, Status> {
    match format.transform {
        Transform::None => resource.served_form(stored),
        Transform::Partial => Ok(table::partial_object(&stored)),
        Transform::Table => {
            let table = printer(resource)?.single(&stored, true, include, now);
            parse(&table).map_err(|_| Status::internal("a table cannot be shown"))
        }
    }
}

/// What a write shows, as the client asked for it.
///
/// # Errors
/// As [`present`].
pub(crate) fn present_shown(
    resource: &Resource,
    shown: &Shown,
    format: Format,
    query: &Query,
    now: Timestamp,
) -> Result<Value, Status> {
    present(resource, shown.to_value(), format, (include(query)?, now))
}
