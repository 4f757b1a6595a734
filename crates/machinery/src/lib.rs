//! Kubernetes API semantics as pure functions over JSON trees.
//!
//! Nothing here does I/O, reads a clock or draws a random number: what a function needs of
//! those comes in as an argument. Rules that are Kubernetes' own name their source.

pub mod field;
pub mod json;
pub mod status;
