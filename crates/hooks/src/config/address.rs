//! Where a backend is: at a URL, or behind an agent.

use std::fmt;
use std::path::PathBuf;

use http::Uri;
use http::uri::{PathAndQuery, Scheme as UriScheme};
use strait_machinery::field::FieldError;
use strait_machinery::json::Path;
use strait_types::{WorkspacePath, is_dns1123_label};

use super::check::Problems;
use super::raw;
use crate::path::climbs;

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `http` or `https`, with a host, without user, password or fragment.
    Url(Uri),
    /// A service behind an agent.
    Service(Service),
}

/// A service behind an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The agent's workspace.
    pub workspace: WorkspacePath,
    /// The agent; a DNS label.
    pub agent: Box<str>,
    /// Its service; a DNS label.
    pub service: Box<str>,
    /// What is appended to the service's URL.
    pub path: PathAndQuery,
    /// The hub of the agent; none for the one that this runs in.
    pub hub: Option<Hub>,
}

/// A hub that is reached as everybody reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// `https`, with a host and nothing behind it.
    pub url: Uri,
    /// File of a bearer token for the service.
    pub token: PathBuf,
}

impl Address {
    /// What stands before the rest of a webhook's path, with the address's own query.
    #[must_use]
    pub fn base(&self) -> PathAndQuery {
        match self {
            Self::Url(url) => url.path_and_query().cloned().unwrap_or(ROOT),
            Self::Service(service) => service.at(&service.path),
        }
    }

    /// The URL, if it is one.
    #[must_use]
    pub const fn url(&self) -> Option<&Uri> {
        match self {
            Self::Url(url) => Some(url),
            Self::Service(_) => None,
        }
    }

    /// The service, if it is one.
    #[must_use]
    pub const fn service(&self) -> Option<&Service> {
        match self {
            Self::Url(_) => None,
            Self::Service(service) => Some(service),
        }
    }
}

/// For people: without a query, which may hold a credential.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => {
                let host = url.authority().map_or("", |host| host.as_str());
                write!(f, "{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path())
            }
            Self::Service(to) => write!(f, "{}/{}/{}", to.workspace, to.agent, to.service),
        }
    }
}

const ROOT: PathAndQuery = PathAndQuery::from_static("/");

impl Service {
    /// The name of its object in the workspace.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{}.{}", self.service, self.agent)
    }

    /// A path of the service, as who carries the request to it is asked for it.
    #[must_use]
    pub fn at(&self, path: &PathAndQuery) -> PathAndQuery {
        if self.hub.is_none() {
            return path.clone();
        }
        let Self { workspace, agent, service, .. } = self;
        let whole = format!("/clusters/{workspace}/services/relay/{agent}/{service}{path}");
        whole.parse().expect("names are plain, and a path behind a path is one")
    }
}

/// Reads where a backend is.
pub(super) fn address(
    raw: &raw::Backend,
    base: &Path,
    problems: &mut Problems<'_>,
) -> Option<Address> {
    let at = |name: &str| base.field(name);
    if raw.agent.is_some() || raw.service.is_some() {
        return service(raw, base, problems).map(Address::Service);
    }
    for (name, value) in [
        ("workspace", &raw.workspace),
        ("path", &raw.path),
        ("hub", &raw.hub),
        ("tokenFile", &raw.token_file),
    ] {
        if value.is_some() {
            problems.add(FieldError::forbidden(at(name), "goes with agent and service"));
        }
    }
    let Some(text) = &raw.url else {
        problems.add(FieldError::required(at("url"), "or agent and service"));
        return None;
    };
    url(text, raw.allow_private, &at("url"), problems).map(Address::Url)
}

fn service(raw: &raw::Backend, base: &Path, problems: &mut Problems<'_>) -> Option<Service> {
    let at = |name: &str| base.field(name);
    if raw.url.is_some() {
        let why = "has no meaning with agent and service, whose URL the agent knows";
        problems.add(FieldError::forbidden(at("url"), why));
    }
    if raw.allow_private {
        let why = "has no meaning with agent and service: the agent decides what it reaches";
        problems.add(FieldError::forbidden(at("allowPrivate"), why));
    }
    let mut label = |name: &str, other: &str, value: &Option<String>| match value.as_deref() {
        Some(text) if is_dns1123_label(text) => Some(text.into()),
        Some(text) => {
            problems.invalid(&at(name), text, "must be a DNS label");
            None
        }
        None => {
            problems.add(FieldError::required(at(name), format!("goes with {other}")));
            None
        }
    };
    let agent = label("agent", "service", &raw.agent);
    let service = label("service", "agent", &raw.service);
    let workspace = match &raw.workspace {
        Some(text) => problems.noted(&at("workspace"), text, WorkspacePath::new(text)),
        None => {
            problems.add(FieldError::required(at("workspace"), "the agent's, such as root:acme"));
            None
        }
    };
    let path = raw.path.as_deref().map_or(Some(ROOT), |text| path(text, &at("path"), problems));
    let hub = hub(raw, base, problems);
    Some(Service {
        workspace: workspace?,
        agent: agent?,
        service: service?,
        path: path?,
        hub: hub?,
    })
}

fn path(text: &str, path: &Path, problems: &mut Problems<'_>) -> Option<PathAndQuery> {
    let why = if !text.starts_with('/') {
        "must begin with /"
    } else if text.contains('#') {
        "must have no fragment"
    } else if climbs(text.split('?').next().unwrap_or_default()) {
        "must not leave the service's own path"
    } else {
        return problems.parse(path, text);
    };
    problems.invalid(path, text, why);
    None
}

/// The hub to go through; none inside for the one around us.
fn hub(raw: &raw::Backend, base: &Path, problems: &mut Problems<'_>) -> Option<Option<Hub>> {
    let at = |name: &str| base.field(name);
    let Some(text) = &raw.hub else {
        if !problems.files.in_hub() {
            let why = "webhooks are taken outside of a hub here: the URL of the agent's hub";
            problems.add(FieldError::required(at("hub"), why));
        }
        if raw.token_file.is_some() {
            problems.add(FieldError::forbidden(at("tokenFile"), "goes with hub"));
        }
        let tls = &raw.tls;
        if tls.insecure
            || [&tls.ca_file, &tls.cert_file, &tls.key_file].iter().any(|file| !file.is_empty())
        {
            problems.add(FieldError::forbidden(at("tls"), "goes with hub or url"));
        }
        return Some(None);
    };
    let url = url(text, false, &at("hub"), problems);
    let bare = |url: &Uri| matches!(url.path_and_query().map_or("/", PathAndQuery::as_str), "/");
    if url.as_ref().is_some_and(|url| !bare(url)) {
        problems.invalid(&at("hub"), text, "must have no path");
    }
    let Some(file) = &raw.token_file else {
        problems.add(FieldError::required(at("tokenFile"), "goes with hub"));
        return None;
    };
    let token = problems.file(&at("tokenFile"), file);
    Some(Some(Hub { url: url?, token }))
}

/// An address to send to. A text that may hold a password is not shown.
fn url(text: &str, private: bool, path: &Path, problems: &mut Problems<'_>) -> Option<Uri> {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        let why = "must hold no user or password; headers.add can carry credentials";
        problems.add(FieldError::forbidden(path.clone(), why));
        return None;
    }
    let found = problems.parse::<Uri>(path, text)?;
    let known = [UriScheme::HTTP, UriScheme::HTTPS];
    let why = if !found.scheme().is_some_and(|scheme| known.contains(scheme)) {
        "must begin with https:// or http://"
    } else if found.host().is_none_or(str::is_empty) {
        "must have a host"
    } else if found.authority().is_some_and(|whole| {
        let rest = whole.as_str().strip_prefix(found.host().unwrap_or_default());
        rest != Some("") && whole.port_u16().is_none_or(|port| port == 0)
    }) {
        "must have a port from 1 to 65535 behind its colon"
    } else if text.contains('#') {
        "must have no fragment"
    } else if found.scheme() == Some(&UriScheme::HTTP) && !private {
        "must be https unless allowPrivate is true"
    } else {
        return Some(found);
    };
    problems.invalid(path, text, why);
    None
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Files, read};

    /// Files below `/f`, in a hub or not.
    struct Around {
        in_hub: bool,
    }

    impl Files for Around {
        fn in_hub(&self) -> bool {
            self.in_hub
        }

        fn secret(&self, _: &crate::signature::Scheme, _: &std::path::Path) -> Result<(), String> {
            Ok(())
        }

        fn readable(&self, path: &std::path::Path) -> Result<(), String> {
            if path.starts_with("/f") { Ok(()) } else { Err("cannot be read".to_owned()) }
        }
    }

    fn of(members: &str, in_hub: bool) -> Result<Config, Vec<String>> {
        let text = format!(
            "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\n\
             sources: [{{name: a, path: /a, scheme: none}}]\n\
             backends: [{{name: b, sources: [a], {members}}}]\n"
        );
        let all = |mistakes: Vec<_>| mistakes.iter().map(ToString::to_string).collect();
        read("h.yaml", &text, None, &Around { in_hub }).map_err(all)
    }

    #[test]
    fn every_mistake_about_a_service_is_told() {
        const SMITH: &str = "workspace: 'root:acme', agent: smith, service: pac";
        const HUB: &str = "hub: 'https://hub:6443', tokenFile: /f/t";
        for (rest, in_hub, whys) in [
            (SMITH, true, &[][..]),
            (&format!("{SMITH}, path: '/hooks?team=a'"), true, &[]),
            (&format!("{SMITH}, {HUB}"), true, &[]),
            (&format!("{SMITH}, {HUB}, tls: {{caFile: /f/ca}}"), false, &[]),
            (SMITH, false, &["hub: Required value: webhooks are taken outside of a hub here"]),
            ("agent: smith", true, &["service: Required", "workspace: Required"]),
            ("service: pac", true, &["agent: Required", "workspace: Required"]),
            (
                "workspace: 'acme:', agent: Smith, service: p/c",
                true,
                &["agent: Invalid", "service: Invalid", "workspace: Invalid"],
            ),
            (
                &format!("{SMITH}, url: 'https://b', allowPrivate: true"),
                true,
                &["allowPrivate: Forbidden", "url: Forbidden"],
            ),
            (&format!("{SMITH}, path: x"), true, &["must begin with /"]),
            (&format!("{SMITH}, path: '/x#y'"), true, &["no fragment"]),
            (&format!("{SMITH}, path: /x/%2e./y"), true, &["must not leave"]),
            (&format!("{SMITH}, path: '/x y'"), true, &["path: Invalid"]),
            (&format!("{SMITH}, hub: 'https://hub'"), false, &["tokenFile: Required"]),
            (&format!("{SMITH}, tokenFile: /f/t"), true, &["tokenFile: Forbidden"]),
            (&format!("{SMITH}, tls: {{insecure: true}}"), true, &["tls: Forbidden"]),
            (
                &format!("{SMITH}, hub: 'http://hub', tokenFile: /t"),
                false,
                &["hub: Invalid", "tokenFile: Invalid"],
            ),
            (&format!("{SMITH}, hub: 'https://hub/x', tokenFile: /f/t"), false, &["no path"]),
            (
                &format!("url: 'https://b', workspace: root, path: /x, {HUB}"),
                true,
                &[
                    "hub: Forbidden",
                    "path: Forbidden",
                    "tokenFile: Forbidden",
                    "workspace: Forbidden",
                ],
            ),
        ] {
            let mut found = of(rest, in_hub).err().unwrap_or_default();
            found.sort_by_key(|one| one.rsplit("backends[0]").next().map(str::to_owned));
            assert_eq!(found.len(), whys.len(), "{rest}: {found:#?}");
            for (found, why) in found.iter().zip(whys) {
                assert!(found.contains(why), "{rest}: {found}");
            }
        }
    }

    #[test]
    fn a_path_is_the_agents_or_below_the_hubs() {
        let names = "workspace: 'root:acme', agent: smith, service: pac";
        let hub = "hub: 'https://hub', tokenFile: /f/t";
        let front = "/clusters/root:acme/services/relay/smith/pac";
        for (rest, base) in [
            (names.to_owned(), "/".to_owned()),
            (format!("{names}, path: '/in?team=a'"), "/in?team=a".to_owned()),
            (format!("{names}, {hub}"), format!("{front}/")),
            (format!("{names}, path: '/in?team=a', {hub}"), format!("{front}/in?team=a")),
        ] {
            let config = of(&rest, true).unwrap();
            assert_eq!(config.backends[0].address.base().as_str(), base);
        }
    }
}
