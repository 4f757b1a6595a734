//! The built-in Kubernetes kinds as data: one table of messages, one of kinds
//! (`builtin/types.txt`, `builtin/kinds.txt`), read once when first asked for.
//!
//! From the tables follow typed decoding ([`Kind::decode`]), protobuf ([`crate::protobuf`]),
//! schemas ([`Kind::schema`]) and so OpenAPI, discovery and strategic merge. What data cannot
//! say, defaults and rules of single kinds, is a small hook each ([`Kind::prepare_for_create`]
//! and its siblings). Facts are those of Kubernetes 1.34; descriptions are our own.

mod base64;
mod decode;
mod event;
mod hooks;
mod model;
mod schema;
mod text;
mod time;
mod type_meta;

use std::sync::LazyLock;

pub use decode::{DecodeError, Decoded};
pub use model::{FieldLabel, Kind, Message, Subresource};
pub use schema::definition;
pub use type_meta::{check_custom_type, unrecognized};

pub(crate) use base64::encode as encode_base64;
pub(crate) use model::{Member, Table, Type};
pub(crate) use time::{
    Layout, format as format_time, is_zero as is_zero_time, parse as parse_time,
};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    text::read(include_str!("builtin/types.txt"), include_str!("builtin/kinds.txt"))
        .expect("the tables are part of the program and read by its tests")
});

/// A table of other messages, for tests.
#[cfg(test)]
pub(crate) fn read_table(types: &'static str) -> Table {
    text::read(types, "").unwrap()
}

pub(crate) fn table() -> &'static Table {
    &TABLE
}

/// All built-in kinds.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    &table().kinds
}

/// A built-in kind by its name.
#[must_use]
pub fn kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    let named = |candidate: &&Kind| {
        candidate.kind == kind && candidate.version == version && candidate.group == group
    };
    kinds().iter().find(named)
}

/// A built-in message by package and name, e.g. `meta.DeleteOptions`.
#[must_use]
pub fn message(id: &str) -> Option<&'static Message> {
    table().message(id)
}

#[cfg(test)]
mod tests;
