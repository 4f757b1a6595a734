//! The document as structs, once its defaults are filled in.
//!
//! A part that has not the types of its schema is unclear: the schema told why, and the others
//! are looked at all the same.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Permission;

/// A part of the document.
#[derive(Debug)]
pub(super) enum Part<T> {
    Clear(T),
    /// It has a wrong type somewhere.
    Unclear(Value),
}

impl<T> Part<T> {
    pub(super) const fn clear(&self) -> Option<&T> {
        match self {
            Self::Clear(part) => Some(part),
            Self::Unclear(_) => None,
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(reader)?;
        Ok(T::deserialize(&value).map_or_else(|_| Self::Unclear(value), Self::Clear))
    }
}

impl Part<Source> {
    /// What backends may call it.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Clear(source) => Some(&source.name),
            Self::Unclear(value) => value.get("name")?.as_str(),
        }
    }
}

macro_rules! members {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }
    )*};
}

members! {
    Document {
        listen: Part<String>,
        tls: Option<Part<Tls>>,
        admin: Option<Part<Admin>>,
        data_dir: Part<String>,
        ack: Part<String>,
        limits: Part<Limits>,
        retention: Part<Retention>,
        sources: Part<Vec<Part<Source>>>,
        backends: Part<Vec<Part<Backend>>>,
        dynamic_backends: Option<Part<DynamicBackends>>,
        store_only: Part<bool>,
        archive: Option<Value>,
    }
    Tls { cert_file: String, key_file: String }
    Admin {
        listen: String,
        tls: Option<Tls>,
        tokens: Vec<Token>,
        kubeconfig: Option<String>,
    }
    Token { name: String, file: String, may: Vec<Permission> }
    DynamicBackends { networks: Vec<String> }
    Limits {
        body: String,
        body_deadline: String,
        head_deadline: String,
        connections: usize,
        per_address: usize,
        memory: String,
        disk: String,
    }
    Retention { delivered: String, undelivered: String }
    Source {
        name: String,
        path: String,
        scheme: String,
        secret_files: Vec<String>,
        hmac: Option<Hmac>,
        dedupe: String,
        addresses: Vec<String>,
    }
    Hmac { header: String, algorithm: String, encoding: String, prefix: String }
    Backend {
        name: String,
        url: Option<String>,
        workspace: Option<String>,
        agent: Option<String>,
        service: Option<String>,
        path: Option<String>,
        hub: Option<String>,
        token_file: Option<String>,
        sources: Vec<String>,
        tls: BackendTls,
        timeout: String,
        in_flight: usize,
        order: String,
        retry: Retry,
        filter: Filter,
        headers: Headers,
        allow_private: bool,
    }
    BackendTls { ca_file: String, cert_file: String, key_file: String, insecure: bool }
    Retry { first: String, factor: u32, max: String, max_age: String, jitter: f64 }
    Filter {
        events: Vec<String>,
        actions: Vec<String>,
        repositories: Vec<String>,
        equals: BTreeMap<String, Value>,
    }
    Headers { add: BTreeMap<String, String>, pass_also: Vec<String> }
}
