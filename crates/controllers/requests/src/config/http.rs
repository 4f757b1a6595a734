//! A class's HTTP call.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, Uri};
use strait_api::private::{BodyMember, HttpExecutor, TextSource};
use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value, parse};
use strait_net::Network;
use strait_pki::TrustBundle;
use strait_runtime::fs::read_capped;
use strait_types::Report;

use super::problems::Problems;
use crate::pointer::Pointer;

/// What the call itself decides.
const RESERVED_HEADERS: [HeaderName; 5] =
    [AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING];

/// A machine's whole store of authorities is a quarter of that.
const AUTHORITIES_BYTES_MAX: usize = 1 << 20;

/// Header that names the execution to the service, so that it can recognise a repetition.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One HTTP call.
#[derive(Debug)]
pub(crate) struct HttpConfig {
    pub(crate) method: Method,
    /// Absolute, without query.
    pub(crate) url: Uri,
    pub(crate) headers: Vec<(HeaderName, TextRule)>,
    pub(crate) query: Vec<(Box<str>, TextRule)>,
    pub(crate) body: Vec<BodyRule>,
    pub(crate) bearer_file: Option<PathBuf>,
    /// Whom https servers are trusted by.
    pub(crate) authorities: Option<TrustBundle>,
    pub(crate) networks: Vec<Network>,
    pub(crate) success: Vec<u16>,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_bytes_max: usize,
}

/// A text, or a scalar parameter.
pub(crate) type TextRule = Source<Box<str>>;

/// A part of the body.
#[derive(Debug)]
pub(crate) struct BodyRule {
    pub(crate) to: Pointer,
    pub(crate) source: Source<Value>,
}

/// Given by the class, or brought by the request.
#[derive(Debug)]
pub(crate) enum Source<T> {
    Value(T),
    Param(Pointer),
}

impl HttpConfig {
    pub(super) fn new(
        config: &HttpExecutor,
        base: &Path,
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let at = |field: &str| base.field(field);
        let url = url(&config.url, &at("url"), problems);
        let secure = url.as_ref().is_some_and(|url| url.scheme() == Some(&Scheme::HTTPS));
        if secure && config.ca_file.is_none() {
            problems.add(&FieldError::required(at("caFile"), "an https server needs authorities"));
        }
        let headers = headers(&config.headers, &at("headers"), problems);
        let query = config.query.iter().enumerate().filter_map(|(index, source)| {
            let rule = text_rule(source, &at("query").index(index), problems)?;
            Some((source.name.as_str().into(), rule))
        });
        let query: Vec<_> = query.collect();
        let body = body(&config.body, &at("body"), problems);
        let bearer_file = match &config.bearer_file {
            Some(file) => problems.file(&at("bearerFile"), file).map(Some),
            None => Some(None),
        };
        let authorities = match &config.ca_file {
            Some(file) => authorities(file, &at("caFile"), problems).map(Some),
            None => Some(None),
        };
        let networks =
            config.allowed_networks.iter().enumerate().filter_map(|(index, text)| {
                problems.parse(&at("allowedNetworks").index(index), text)
            });
        let networks = networks.collect();
        let connect_timeout = problems.duration(&at("connectTimeout"), &config.connect_timeout);
        let response = problems.size(&at("maxResponseBytes"), &config.max_response_bytes);
        Some(Self {
            method: problems.parse(&at("method"), &config.method)?,
            url: url?,
            headers,
            query,
            body,
            bearer_file: bearer_file?,
            authorities: authorities?,
            networks,
            success: config.success_statuses.clone(),
            connect_timeout: connect_timeout?,
            response_bytes_max: response?,
        })
    }
}

fn authorities(file: &str, path: &Path, problems: &mut Problems<'_>) -> Option<TrustBundle> {
    let opened = problems.file(path, file)?;
    let read =
        read_capped(&opened, AUTHORITIES_BYTES_MAX).map_err(|error| Report(&error).to_string());
    let bundle = read
        .and_then(|pem| TrustBundle::from_pem(&pem).map_err(|error| Report(&error).to_string()));
    bundle.map_err(|error| problems.invalid(path, file, error)).ok()
}

fn url(text: &str, path: &Path, problems: &mut Problems<'_>) -> Option<Uri> {
    let url: Uri = problems.parse(path, text)?;
    let plain = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if !plain {
        problems.invalid(path, "", "needs a host, and no credential in front of it");
        return None;
    }
    Some(url)
}

fn headers(
    sources: &[TextSource],
    base: &Path,
    problems: &mut Problems<'_>,
) -> Vec<(HeaderName, TextRule)> {
    let mut headers = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let at = base.index(index);
        let name: Option<HeaderName> = problems.parse(&at.field("name"), &source.name);
        let reserved =
            |name: &HeaderName| RESERVED_HEADERS.contains(name) || *name == IDEMPOTENCY_KEY;
        if name.as_ref().is_some_and(reserved) {
            problems.add(&FieldError::forbidden(at.field("name"), "is set by the call itself"));
        }
        if let Some(value) = &source.value
            && HeaderValue::from_str(value).is_err()
        {
            problems.invalid(&at.field("value"), value, "contains control characters");
        }
        let rule = text_rule(source, &at, problems);
        headers.extend(name.zip(rule));
    }
    headers
}

fn text_rule(source: &TextSource, path: &Path, problems: &mut Problems<'_>) -> Option<TextRule> {
    match (&source.value, &source.param) {
        (Some(value), None) => Some(Source::Value(value.as_str().into())),
        (None, Some(param)) => problems.parse(&path.field("param"), param).map(Source::Param),
        // The schema said what is wrong.
        _ => None,
    }
}

fn body(members: &[BodyMember], base: &Path, problems: &mut Problems<'_>) -> Vec<BodyRule> {
    let mut rules = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let at = base.index(index);
        let to = problems.parse(&at.field("to"), &member.to);
        let source = match (&member.value, &member.param) {
            (None, Some(param)) => problems.parse(&at.field("param"), param).map(Source::Param),
            (Some(value), _) => {
                let text = serde_json::to_vec(value).ok();
                text.and_then(|text| parse(&text).ok()).map(Source::Value)
            }
            (None, None) => None,
        };
        rules.extend(to.zip(source).map(|(to, source)| BodyRule { to, source }));
    }
    rules
}
