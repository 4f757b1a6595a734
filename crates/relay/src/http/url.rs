//! A service's URL, as its operator wrote it, and the URL of each request.

use std::fmt;
use std::path::{Path, PathBuf};

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::BadHead;
use super::target::Target;

/// What a unix socket is told that it is called.
const SOCKET_HOST: &str = "localhost";

/// A URL that services cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It is none.
    #[error("must be a URL such as https://host:8443/prefix or unix:///run/service.sock")]
    Malformed,
    /// It holds a password.
    #[error("must have no user or password: name credentials by their files")]
    UserInfo,
    /// Requests have queries of their own.
    #[error("must have no query and no fragment")]
    Query,
    /// Its path is not one that requests can be below.
    #[error("must have a path without dot segments")]
    Path,
}

/// Where a service is: scheme, authority and the prefix of its paths.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end; empty for none.
    prefix: String,
    socket: Option<PathBuf>,
}

impl ServiceUrl {
    /// Reads an `http`, `https` or `unix` URL. What follows a unix URL's scheme is the socket's
    /// absolute path as it stands.
    ///
    /// # Errors
    /// See [`InvalidUrl`].
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if text.contains(['?', '#']) {
            return Err(InvalidUrl::Query);
        }
        if let Some(path) = text.strip_prefix("unix://") {
            return Self::unix(path);
        }
        let url: Uri = text.parse().map_err(|_| InvalidUrl::Malformed)?;
        let scheme = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => scheme.clone(),
            _ => return Err(InvalidUrl::Malformed),
        };
        let authority = url.authority().ok_or(InvalidUrl::Malformed)?.clone();
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::UserInfo);
        }
        if authority.host().is_empty() || port_of(&authority, scheme == Scheme::HTTPS).is_none() {
            return Err(InvalidUrl::Malformed);
        }
        let path = Target::parse(url.path()).map_err(|_| InvalidUrl::Path)?.path();
        let prefix = path.trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, prefix, socket: None })
    }

    fn unix(path: &str) -> Result<Self, InvalidUrl> {
        if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
            return Err(InvalidUrl::Malformed);
        }
        Ok(Self {
            scheme: Scheme::HTTP,
            authority: Authority::from_static(SOCKET_HOST),
            prefix: String::new(),
            socket: Some(path.into()),
        })
    }

    /// Whether the service is spoken to over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The socket, for a service that has one.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Host and port to connect to.
    #[must_use]
    pub fn endpoint(&self) -> (&str, u16) {
        let host = self.authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // The port was read when the URL was.
        (bare.unwrap_or(host), port_of(&self.authority, self.is_secure()).unwrap_or_default())
    }

    /// What the service is called, by its URL.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.as_str()
    }

    /// The prefix of all paths; empty, or with a slash at its beginning and none at its end.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The URL of a request: this one's scheme and authority, its prefix and the target's path.
    ///
    /// # Errors
    /// The target holds a byte that no path can, which the parser of heads lets pass.
    pub fn uri(&self, target: &Target<'_>) -> Result<Uri, BadHead> {
        let mut text = [&self.prefix, target.path()].concat();
        if let Some(query) = target.query() {
            text.push('?');
            text.push_str(query);
        }
        // Read as a path, it can become nothing else.
        let text = PathAndQuery::try_from(text);
        let text = text.map_err(|_| BadHead::TargetByte("a byte that is no part of a path"))?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(text);
        Uri::from_parts(parts).map_err(|_| BadHead::TargetForm("a part of a URL"))
    }

    /// Whether an authority, under a scheme, is this service.
    pub(super) fn is_at(&self, secure: bool, authority: &str) -> bool {
        let Ok(other) = authority.parse::<Authority>() else { return false };
        self.is_secure() == secure
            && !authority.contains('@')
            && other.host().eq_ignore_ascii_case(self.authority.host())
            && port_of(&other, secure) == Some(self.endpoint().1)
    }
}

/// The port of an authority, or its scheme's; none for what is no port.
fn port_of(authority: &Authority, secure: bool) -> Option<u16> {
    let named = authority.as_str().len() > authority.host().len();
    let port = if secure { 443 } else { 80 };
    if named { authority.port_u16().filter(|port| *port > 0) } else { Some(port) }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(socket) => write!(f, "unix://{}", socket.display()),
            None => write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_of_services() {
        for (text, shown, endpoint) in [
            ("https://ci.build:8443/ci/", "https://ci.build:8443/ci", ("ci.build", 8443)),
            ("http://argo", "http://argo", ("argo", 80)),
            ("https://[fd00::1]", "https://[fd00::1]", ("fd00::1", 443)),
            ("HTTP://10.0.0.1:1/a/b", "http://10.0.0.1:1/a/b", ("10.0.0.1", 1)),
            ("unix:///run/my.sock", "unix:///run/my.sock", ("localhost", 80)),
        ] {
            let url = ServiceUrl::parse(text).unwrap();
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(url.endpoint(), endpoint);
        }
        for (text, error) in [
            ("", InvalidUrl::Malformed),
            ("ci:8443", InvalidUrl::Malformed),
            ("ftp://ci/", InvalidUrl::Malformed),
            ("https://", InvalidUrl::Malformed),
            ("https://ci:/", InvalidUrl::Malformed),
            ("https://ci:99999/", InvalidUrl::Malformed),
            ("https://ci:0/", InvalidUrl::Malformed),
            ("/ci", InvalidUrl::Malformed),
            ("unix://run/x", InvalidUrl::Malformed),
            ("unix:///", InvalidUrl::Malformed),
            ("https://user:pass@ci/", InvalidUrl::UserInfo),
            ("https://ci/?x", InvalidUrl::Query),
            ("https://ci/#x", InvalidUrl::Query),
            ("https://ci/a/../b", InvalidUrl::Path),
        ] {
            assert_eq!(ServiceUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn w4_targets_go_below_the_url_and_nowhere_else() {
        for (url, target, expected) in [
            ("https://ci:8443/ci", "/job/x?y=1", "https://ci:8443/ci/job/x?y=1"),
            ("https://ci", "/", "https://ci/"),
            ("https://ci", "//evil.example/x", "https://ci//evil.example/x"),
            ("https://ci", "/@evil.example", "https://ci/@evil.example"),
            ("https://ci", "/:443@evil.example", "https://ci/:443@evil.example"),
            ("unix:///run/x", "/a", "http://localhost/a"),
        ] {
            let url = ServiceUrl::parse(url).unwrap();
            assert_eq!(url.uri(&Target::parse(target).unwrap()).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn authorities_are_compared_as_servers_are() {
        let url = ServiceUrl::parse("https://CI.build/").unwrap();
        for (secure, authority, same) in [
            (true, "ci.build", true),
            (true, "ci.BUILD:443", true),
            (false, "ci.build", false),
            (true, "ci.build:8443", false),
            (true, "ci.build:99999", false),
            (true, "x@ci.build", false),
            (true, "", false),
        ] {
            assert_eq!(url.is_at(secure, authority), same, "{authority}");
        }
    }

    proptest! {
        /// Whatever a client asks for, scheme, authority and prefix are the configuration's.
        /// Row 41: CVE-2022-3294.
        #[test]
        fn scheme_and_authority_are_always_the_configurations(
            text in "[/@:?%a-c.\\\\\\[\\]|\"{}~é=&;*+-]{0,40}",
            prefix in "(/[a-z]{1,4}){0,2}",
        ) {
            for base in ["https://ci.build:8443", "http://argo", "https://[fd00::1]"] {
                let url = ServiceUrl::parse(&format!("{base}{prefix}")).unwrap();
                let text = format!("/{text}");
                let Ok(target) = Target::parse(&text) else { continue };
                let Ok(uri) = url.uri(&target) else { continue };
                let base: Uri = base.parse().unwrap();
                prop_assert_eq!(uri.scheme(), base.scheme());
                prop_assert_eq!(uri.authority(), base.authority());
                prop_assert_eq!(uri.path(), format!("{prefix}{}", target.path()));
                prop_assert_eq!(uri.query(), target.query());
                // What is written is read back the same.
                let again: Uri = uri.to_string().parse().unwrap();
                prop_assert_eq!(again.authority(), base.authority());
            }
        }
    }
}
