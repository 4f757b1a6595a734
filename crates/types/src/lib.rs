//! The words every crate shares: validated names, ids, revisions, error kinds.
//!
//! Nothing here does I/O, reads a clock or knows a protocol. A type enters this crate when
//! two layers must mean the same thing by it.

mod address;
mod error;
mod field;
mod id;
mod name;
mod redacted;
mod resource;
mod revision;
mod trace;

pub use address::{push_ip, push_socket};
pub use error::{Classified, ErrorKind, Report};
pub use field::{Field, field_name_byte, is_field_name, is_field_value};
pub use id::{HubId, InstanceId, InvalidId, Uid};
pub use name::{
    ClusterName, InvalidName, WorkspacePath, is_dns1123_label, is_dns1123_subdomain,
    is_path_segment,
};
pub use redacted::Redacted;
pub use resource::{
    GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource,
    InvalidGroupVersion,
};
pub use revision::{InvalidRevision, Revision};
pub use trace::{InvalidSampler, Sampler, SpanId, TraceContext, TraceId, is_tracestate};
