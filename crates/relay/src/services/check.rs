//! A file's text to a configuration, or every mistake in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use strait_api::private::{Source, read_agent_config};
use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value};
use strait_machinery::yaml::Mistake;

use super::announce::{ENTRY_MAX, announced_length};
use super::files::Files;
use super::problems::Problems;
use super::{AgentConfig, HUB, Hosts, HubConfig, Incoming, Listen, Policy, Service};
use super::{ServiceLimits, ServiceType, StartTls, Target, Transport, raw, web};

/// Most bytes of the annotations of one thing.
const ANNOTATIONS_MAX: usize = 8 << 10;
/// The least that a service of type tcp may be silent for, unless it says another time itself.
const RAW_IDLE: Duration = Duration::from_secs(60 * 60);
/// The longest that a connection to a service of type tcp may take: a hub waits 15 s for it, of
/// which 1 s may be for the stream's turn, and some for the way.
const RAW_DIAL_MAX: Duration = Duration::from_secs(12);
/// Longest text of a configuration, bytes.
const TEXT_MAX: usize = 4 << 20;

/// A configuration that can be used.
#[derive(Debug)]
pub struct Checked {
    /// What it says.
    pub config: AgentConfig,
    /// What is unwise; a strict check takes these for mistakes.
    pub warnings: Vec<Mistake>,
}

/// Reads the AgentConfig of a file, if it has one. `allow_insecure` is whether services may be trusted
/// without looking at their certificates.
///
/// # Errors
/// Every mistake, in the order of their places.
pub fn read(
    source: &Source<'_>,
    files: &dyn Files,
    allow_insecure: bool,
) -> Result<Option<Checked>, Vec<Mistake>> {
    let problems =
        Problems { files, of_hub: false, allow_insecure, errors: Vec::new(), warnings: Vec::new() };
    read_with(source, problems)
}

/// Reads the AgentConfig by which a hub offers services of its own to agents: it says of each
/// which agents may call it.
///
/// # Errors
/// As [`read`].
pub fn read_of_hub(
    source: &Source<'_>,
    files: &dyn Files,
) -> Result<Option<Checked>, Vec<Mistake>> {
    let (errors, warnings) = (Vec::new(), Vec::new());
    read_with(source, Problems { files, of_hub: true, allow_insecure: false, errors, warnings })
}

fn read_with(
    source: &Source<'_>,
    mut problems: Problems<'_>,
) -> Result<Option<Checked>, Vec<Mistake>> {
    if source.text.len() > TEXT_MAX {
        let position = strait_machinery::yaml::Position { line: 1, column: 1 };
        let message = "it is longer than 4 MiB".to_owned();
        return Err(vec![Mistake { file: source.file.to_owned(), position, message }]);
    }
    let read = read_agent_config(source);
    let mut mistakes = read.mistakes;
    let Some(single) = read.single else {
        return if mistakes.is_empty() { Ok(None) } else { Err(mistakes) };
    };
    let config = config(&single.value, &mut problems);
    // What the schema said is not said again.
    let new = problems.errors.iter().filter(|error| !read.told.contains(&error.path));
    mistakes.extend(new.map(|error| single.mistake(error)));
    let warnings = problems.warnings.iter().map(|error| single.mistake(error)).collect();
    match config {
        Some(config) if mistakes.is_empty() => Ok(Some(Checked { config, warnings })),
        _ => {
            mistakes.sort_by(|one, other| {
                (one.position, &one.message).cmp(&(other.position, &other.message))
            });
            Err(mistakes)
        }
    }
}

/// A part of the document; none if it is too wrong for that, which its schema told.
fn part<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    serde_json::from_slice(&value?.to_bytes()).ok()
}

fn config(value: &Value, problems: &mut Problems<'_>) -> Option<AgentConfig> {
    let agent = part::<raw::Agent>(value.get("agent"));
    if let Some(agent) = &agent {
        check_annotations(&Path::of(&["agent", "annotations"]), &agent.annotations, problems);
    }
    let hub = part(value.get("hub")).and_then(|raw| hub(&raw, problems));
    let defaults = part(value.get("defaults")).and_then(|raw| defaults(&raw, problems));
    let mut services = BTreeMap::new();
    for (at, value) in value.array_at(&["services"]).iter().enumerate() {
        let path = Path::of(&["services"]).index(at);
        let Some(raw) = part::<raw::Service>(Some(value)) else { continue };
        let service = service(&path, &raw, defaults.as_ref(), problems);
        insert(&mut services, &path, &raw.name, service.map(Arc::new), problems);
    }
    let mut incoming = BTreeMap::new();
    if problems.of_hub && !value.array_at(&["incoming"]).is_empty() {
        problems.forbidden(Path::of(&["incoming"]), "listeners are beside agents");
    }
    for (at, value) in value.array_at(&["incoming"]).iter().enumerate() {
        let path = Path::of(&["incoming"]).index(at);
        let Some(raw) = part::<raw::Incoming>(Some(value)) else { continue };
        let one = incoming_of(&path, raw, &incoming, problems);
        insert(&mut incoming, &path, &one.0, one.1, problems);
    }
    let policy = part(value.get("policy")).and_then(|raw| policy(&raw, problems));
    let agent = agent?;
    Some(AgentConfig {
        description: agent.description,
        annotations: agent.annotations,
        hub: hub?,
        services: services.into_iter().filter_map(|(k, v)| Some((k, v?))).collect(),
        incoming: incoming.into_iter().filter_map(|(k, v)| Some((k, v?))).collect(),
        policy: policy?,
    })
}

/// Notes a name that is there already.
fn insert<T>(
    into: &mut BTreeMap<String, Option<T>>,
    path: &Path,
    name: &str,
    what: Option<T>,
    problems: &mut Problems<'_>,
) {
    if into.insert(name.to_owned(), what).is_some() {
        problems.add(FieldError::duplicate(path.field("name"), name));
    }
}

fn check_annotations(path: &Path, all: &BTreeMap<String, String>, problems: &mut Problems<'_>) {
    if all.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > ANNOTATIONS_MAX {
        problems.add(FieldError::too_long(path.clone(), ANNOTATIONS_MAX));
    }
}

fn hub(raw: &raw::Hub, problems: &mut Problems<'_>) -> Option<HubConfig> {
    let path = Path::of(&["hub"]);
    for (at, address) in raw.addresses.iter().enumerate() {
        host_and_port(&path.field("addresses").index(at), address, problems);
    }
    let transport = match &*raw.transport {
        "auto" => Transport::Auto,
        "tls" => Transport::Tls,
        // The schema told what else there is.
        _ => Transport::WebSocket,
    };
    let proxy_file = (!raw.proxy_file.is_empty())
        .then(|| problems.secret(&path.field("proxyFile"), &raw.proxy_file));
    let addresses = raw.addresses.clone();
    Some(HubConfig { addresses, transport, proxy_file, connections: raw.connections })
}

/// Host and port of `host:port` or `[address]:port`.
pub(super) fn host_and_port(
    path: &Path,
    text: &str,
    problems: &mut Problems<'_>,
) -> Option<(String, u16)> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_bare = bare.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = !host.is_empty() && host.chars().all(name);
        let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
        (is_bare || is_name).then(|| (bare.unwrap_or(host).to_owned(), port))
    });
    if parsed.is_none() {
        problems.invalid(path, text, "must be a host and a port such as db.prod.svc:5432");
    }
    parsed
}

fn defaults(raw: &raw::Defaults, problems: &mut Problems<'_>) -> Option<ServiceLimits> {
    let at = |name: &str| Path::of(&["defaults", name]);
    let dial = problems.duration(&at("dialTimeout"), &raw.dial_timeout);
    let head = problems.maybe_duration(&at("headTimeout"), &raw.head_timeout);
    let idle = problems.maybe_duration(&at("idleTimeout"), &raw.idle_timeout);
    Some(ServiceLimits {
        dial: dial?,
        head: head?,
        idle: idle?,
        events: None,
        concurrent: raw.concurrent,
        max_body: None,
    })
}

fn service(
    path: &Path,
    raw: &raw::Service,
    defaults: Option<&ServiceLimits>,
    problems: &mut Problems<'_>,
) -> Option<Service> {
    check_annotations(&path.field("annotations"), &raw.annotations, problems);
    let kind = service_type(&path.field("type"), &raw.r#type, problems);
    let limits = limits(path, raw, defaults, problems);
    if problems.of_hub && raw.allow.users.is_empty() {
        let why = "say which agents may call it: system:strait:agent:CLUSTER:NAME, * for any text";
        problems.add(FieldError::required(path.field("allow").field("users"), why));
    }
    // Those who speak over raw bytes are silent for longer than HTTP is.
    let is_quiet = kind == Some(ServiceType::Tcp) && raw.idle_timeout.is_none();
    let limits = limits.map(|limits| ServiceLimits {
        idle: limits.idle.map(|idle| if is_quiet { idle.max(RAW_IDLE) } else { idle }),
        ..limits
    });
    if kind == Some(ServiceType::Tcp) && limits.is_some_and(|limits| limits.dial > RAW_DIAL_MAX) {
        let dial = raw.dial_timeout.as_deref().unwrap_or("that of defaults");
        let why =
            "must be at most 12s for a service of type tcp: no hub waits longer for its bytes";
        problems.invalid(&path.field("dialTimeout"), dial, why);
    }
    let target = match kind.as_ref()? {
        ServiceType::Tcp => tcp(path, raw, problems),
        kind => web::target(path, raw, kind, problems).map(|it| Target::Http(Box::new(it))),
    };
    let service = Service {
        kind: kind?,
        target: target?,
        users: raw.allow.users.clone(),
        limits: limits?,
        annotations: raw.annotations.clone(),
    };
    if announced_length(&service) > ENTRY_MAX {
        problems.add(FieldError::too_long(path.field("allow"), ENTRY_MAX));
    }
    Some(service)
}

fn service_type(path: &Path, text: &str, problems: &mut Problems<'_>) -> Option<ServiceType> {
    if let Some(known) = ServiceType::NAMED.iter().find(|known| known.as_str() == text) {
        return Some(known.clone());
    }
    if text.strip_prefix("x-").is_some_and(strait_types::is_dns1123_label) {
        return Some(ServiceType::Own(text.to_owned()));
    }
    if matches!(text, "kubernetes" | "aws") {
        problems.forbidden(path.clone(), format!("{text} is not served by this release"));
    } else {
        let mut known: Vec<String> =
            ServiceType::NAMED.iter().map(|known| known.as_str().to_owned()).collect();
        known.push("x-…".to_owned());
        problems.add(FieldError::not_supported(path.clone(), text, known));
    }
    None
}

fn limits(
    path: &Path,
    raw: &raw::Service,
    defaults: Option<&ServiceLimits>,
    problems: &mut Problems<'_>,
) -> Option<ServiceLimits> {
    let dial = raw.dial_timeout.as_deref();
    let dial = dial.map(|text| problems.duration(&path.field("dialTimeout"), text));
    let head = raw.head_timeout.as_deref();
    let head = head.map(|text| problems.maybe_duration(&path.field("headTimeout"), text));
    let idle = raw.idle_timeout.as_deref();
    let idle = idle.map(|text| problems.maybe_duration(&path.field("idleTimeout"), text));
    let max_body = raw.max_body.as_deref();
    let max_body = max_body.map(|text| problems.bytes(&path.field("maxBody"), text));
    let defaults = defaults?;
    Some(ServiceLimits {
        dial: dial.unwrap_or(Some(defaults.dial))?,
        head: head.unwrap_or(Some(defaults.head))?,
        idle: idle.unwrap_or(Some(defaults.idle))?,
        events: idle.unwrap_or(Some(defaults.events))?,
        concurrent: raw.concurrent.unwrap_or(defaults.concurrent),
        max_body: match max_body {
            Some(limit) => Some(limit?),
            None => None,
        },
    })
}

fn tcp(path: &Path, raw: &raw::Service, problems: &mut Problems<'_>) -> Option<Target> {
    let credentials = &raw.credentials;
    let has_credentials = credentials.basic.is_some()
        || credentials.bearer.is_some()
        || credentials.token.is_some()
        || credentials.header.is_some()
        || credentials.client_certificate.is_some();
    let allow = &raw.allow;
    for (name, set) in [
        ("url", raw.url.is_some()),
        ("protocol", raw.protocol != "auto"),
        ("upgrade", raw.upgrade),
        ("host", raw.host != "service"),
        ("clientAuthorization", raw.client_authorization != "remove"),
        ("cookies", raw.cookies != "path"),
        ("retry", raw.retry != "safe"),
        ("credentials", has_credentials),
        ("headTimeout", raw.head_timeout.is_some()),
        ("maxBody", raw.max_body.is_some()),
    ] {
        if set {
            problems.forbidden(path.field(name), "a service of type tcp has none");
        }
    }
    for (name, list) in
        [("methods", &allow.methods), ("paths", &allow.paths), ("denyPaths", &allow.deny_paths)]
    {
        if !list.is_empty() {
            let path = path.field("allow").field(name);
            problems.forbidden(path, "a service of type tcp has none");
        }
    }
    let tls = raw.tls.as_ref().map(|tls| web::trust(&path.field("tls"), tls, problems));
    // The schema knows this one alone.
    let starttls = raw.tls.as_ref().and_then(|tls| tls.starttls.as_ref());
    let starttls = starttls.map(|_| StartTls::Postgres);
    let Some(address) = &raw.address else {
        problems.add(FieldError::required(path.field("address"), "a tcp service is at host:port"));
        return None;
    };
    let (host, port) = host_and_port(&path.field("address"), address, problems)?;
    Some(Target::Tcp { host, port, tls, starttls })
}

fn incoming_of(
    path: &Path,
    raw: raw::Incoming,
    known: &BTreeMap<String, Option<Incoming>>,
    problems: &mut Problems<'_>,
) -> (String, Option<Incoming>) {
    let at = path.field("listen");
    let listen: Option<Listen> = problems.made(&at, &raw.listen, raw.listen.parse());
    if let Some(listen) = &listen {
        if known.values().flatten().any(|other| other.listen.is_same(listen)) {
            problems.add(FieldError::duplicate(at, &*raw.listen));
        } else if !listen.is_of_this_machine() {
            let why = "whoever reaches it asks in this agent's name; 127.0.0.1 is this machine";
            problems.warnings.push(FieldError::invalid(at, &raw.listen, why));
        }
    }
    let of = path.field("service");
    let raw::IncomingService { agent, r#type: kind, name: service } = raw.service;
    if agent != HUB {
        problems.invalid(&of.field("agent"), &agent, "only services of the hub: `agent: hub`");
    }
    let kind = service_type(&of.field("type"), &kind, problems);
    let incoming = listen.zip(kind).map(|(listen, kind)| {
        let hosts = hosts(&path.field("hosts"), &raw.hosts, (&listen, &kind), problems);
        Incoming { listen, kind, service, hosts }
    });
    (raw.name, incoming)
}

fn hosts(
    path: &Path,
    listed: &[String],
    (listen, kind): (&Listen, &ServiceType),
    problems: &mut Problems<'_>,
) -> Hosts {
    let own = match listen {
        Listen::Tcp(address) if *kind != ServiceType::Tcp => address.ip(),
        _ => {
            if !listed.is_empty() {
                problems.forbidden(path.clone(), "a socket and a service of type tcp have none");
            }
            return Hosts::Any;
        }
    };
    let mut more = Vec::new();
    for (at, text) in listed.iter().enumerate() {
        match Hosts::parse(text) {
            Some(host) => more.push(host),
            None => {
                let why = "must be a name or an address, without a port";
                problems.invalid(&path.index(at), text, why);
            }
        }
    }
    Hosts::Only { own, more }
}

fn policy(raw: &raw::Policy, problems: &mut Problems<'_>) -> Option<Policy> {
    let path = Path::of(&["policy", "maxTokenAge"]);
    let max_token_age = problems.maybe_duration(&path, &raw.max_token_age)?;
    Some(Policy { max_token_age, require_identity: raw.require_identity })
}
