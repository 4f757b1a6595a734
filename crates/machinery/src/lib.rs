//! Kubernetes API semantics as pure functions over JSON trees.
//!
//! Nothing here does I/O, reads a clock or draws a random number: what a function needs of
//! those comes in as an argument. Rules that are Kubernetes' own name their source.

pub mod builtin;
pub mod discovery;
pub mod duration;
pub mod field;
pub mod go_text;
pub mod json;
pub mod jsonpath;
pub mod names;
pub mod object;
pub mod object_meta;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod schema;
pub mod selector;
pub mod status;
pub mod strategic;
pub mod table;
pub mod yaml;
