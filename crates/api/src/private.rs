//! The kinds of the private side: what `strait agent --config` reads.
//!
//! They are files, never objects of a server, but described as the hub's kinds are: a structural
//! schema each, in `kinds/private`, from which checking, defaults and line numbers follow, and a
//! struct each, which holds what was checked. Every member that a schema declares has its effect
//! in this release; one that it does not declare is a mistake.
//!
//! [`read()`] does no I/O and finds every mistake that a document has by itself. What several
//! documents or the machine have to do with each other is for whoever uses them
//! ([`Located::mistake`] says where). [`read_agent_config`] does the same for the one document
//! that says what an agent offers through the relay.

mod kinds;
mod read;
mod schema;
mod single;

pub use kinds::ClassSpec;
pub use kinds::{
    Backoff, BodyMember, Effect, EndpointSpec, EnvVar, Execution, Executor, HttpExecutor,
    MappedResource, MappingSpec, Match, Metadata, ParamCondition, PolicySpec, Private,
    ProcessExecutor, RemoteEndpoint, RequestClass, RequestKindMapping, RequestPolicy,
    ResultMapping, ResultPath, Rule, TextSource,
};
pub use read::{Documents, Located, Source, read};
pub use single::{Read, Single, read_agent_config};

/// The group of these kinds.
pub const GROUP: &str = "requests.strait.dev";

/// Their version.
pub const API_VERSION: &str = "requests.strait.dev/v1alpha1";
