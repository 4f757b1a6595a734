//! What the hub learns of an agent's services.
//!
//! The types here have no field for an address, a file or a credential. That two instances of an
//! agent disagree shows in their settings' hashes. What a hash says of the private side is 16
//! bits of it: enough to notice a difference, too few to confirm a guess at a host's name.

use sha2::{Digest, Sha256};
use strait_machinery::json::Value;
use strait_machinery::object;

use super::{AgentConfig, Credentials, HttpTarget, Protocol, Service, StartTls, Target, Trust};
use crate::http::fields::HostRule;
use crate::link::control::Unreached;
use crate::token::hex;

/// Most bytes of one message.
pub const MESSAGE_MAX: usize = 64 << 10;
/// Most bytes of a message that one service may take.
pub(super) const ENTRY_MAX: usize = 32 << 10;
/// Bytes of a hash that come from what is announced anyway.
const PUBLIC: usize = 8;
/// Bytes that come from the rest.
const PRIVATE: usize = 2;

/// The hash of a service's settings: equal where two instances agree. What credentials' files
/// hold is no part of it, for rotation reaches one instance before the other.
#[must_use]
pub fn settings_hash(service: &Service) -> String {
    let public = Sha256::digest(public(service).to_bytes());
    let private = Sha256::digest(private(service).to_bytes());
    format!("{}-{}", hex(&public[..PUBLIC]), hex(&private[..PRIVATE]))
}

/// The messages that announce all services, each at most [`MESSAGE_MAX`] bytes; `unreached` says
/// why a service cannot be reached, if that is known. `generation` counts announcements.
#[must_use]
pub fn announcement(
    config: &AgentConfig,
    generation: i64,
    unreached: impl Fn(&str) -> Option<Unreached>,
) -> Vec<Vec<u8>> {
    let mut all = Sha256::new();
    let mut parts: Vec<Vec<Value>> = vec![Vec::new()];
    let mut size = 0;
    for (name, service) in &config.services {
        let hash = settings_hash(service);
        all.update(name.as_bytes());
        all.update(hash.as_bytes());
        let mut entry = public(service);
        entry.set(&["name"], &**name);
        entry.set(&["hash"], &*hash);
        let why = unreached(name);
        entry.set(&["ready"], why.is_none());
        if let Some(why) = why {
            entry.set(&["unreached"], why.as_str());
        }
        let length = entry.to_bytes().len() + 1;
        // What stands around a list is less than a kilobyte.
        if size + length > MESSAGE_MAX - 1024 {
            parts.push(Vec::new());
            size = 0;
        }
        size += length;
        if let Some(part) = parts.last_mut() {
            part.push(entry);
        }
    }
    let hash = hex(&all.finalize()[..PUBLIC]);
    let of = i64::try_from(parts.len()).unwrap_or(i64::MAX);
    let message = |(part, list): (i64, Vec<Value>)| {
        let mut message =
            object! {"t": "services", "gen": generation, "hash": &*hash, "list": list};
        if of > 1 {
            message.set(&["part"], part);
            message.set(&["of"], of);
        }
        message.to_bytes()
    };
    (1..).zip(parts).map(message).collect()
}

/// Bytes that a service takes in an announcement, about.
pub(super) fn announced_length(service: &Service) -> usize {
    public(service).to_bytes().len()
}

/// Everything of a service that anybody outside may know.
fn public(service: &Service) -> Value {
    let mut entry = object! {
        "type": service.kind.as_str(),
        "mount": false,
        "annotations": texts(&service.annotations),
    };
    match &service.target {
        Target::Tcp { .. } => {
            entry.set(&["raw"], true);
            entry.set(&["protocols"], vec!["raw".into()]);
        }
        Target::Http(http) => {
            let rules = &http.rules;
            let methods = rules.methods.iter().map(http::Method::as_str);
            entry.set(&["raw"], false);
            entry.set(&["protocols"], protocols(http));
            entry.set(&["methods"], methods.collect::<Value>());
            entry.set(&["paths"], rules.paths.iter().map(|own| own.as_str()).collect::<Value>());
            entry.set(&["retry"], http.retries_safe);
            entry.set(&["clientAuthorization"], http.passes_authorization);
        }
    }
    entry
}

/// What else decides what a request does. Names of files are no part of it.
fn private(service: &Service) -> Value {
    let mut entry = object! {"users": service.users.iter().collect::<Value>()};
    match &service.target {
        Target::Tcp { host, port, tls, starttls } => {
            entry.set(&["at"], format!("{host}:{port}"));
            entry.set(&["tls"], tls.as_ref().map_or(Value::Null, trust));
            if let Some(StartTls::Postgres) = starttls {
                entry.set(&["starttls"], "postgres");
            }
        }
        Target::Http(http) => {
            let deny = http.rules.deny_paths.iter().map(|own| own.as_str());
            let host = match &http.host {
                HostRule::Service => "service".into(),
                HostRule::Client => "client".into(),
                HostRule::Literal(host) => String::from_utf8_lossy(host.as_bytes()),
            };
            let credentials = match &http.credentials {
                Credentials::None => "none",
                Credentials::Basic { .. } => "basic",
                Credentials::Bearer(_) => "bearer",
                Credentials::Token(_) => "token",
                Credentials::Field { name, .. } => name.as_str(),
                Credentials::ClientCertificate { .. } => "clientCertificate",
            };
            entry.set(&["at"], format!("{:?}", http.url));
            entry.set(&["tls"], trust(&http.trust));
            entry.set(&["deny"], deny.collect::<Value>());
            entry.set(&["host"], &*host);
            entry.set(&["credentials"], credentials);
            entry.set(&["domain"], http.rewrites_domain);
        }
    }
    entry
}

fn trust(trust: &Trust) -> Value {
    object! {
        "name": trust.server_name.as_deref().unwrap_or_default(),
        "only": trust.only_1_3,
        "insecure": trust.insecure,
    }
}

fn texts(map: &std::collections::BTreeMap<String, String>) -> strait_machinery::json::Map {
    map.iter().map(|(key, value)| (&**key, &**value)).collect()
}

fn protocols(http: &HttpTarget) -> Vec<Value> {
    let mut all: Vec<Value> = match http.protocol {
        Protocol::Http1 => vec!["http1".into()],
        Protocol::Http2 | Protocol::H2c => vec!["http2".into()],
        Protocol::Auto if http.url.is_secure() => vec!["http1".into(), "http2".into()],
        Protocol::Auto => vec!["http1".into()],
    };
    if http.upgrade {
        all.push("upgrade".into());
    }
    all
}
