//! Answers about objects that are stored nowhere, in the forms that stored ones have.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_machinery::table::{self, IncludeObject, ListMeta};

use crate::catalog::Resource;
use crate::handle::{include, printer};
use crate::negotiate::{Format, Offer, Transform};
use crate::query::Query;
use crate::respond::{self, ApiResponse};

/// How a client wants to see objects of a kind.
pub struct Unstored<'a> {
    resource: &'a Resource,
    format: Format,
    include: IncludeObject,
    now: Timestamp,
}

impl<'a> Unstored<'a> {
    /// Chooses by what the client takes.
    ///
    /// # Errors
    /// 406: it takes nothing that there is. 400: `includeObject` is not understood.
    pub fn choose(
        resource: &'a Resource,
        (query, headers): (&Query, &HeaderMap),
        now: Timestamp,
    ) -> Result<Self, Status> {
        let format = Format::choose(headers, query.get("pretty"), Offer::Objects)?;
        Ok(Self { resource, format, include: include(query)?, now })
    }

    /// One object.
    ///
    /// # Errors
    /// 406: the kind is not shown as tables.
    pub fn one(&self, object: &Value) -> Result<ApiResponse, Status> {
        let table;
        let shown = match self.format.transform {
            Transform::None => object,
            Transform::Partial => {
                table = table::partial_object(object);
                &table
            }
            Transform::Table => {
                let bytes = printer(self.resource)?.single(object, true, self.include, self.now);
                table = self.table(&bytes)?;
                &table
            }
        };
        Ok(respond::value(StatusCode::OK, shown, self.format))
    }

    /// Many.
    ///
    /// # Errors
    /// 406: the kind is not shown as tables.
    pub fn list(&self, metadata: &ListMeta, objects: Vec<Value>) -> Result<ApiResponse, Status> {
        let list = |kind: &str, api_version: &str, items: Vec<Value>| {
            object! {
                "kind": kind,
                "apiVersion": api_version,
                "metadata": metadata.to_value(),
                "items": items,
            }
        };
        let shown = match self.format.transform {
            Transform::None => {
                list(&self.resource.served.list_kind, &self.resource.api_version(), objects)
            }
            Transform::Partial => {
                let items = objects.iter().map(table::partial_object).collect();
                list("PartialObjectMetadataList", "meta.k8s.io/v1", items)
            }
            Transform::Table => {
                let printer = printer(self.resource)?;
                let mut bytes = Vec::new();
                printer.begin(metadata, &mut bytes);
                for (at, object) in objects.iter().enumerate() {
                    if at > 0 {
                        bytes.push(b',');
                    }
                    printer.row(object, self.include, self.now, &mut bytes);
                }
                table::end(&mut bytes);
                self.table(&bytes)?
            }
        };
        Ok(respond::value(StatusCode::OK, &shown, self.format))
    }

    fn table(&self, bytes: &[u8]) -> Result<Value, Status> {
        parse(bytes).map_err(|_| Status::internal("a table cannot be shown"))
    }
}
