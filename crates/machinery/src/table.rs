//! Objects as tables: what `kubectl get` asks for (`meta.k8s.io/v1` Table).
//!
//! A [`Printer`] knows a kind's columns and makes a row of an object. A list is written as it
//! is read: [`Printer::begin`], [`Printer::row`] for each object, [`end`]. A watch sends a
//! table of one row per event, the columns only with the first ([`Printer::single`]).

mod builtin;
mod custom;

use jiff::Timestamp;

use crate::builtin::{Kind, Layout, is_zero_time, parse_time};
use crate::duration;
use crate::field::FieldError;
use crate::json::{Map, Path, Value};
use crate::object;
use crate::status::Status;

pub use custom::CustomColumn;

use builtin::Column;

/// `apiVersion` of tables and of partial objects.
const API_VERSION: &str = "meta.k8s.io/v1";

/// How much of an object a row carries (`?includeObject=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Parses the query parameter; empty: the default.
    ///
    /// # Errors
    /// A 400 for any other word.
    pub fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            _ => {
                let detail = "must be 'Metadata', 'Object', 'None', or empty";
                let error = FieldError::invalid(Path::of(&["includeObject"]), text, detail);
                let message = format!("Unable to convert to Table as requested: {error}");
                Err(Status::bad_request(message))
            }
        }
    }
}

/// What a list says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListMeta {
    /// The revision that was read.
    pub resource_version: String,
    /// Where the next page begins; empty on the last.
    pub continue_token: String,
    /// How many objects follow, where it is known.
    pub remaining: Option<u64>,
}

impl ListMeta {
    /// As JSON, empty members left out.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        if !self.continue_token.is_empty() {
            map.insert("continue", &*self.continue_token);
        }
        if let Some(remaining) = self.remaining {
            map.insert("remainingItemCount", remaining);
        }
        if !self.resource_version.is_empty() {
            map.insert("resourceVersion", &*self.resource_version);
        }
        map.into()
    }
}

/// Makes tables of the objects of one kind. Cheap to keep.
#[derive(Debug)]
pub struct Printer {
    /// `columnDefinitions`.
    columns: Value,
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    Builtin(&'static Kind, &'static [Column]),
    Custom(Vec<CustomColumn>),
}

impl Printer {
    /// Prints objects of a built-in kind, given in the form in which they are stored. None for
    /// kinds that have no stored objects: they are not shown as tables.
    #[must_use]
    pub fn of_builtin(kind: &'static Kind) -> Option<Self> {
        let columns = builtin::columns(kind)?;
        let definitions = columns.iter().map(Column::definition).collect();
        Some(Self { columns: definitions, cells: Cells::Builtin(kind, columns) })
    }

    /// Prints objects of a custom kind. The name comes first; where no columns are declared,
    /// the age follows.
    #[must_use]
    pub fn of_custom(columns: Vec<CustomColumn>) -> Self {
        let columns = if columns.is_empty() { vec![CustomColumn::age()] } else { columns };
        let name = std::iter::once(builtin::NAME.definition());
        let definitions = name.chain(columns.iter().map(CustomColumn::definition)).collect();
        Self { columns: definitions, cells: Cells::Custom(columns) }
    }

    /// Appends the table up to its first row.
    pub fn begin(&self, list: &ListMeta, out: &mut Vec<u8>) {
        self.head(true, &list.to_value(), out);
    }

    /// Appends one row. Rows after the first take a comma in front, which is the caller's.
    pub fn row(&self, object: &Value, include: IncludeObject, now: Timestamp, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"cells\":");
        self.cells(object, now).write_into(out);
        out.extend_from_slice(b",\"object\":");
        match include {
            IncludeObject::None => out.extend_from_slice(b"null"),
            IncludeObject::Metadata => partial_object(object).write_into(out),
            IncludeObject::Object => self.whole(object).write_into(out),
        }
        out.push(b'}');
    }

    /// A table of one object.
    #[must_use]
    pub fn single(
        &self,
        object: &Value,
        with_columns: bool,
        include: IncludeObject,
        now: Timestamp,
    ) -> Vec<u8> {
        let revision = object.str_at(&["metadata", "resourceVersion"]).unwrap_or_default();
        let list = ListMeta { resource_version: revision.to_owned(), ..ListMeta::default() };
        let mut out = Vec::with_capacity(1024);
        self.head(with_columns, &list.to_value(), &mut out);
        self.row(object, include, now, &mut out);
        end(&mut out);
        out
    }

    fn head(&self, with_columns: bool, metadata: &Value, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"apiVersion\":\"");
        out.extend_from_slice(API_VERSION.as_bytes());
        out.extend_from_slice(b"\",\"columnDefinitions\":");
        if with_columns {
            self.columns.write_into(out);
        } else {
            out.extend_from_slice(b"null");
        }
        out.extend_from_slice(b",\"kind\":\"Table\",\"metadata\":");
        metadata.write_into(out);
        out.extend_from_slice(b",\"rows\":[");
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Value {
        match &self.cells {
            Cells::Builtin(_, columns) => {
                columns.iter().map(|column| (column.cell)(object, now)).collect()
            }
            Cells::Custom(columns) => {
                let name = std::iter::once((builtin::NAME.cell)(object, now));
                name.chain(columns.iter().map(|column| column.cell(object, now))).collect()
            }
        }
    }

    /// The object in the form of the kind that was asked for.
    fn whole(&self, object: &Value) -> Value {
        match self.cells {
            Cells::Builtin(kind, _) => {
                kind.from_stored(object.clone()).unwrap_or_else(|_| object.clone())
            }
            Cells::Custom(_) => object.clone(),
        }
    }
}

/// Appends what stands behind the last row.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}");
}

/// An object's metadata as an object of its own (`PartialObjectMetadata`).
#[must_use]
pub fn partial_object(object: &Value) -> Value {
    object! {
        "apiVersion": API_VERSION,
        "kind": "PartialObjectMetadata",
        "metadata": object.get("metadata").cloned().unwrap_or_else(Value::object),
    }
}

/// The age of what began at a time in a text; `<unknown>` where there is none.
fn age_of(text: Option<&str>, layout: Layout, now: Timestamp) -> Value {
    let time = text.and_then(|text| parse_time(text, layout).ok());
    match time.filter(|time| !is_zero_time(*time)) {
        Some(time) => duration::age(time, now).into(),
        None => "<unknown>".into(),
    }
}

#[cfg(test)]
mod tests;
