//! Reading many objects.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_machinery::table::{self, IncludeObject, ListMeta};

use crate::body::{CHUNK_BYTES, GZIP_FROM_BYTES, ResponseBody};
use crate::catalog::Resource;
use crate::handle::{include, printer};
use crate::negotiate::{Encoding, Format, Offer, Transform};
use crate::query::Query;
use crate::registry::{Call, List, ListOptions, Registry};
use crate::respond::{self, ApiResponse};
use crate::select::Selection;

/// Room in a chunk for what begins and ends a list, and for the last object of the chunk.
const CHUNK_SLACK: usize = 4096;

/// Answers a GET of many objects.
///
/// # Errors
/// As [`Registry::list`], and 400 for selectors that do not parse.
pub(crate) async fn list(
    registry: &Registry,
    call: &Call<'_>,
    query: &Query,
    headers: &HeaderMap,
) -> Result<ApiResponse, Status> {
    let format = Format::choose(headers, query.get("pretty"), Offer::Objects)?;
    let options = ListOptions::parse(query)?;
    let selection = Selection::parse(query, call.resource)?;
    let writer = Writer::new(registry, call, format, query)?;
    let list = registry.list(call, &selection, &options).await?;
    Ok(respond::compress(writer.respond(list)?, headers))
}

/// Writes a list chunk by chunk, out of the objects' own bytes where it can.
pub(crate) struct Writer {
    resource: Arc<Resource>,
    format: Format,
    include: IncludeObject,
    now: Timestamp,
}

impl Writer {
    /// Writes lists of what a call is about, as the client asked for them.
    ///
    /// # Errors
    /// 406: the kind is not shown as tables. 400: `includeObject` is not understood.
    pub(crate) fn new(
        registry: &Registry,
        call: &Call<'_>,
        format: Format,
        query: &Query,
    ) -> Result<Self, Status> {
        let include = include(query)?;
        if format.transform == Transform::Table {
            printer(call.resource)?;
        }
        let now = registry.clock().now();
        Ok(Self { resource: call.resource.clone(), format, include, now })
    }

    /// A list as a response. One that is not large comes as one piece.
    ///
    /// # Errors
    /// 500: what is stored cannot be shown.
    pub(crate) fn respond(self, list: List) -> Result<ApiResponse, Status> {
        let format = self.format;
        let bytes: usize =
            list.items.iter().map(|(_, _, object)| object.body.as_bytes().len()).sum();
        let mut chunks = self.chunks(list, bytes);
        if format.encoding == Encoding::Json && !format.pretty {
            let body = if bytes < GZIP_FROM_BYTES {
                ResponseBody::Full(collect(&mut chunks))
            } else {
                ResponseBody::Chunks(chunks)
            };
            return Ok(respond::bytes_of(StatusCode::OK, format.content_type(), body));
        }
        let value =
            parse(&collect(&mut chunks)).map_err(|_| Status::internal("a list cannot be shown"))?;
        Ok(respond::value(StatusCode::OK, &value, format))
    }

    /// The list in pieces; its objects have `bytes` bytes together.
    fn chunks(self, list: List, bytes: usize) -> Box<dyn FnMut() -> Option<Bytes> + Send> {
        let mut opening = Vec::with_capacity(bytes.min(CHUNK_BYTES) + CHUNK_SLACK);
        self.open(&list, &mut opening);
        let mut state = Some((opening, true));
        let mut items = list.items.into_iter();
        Box::new(move || {
            let (mut chunk, mut first) = state.take()?;
            while chunk.len() < CHUNK_BYTES {
                let Some((_, _, object)) = items.next() else {
                    chunk.extend_from_slice(b"]}\n");
                    return Some(Bytes::from(chunk));
                };
                if !first {
                    chunk.push(b',');
                }
                first = false;
                self.item(&object, &mut chunk);
            }
            state = Some((Vec::with_capacity(CHUNK_BYTES + CHUNK_SLACK), first));
            Some(Bytes::from(chunk))
        })
    }

    /// Writes everything up to the first item.
    fn open(&self, list: &List, opening: &mut Vec<u8>) {
        let metadata = ListMeta {
            resource_version: list.revision.to_string(),
            continue_token: list.token.clone().unwrap_or_default(),
            remaining: list.remaining,
        };
        if let (Transform::Table, Some(printer)) = (self.format.transform, &self.resource.printer) {
            return printer.begin(&metadata, opening);
        }
        let (kind, api_version) = match self.format.transform {
            Transform::Partial => ("PartialObjectMetadataList", "meta.k8s.io/v1".to_owned()),
            _ => (&*self.resource.served.list_kind, self.resource.api_version()),
        };
        let head =
            object! {"kind": kind, "apiVersion": api_version, "metadata": metadata.to_value()};
        head.write_into(opening);
        opening.pop();
        opening.extend_from_slice(b",\"items\":[");
    }

    fn item(&self, object: &Object, out: &mut Vec<u8>) {
        match (self.format.transform, &self.resource.printer) {
            (Transform::Table, Some(printer)) => {
                printer.row(&object.to_value(), self.include, self.now, out);
            }
            (Transform::Partial, _) => table::partial_object(&object.to_value()).write_into(out),
            _ if self.resource.is_converted() => {
                let stored = object.to_value();
                let served = self.resource.served_form(stored).unwrap_or(Value::Null);
                served.write_into(out);
            }
            _ => object.body.write_at(object.revision, out),
        }
    }
}

/// All chunks as one; a single one is not copied.
fn collect(chunks: &mut dyn FnMut() -> Option<Bytes>) -> Bytes {
    let first = chunks().unwrap_or_default();
    let Some(second) = chunks() else {
        return first;
    };
    let mut whole = Vec::from(first);
    whole.extend_from_slice(&second);
    while let Some(chunk) = chunks() {
        whole.extend_from_slice(&chunk);
    }
    whole.into()
}
