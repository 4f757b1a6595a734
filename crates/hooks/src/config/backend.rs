//! Who gets webhooks.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue};
use strait_machinery::field::FieldError;
use strait_machinery::json::Path;

use super::address::address;
use super::check::Problems;
use super::raw::{self, Part};
use super::{Backend, BackendTls, Headers, Identity};
use crate::filter::Filter;
use crate::schedule::Retry;

/// What the delivery itself writes, and what belongs to one connection (RFC 9110, 7.6.1).
const OURS: [&str; 12] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What the sender meant for us.
const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];

pub(super) fn backends(
    raw: &[Part<raw::Backend>],
    sources: &BTreeSet<&str>,
    problems: &mut Problems<'_>,
) -> Vec<Backend> {
    let at = |index: usize| Path::of(&["backends"]).index(index);
    let clear = || {
        let each = raw.iter().enumerate();
        each.filter_map(|(index, backend)| Some((at(index), backend.clear()?)))
    };
    problems.names(clear().map(|(path, backend)| (path.field("name"), &*backend.name)));
    clear().filter_map(|(path, raw)| backend(raw, &path, sources, problems)).collect()
}

fn backend(
    raw: &raw::Backend,
    base: &Path,
    sources: &BTreeSet<&str>,
    problems: &mut Problems<'_>,
) -> Option<Backend> {
    let at = |name: &str| base.field(name);
    let address = address(raw, base, problems);
    let listed = |index: usize| at("sources").index(index);
    problems.unique(raw.sources.iter().enumerate().map(|(index, name)| (listed(index), &**name)));
    for (index, name) in raw.sources.iter().enumerate() {
        if !sources.contains(&**name) {
            problems.add(FieldError::not_found(listed(index), name));
        }
    }
    let timeout = problems.duration(&at("timeout"), &raw.timeout);
    let order = Some(&raw.order).filter(|text| !text.is_empty());
    let order = order.and_then(|text| problems.parse(&at("order"), text));
    let retry = retry(&raw.retry, &at("retry"), problems);
    let filter = filter(&raw.filter, &at("filter"), problems);
    let headers = headers(&raw.headers, &at("headers"), problems);
    let tls = tls(&raw.tls, &at("tls"), problems);
    Some(Backend {
        name: raw.name.as_str().into(),
        address: address?,
        sources: raw.sources.iter().map(|name| name.as_str().into()).collect(),
        tls,
        timeout: timeout?,
        in_flight: raw.in_flight,
        order,
        retry: retry?,
        filter,
        headers,
        allow_private: raw.allow_private,
        networks: Vec::new(),
    })
}

fn tls(raw: &raw::BackendTls, base: &Path, problems: &mut Problems<'_>) -> BackendTls {
    let given = |text: &str| !text.is_empty();
    let authorities =
        given(&raw.ca_file).then(|| problems.file(&base.field("caFile"), &raw.ca_file));
    let identity = match (given(&raw.cert_file), given(&raw.key_file)) {
        (false, false) => None,
        (true, false) => {
            problems.add(FieldError::required(base.field("keyFile"), "goes with certFile"));
            None
        }
        (false, true) => {
            problems.add(FieldError::required(base.field("certFile"), "goes with keyFile"));
            None
        }
        (true, true) => Some(Identity {
            certificates: problems.file(&base.field("certFile"), &raw.cert_file),
            key: problems.file(&base.field("keyFile"), &raw.key_file),
        }),
    };
    if raw.insecure && authorities.is_some() {
        let why = "has no meaning with caFile: either any certificate will do or those";
        problems.add(FieldError::forbidden(base.field("insecure"), why));
    }
    BackendTls { authorities, identity, insecure: raw.insecure }
}

fn retry(raw: &raw::Retry, base: &Path, problems: &mut Problems<'_>) -> Option<Retry> {
    let first = problems.duration(&base.field("first"), &raw.first);
    let max = problems.duration(&base.field("max"), &raw.max);
    let max_age = problems.duration(&base.field("maxAge"), &raw.max_age);
    let (first, max, max_age) = (first?, max?, max_age?);
    if first > max {
        problems.invalid(&base.field("max"), &raw.max, "must not be less than first");
    }
    if max > max_age {
        problems.invalid(&base.field("maxAge"), &raw.max_age, "must not be less than max");
    }
    Some(Retry { first, factor: f64::from(raw.factor), max, max_age, jitter: raw.jitter })
}

fn filter(raw: &raw::Filter, base: &Path, problems: &mut Problems<'_>) -> Filter {
    let boxed = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
    let repositories =
        raw.repositories.iter().enumerate().filter_map(|(index, text)| {
            problems.parse(&base.field("repositories").index(index), text)
        });
    let repositories = repositories.collect();
    let equals = raw.equals.iter().filter_map(|(text, value)| {
        Some((problems.parse(&base.field("equals").key(text), text)?, value.clone()))
    });
    let equals = equals.collect();
    Filter { events: boxed(&raw.events), actions: boxed(&raw.actions), repositories, equals }
}

fn headers(raw: &raw::Headers, base: &Path, problems: &mut Problems<'_>) -> Headers {
    let mut known = BTreeSet::new();
    let mut add = Vec::new();
    for (text, value) in &raw.add {
        let path = base.field("add").key(text);
        let Some(name) = header(text, &path, problems) else {
            continue;
        };
        if !known.insert(name.as_str().to_owned()) {
            problems.add(FieldError::duplicate(path, text));
        } else if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            add.push((name, value));
        } else {
            // The value may be a credential.
            problems.add(FieldError::forbidden(path, "must be visible ASCII"));
        }
    }
    let each = raw.pass_also.iter().enumerate().filter_map(|(index, text)| {
        let path = base.field("passAlso").index(index);
        let name = header(text, &path, problems)?;
        if CREDENTIALS.contains(&name.as_str()) {
            problems.invalid(&path, text, "is meant for this server and never passed on");
        }
        Some(name)
    });
    let pass_also = each.collect();
    Headers { add, pass_also }
}

fn header(text: &str, path: &Path, problems: &mut Problems<'_>) -> Option<HeaderName> {
    let name = problems.parse::<HeaderName>(path, text)?;
    if OURS.contains(&name.as_str()) {
        problems.invalid(path, text, "is written by the delivery itself");
    }
    Some(name)
}
