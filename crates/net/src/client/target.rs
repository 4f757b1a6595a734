//! Where a call goes.

use std::net::IpAddr;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;

use crate::body::BoxError;
use crate::client::CallError;

/// Where a call goes, taken from its URL.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Set for `https`.
    pub(crate) tls_name: Option<ServerName<'static>>,
}

impl Target {
    pub(crate) fn of(url: &Uri, has_tls: bool) -> Result<Self, CallError> {
        let wrong = |why| CallError::Url { url: without_userinfo(url), why };
        let secure = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(wrong("it is neither http nor https")),
        };
        if secure && !has_tls {
            return Err(wrong("no certificates are trusted here"));
        }
        let authority = url.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it has a user or password"));
        }
        let host = authority.host();
        // An IPv6 address stands in brackets.
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let tls_name = match (secure, host.parse::<IpAddr>()) {
            (false, _) => None,
            (true, Ok(address)) => Some(ServerName::from(address)),
            (true, Err(_)) => {
                let name = ServerName::try_from(host.to_owned());
                Some(name.map_err(|_| wrong("its host is not a name"))?)
            }
        };
        Ok(Self {
            host: host.to_owned(),
            port: url.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            tls_name,
        })
    }

    /// For texts.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The value of `Host`.
    pub(crate) fn host_header(url: &Uri) -> Result<HeaderValue, CallError> {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let malformed =
            |_| CallError::Url { url: without_userinfo(url), why: "its host is malformed" };
        HeaderValue::try_from(authority).map_err(malformed)
    }

    pub(crate) fn connect_failed(&self, source: impl Into<BoxError>) -> CallError {
        CallError::Connect { host: self.authority(), source: source.into() }
    }

    pub(crate) fn no_answer(&self, source: impl Into<BoxError>) -> CallError {
        CallError::NoAnswer { host: self.authority(), source: source.into() }
    }
}

pub(super) fn without_userinfo(url: &Uri) -> String {
    let text = url.to_string();
    let Some((before, after)) = text.split_once('@') else {
        return text;
    };
    let scheme = before.split_once("//").map_or("", |(scheme, _)| scheme);
    format!("{scheme}//…@{after}")
}
