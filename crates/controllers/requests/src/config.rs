//! What the agent's files say, fully checked.
//!
//! [`load`] reads files, [`strait_api::private`] finds what is wrong in each document, and this
//! module finds what is wrong between them and with the machine: names that nothing has, files
//! that are not there, texts that are no durations. Everything is told at once.

mod class;
mod http;
mod load;
mod mapping;
mod problems;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(test)]
pub(crate) use class::compile_params;
pub(crate) use class::{Class, ExecutorConfig, ResultRule};
#[cfg(test)]
pub(crate) use http::BodyRule;
pub(crate) use http::{HttpConfig, IDEMPOTENCY_KEY, Source, TextRule};
pub use load::{ConfigErrors, load};
pub(crate) use mapping::Mapping;
pub(crate) use process::ProcessConfig;

use strait_types::GroupResource;

use crate::policy::Policy;

/// What the agent does, and for whom. It is never changed: another configuration takes another
/// start.
#[derive(Debug, Default)]
pub struct Config {
    /// By name.
    pub(crate) endpoints: BTreeMap<Arc<str>, EndpointConfig>,
    pub(crate) policy: Policy,
}

/// An endpoint and what is followed there.
#[derive(Debug)]
pub(crate) struct EndpointConfig {
    pub(crate) workspace: Box<str>,
    pub(crate) slice: Box<str>,
    /// Not empty; one per resource.
    pub(crate) mappings: Vec<Arc<Mapping>>,
}

impl Config {
    /// Whether there is nothing to do: no endpoint has a mapping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// The classes that requests can have, with the resources that are mapped to them.
    #[must_use]
    pub fn classes(&self) -> BTreeMap<Arc<str>, Vec<GroupResource>> {
        let mut classes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for mapping in self.endpoints.values().flat_map(|endpoint| &endpoint.mappings) {
            let resource = mapping.resource.group_resource();
            classes.entry(mapping.class.name.clone()).or_default().push(resource);
        }
        classes
    }
}
