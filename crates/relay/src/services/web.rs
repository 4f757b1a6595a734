//! What is particular to services that speak HTTP.

use http::{HeaderName, HeaderValue, Method};
use strait_machinery::field::FieldError;
use strait_machinery::json::Path;
use strait_net::fields::Fields;

use super::problems::Problems;
use super::{Credentials, HttpTarget, Protocol, ServiceType, Trust, raw};
use crate::http::fields::{HostRule, remove_connection, remove_identity};
use crate::http::pattern::Pattern;
use crate::http::rules::Rules;
use crate::http::target::check_method;
use crate::http::url::ServiceUrl;

pub(super) fn target(
    path: &Path,
    raw: &raw::Service,
    kind: &ServiceType,
    problems: &mut Problems<'_>,
) -> Option<HttpTarget> {
    if raw.address.is_some() {
        problems.forbidden(path.field("address"), "only a service of type tcp has one");
    }
    let url = url(path, raw, problems);
    let protocol = protocol(path, raw, url.as_ref(), problems);
    let credentials = credentials(&path.field("credentials"), raw, kind, problems);
    let rules = rules(&path.field("allow"), &raw.allow, problems);
    let host = match &*raw.host {
        "service" => Some(HostRule::Service),
        "client" => Some(HostRule::Client),
        name => {
            let is_one = name.parse::<http::uri::Authority>().is_ok() && !name.contains('@');
            let value = HeaderValue::from_str(name).ok().filter(|_| is_one);
            let made = value.ok_or("must be service, client, or a host name");
            problems.made(&path.field("host"), name, made).map(HostRule::Literal)
        }
    };
    let passes_authorization = raw.client_authorization == "pass";
    if passes_authorization && credentials.as_ref().is_some_and(|own| *own != Credentials::None) {
        let why = "the service has credentials of the agent's";
        problems.forbidden(path.field("clientAuthorization"), why);
    }
    let trust = raw.tls.as_ref().map(|tls| trust(&path.field("tls"), tls, problems));
    if raw.tls.as_ref().is_some_and(|tls| tls.starttls.is_some()) {
        let path = path.field("tls").field("starttls");
        problems.forbidden(path, "only a service of type tcp has one");
    }
    let is_secure = url.as_ref().is_none_or(ServiceUrl::is_secure);
    if trust.is_some() && !is_secure {
        problems.forbidden(path.field("tls"), "the URL is not https");
    }
    if matches!(credentials, Some(Credentials::ClientCertificate { .. })) && !is_secure {
        let path = path.field("credentials").field("clientCertificate");
        problems.forbidden(path, "the URL is not https");
    }
    Some(HttpTarget {
        url: url?,
        protocol: protocol?,
        trust: trust.unwrap_or_default(),
        credentials: credentials?,
        rules: rules?,
        host: host?,
        upgrade: raw.upgrade,
        passes_authorization,
        rewrites_domain: raw.cookies == "rewrite",
        retries_safe: raw.retry == "safe",
    })
}

fn url(path: &Path, raw: &raw::Service, problems: &mut Problems<'_>) -> Option<ServiceUrl> {
    let path = path.field("url");
    let Some(text) = &raw.url else {
        problems.add(FieldError::required(path, ""));
        return None;
    };
    // The text could hold a password.
    let shown = if text.contains('@') { "…" } else { text };
    problems.made(&path, shown, ServiceUrl::parse(text))
}

fn protocol(
    path: &Path,
    raw: &raw::Service,
    url: Option<&ServiceUrl>,
    problems: &mut Problems<'_>,
) -> Option<Protocol> {
    let protocol = match &*raw.protocol {
        "auto" => Protocol::Auto,
        "http1" => Protocol::Http1,
        "http2" => Protocol::Http2,
        "h2c" => Protocol::H2c,
        // The schema told.
        _ => return None,
    };
    let path = path.field("protocol");
    match (protocol, url.map(ServiceUrl::is_secure)) {
        (Protocol::Http2, Some(false)) => {
            problems.invalid(&path, &raw.protocol, "needs an https URL; without TLS it is h2c");
        }
        (Protocol::H2c, Some(true)) => {
            problems.invalid(&path, &raw.protocol, "needs an http URL; with TLS it is http2");
        }
        (Protocol::Http2 | Protocol::H2c, _) if raw.upgrade => {
            problems.invalid(&path, &raw.protocol, "connections upgrade by http1 alone");
        }
        _ => {}
    }
    Some(protocol)
}

pub(super) fn trust(path: &Path, raw: &raw::Tls, problems: &mut Problems<'_>) -> Trust {
    if raw.insecure && !problems.allow_insecure {
        let why = "the agent was not started with --allow-insecure";
        problems.forbidden(path.field("insecure"), why);
    }
    let ca_file =
        (!raw.ca_file.is_empty()).then(|| problems.file(&path.field("caFile"), &raw.ca_file));
    if raw.insecure && ca_file.is_some() {
        problems.forbidden(path.field("caFile"), "nothing is checked where insecure is set");
    }
    let server_name = Some(&raw.server_name).filter(|name| !name.is_empty()).cloned();
    if let Some(name) = &server_name {
        let made = rustls::pki_types::ServerName::try_from(&**name);
        problems.made(&path.field("serverName"), name, made);
    }
    Trust { ca_file, server_name, only_1_3: raw.min_version == "1.3", insecure: raw.insecure }
}

fn credentials(
    path: &Path,
    raw: &raw::Service,
    kind: &ServiceType,
    problems: &mut Problems<'_>,
) -> Option<Credentials> {
    let raw = &raw.credentials;
    let at = |kind: &str, file: &str| path.field(kind).field(file);
    let (name, found) = if let Some(basic) = &raw.basic {
        let user = problems.secret(&at("basic", "userFile"), &basic.user_file);
        let password = problems.secret(&at("basic", "passwordFile"), &basic.password_file);
        ("basic", Credentials::Basic { user, password })
    } else if let Some(bearer) = &raw.bearer {
        let file = problems.secret(&at("bearer", "tokenFile"), &bearer.token_file);
        ("bearer", Credentials::Bearer(file))
    } else if let Some(token) = &raw.token {
        let file = problems.secret(&at("token", "tokenFile"), &token.token_file);
        ("token", Credentials::Token(file))
    } else if let Some(field) = &raw.header {
        let value = problems.secret(&at("header", "valueFile"), &field.value_file);
        let name = field_name(&at("header", "name"), &field.name, problems)?;
        ("header", Credentials::Field { name, value })
    } else if let Some(certificate) = &raw.client_certificate {
        let at = |file| at("clientCertificate", file);
        let chain = problems.file(&at("certFile"), &certificate.cert_file);
        let key = problems.secret(&at("keyFile"), &certificate.key_file);
        ("clientCertificate", Credentials::ClientCertificate { chain, key })
    } else {
        return Some(Credentials::None);
    };
    let taken: &[&str] = match kind {
        ServiceType::Argocd => &["bearer"],
        ServiceType::Jenkins => &["basic", "bearer"],
        _ => return Some(found),
    };
    if !taken.contains(&name) {
        let why = format!("a service of type {} takes {}", kind.as_str(), taken.join(" or "));
        problems.forbidden(path.field(name), why);
        return None;
    }
    Some(found)
}

/// The name of a field that can carry a credential: none that is removed or set on the way.
fn field_name(path: &Path, text: &str, problems: &mut Problems<'_>) -> Option<HeaderName> {
    let name = problems.made(path, text, HeaderName::from_bytes(text.as_bytes()))?;
    let mut fields = Fields::new();
    fields.set(name.as_str(), b"x");
    remove_connection(&mut fields);
    remove_identity(&mut fields);
    let framing = [http::header::HOST, http::header::CONTENT_LENGTH, http::header::EXPECT];
    if fields.is_empty() || framing.contains(&name) {
        problems.invalid(path, text, "is a field that the relay itself sets or removes");
        return None;
    }
    Some(name)
}

fn rules(path: &Path, raw: &raw::Allow, problems: &mut Problems<'_>) -> Option<Rules> {
    let mut methods = Vec::new();
    for (at, text) in raw.methods.iter().enumerate() {
        let method = Method::from_bytes(text.as_bytes()).ok();
        let method = method.filter(|method| check_method(method).is_ok());
        let upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
        let made = method.filter(|_| upper).ok_or("is no method that crosses");
        methods.extend(problems.made(&path.field("methods").index(at), text, made));
    }
    let mut patterns = |name: &str, texts: &[String]| {
        let mut all = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let path = path.field(name).index(at);
            all.extend(problems.made(&path, text, Pattern::parse(text)));
        }
        all
    };
    let paths = patterns("paths", &raw.paths);
    let deny_paths = patterns("denyPaths", &raw.deny_paths);
    // A list that lost its elements would allow everything.
    let whole = methods.len() == raw.methods.len() && paths.len() == raw.paths.len();
    whole.then_some(Rules { methods, paths, deny_paths })
}
