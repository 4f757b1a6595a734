//! Answers of a service, as a client outside must see them in the path form: redirects and
//! cookies with the service's own places are about places below its public prefix.

use http::uri::Authority;
use strait_net::fields::names::{LOCATION, SET_COOKIE};
use strait_net::fields::{Fields, text};

use super::url::ServiceUrl;

/// Fields that speak for the whole host, which in the path form is the hub.
const OF_HOST: [&str; 4] =
    ["alt-svc", "clear-site-data", "service-worker-allowed", "strict-transport-security"];

/// Under what a service is seen.
#[derive(Clone, Copy, Debug)]
pub struct Public<'a> {
    /// The service's own URL.
    pub service: &'a ServiceUrl,
    /// The `Host` that the service was told.
    pub host: &'a [u8],
    /// The public path of the service, without a slash at its end.
    pub prefix: &'a str,
    /// Whether the request's path was the prefix itself: cookies without a path would then be
    /// for its neighbours too.
    pub bare: bool,
    /// Whether cookies' `Domain` is taken out, so that they are the hub's (`cookies: rewrite`).
    pub domain: bool,
}

impl Public<'_> {
    /// Rewrites what needs it.
    pub fn rewrite(&self, fields: &mut Fields) {
        fields.retain(|field| !field.is_any(&OF_HOST));
        if let Some(location) = fields.get(LOCATION).and_then(|location| self.location(location)) {
            fields.set(LOCATION, location.as_bytes());
        }
        fields.replace(SET_COOKIE, |cookie| self.cookie(cookie));
    }

    /// The public form of a place of the service's; none for any other, which passes.
    fn location(&self, value: &[u8]) -> Option<String> {
        let path = self.own_path(text(value)?)?;
        let rest = path.strip_prefix(self.service.prefix())?;
        let rest = match rest.as_bytes() {
            [] | [b'?' | b'#', ..] => format!("/{rest}"),
            [b'/', ..] => rest.to_owned(),
            _ => return None,
        };
        Some(format!("{}{rest}", self.prefix))
    }

    /// The path, with all that follows, of a reference to the service itself.
    fn own_path<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (secure, rest) = if let Some(rest) = strip_scheme(text, "https:") {
            (true, rest)
        } else if let Some(rest) = strip_scheme(text, "http:") {
            (false, rest)
        } else {
            (self.service.is_secure(), text)
        };
        match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                let own = self.service.is_at(secure, authority) || self.is_told_host(authority);
                own.then_some(path)
            }
            None => text.starts_with('/').then_some(text),
        }
    }

    /// Whether the service was told that it is called so: it may believe in another scheme.
    fn is_told_host(&self, authority: &str) -> bool {
        let parsed = authority.parse::<Authority>().is_ok();
        parsed && self.host.eq_ignore_ascii_case(authority.as_bytes())
    }

    /// A cookie whose path is below the public prefix, whatever it was: none reaches a
    /// neighbour.
    fn cookie(&self, value: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::with_capacity(value.len() + self.prefix.len());
        let mut path = None;
        for (at, part) in value.split(|byte| *byte == b';').enumerate() {
            let (name, of) = attribute(part);
            if at > 0 && name.eq_ignore_ascii_case(b"path") {
                // The last one counts (RFC 6265 §5.2.4), and one that is none is none.
                path = of.starts_with(b"/").then_some(of);
            } else if at == 0 || !self.domain || !name.eq_ignore_ascii_case(b"domain") {
                if at > 0 {
                    out.push(b';');
                }
                out.extend_from_slice(part);
            }
        }
        if path.is_some() || self.bare {
            out.extend_from_slice(b"; Path=");
            out.extend_from_slice(self.prefix.as_bytes());
            out.extend_from_slice(self.below(path.unwrap_or(b"/")));
        }
        out
    }

    /// What of a cookie's path follows the service's prefix; for a path outside it, the path.
    fn below<'t>(&self, path: &'t [u8]) -> &'t [u8] {
        match path.strip_prefix(self.service.prefix().as_bytes()) {
            Some([]) => b"/",
            Some(rest @ [b'/', ..]) => rest,
            _ => path,
        }
    }
}

/// Removes from an answer what reaches beyond a service's public path: fields that speak for the
/// whole host, and cookies for other paths. `bare`: the request's path was the prefix itself, so
/// that a cookie without a path would be for its neighbours too.
pub fn contain(fields: &mut Fields, prefix: &str, bare: bool) {
    let stays = |cookie: &[u8]| {
        let attributes = cookie.split(|byte| *byte == b';').skip(1).map(attribute);
        let paths = attributes.filter(|(name, _)| name.eq_ignore_ascii_case(b"path"));
        let path = paths.last().map(|(_, path)| path).filter(|path| path.starts_with(b"/"));
        match path.map(|path| path.strip_prefix(prefix.as_bytes())) {
            Some(below) => matches!(below, Some([] | [b'/', ..])),
            None => !bare,
        }
    };
    fields.retain(|field| !field.is_any(&OF_HOST) && (!field.is(SET_COOKIE) || stays(field.value)));
}

fn strip_scheme<'t>(text: &'t str, scheme: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    (start.eq_ignore_ascii_case(scheme) && rest.starts_with("//")).then_some(rest)
}

fn attribute(part: &[u8]) -> (&[u8], &[u8]) {
    match part.iter().position(|byte| *byte == b'=') {
        Some(at) => (part[..at].trim_ascii(), part[at + 1..].trim_ascii()),
        None => (part.trim_ascii(), b""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::testing::{all, fields_of};

    #[test]
    fn nothing_reaches_beyond_the_public_path() {
        const PREFIX: &str = "/services/relay/smith/ci";
        for (cookie, bare, stays) in [
            ("a=1; Path=/services/relay/smith/ci/", false, true),
            ("a=1; path=/services/relay/smith/ci", true, true),
            ("a=1; Path=/", false, false),
            ("a=1; Path=/services/relay/smith/cix", false, false),
            ("a=1; Path=/services/relay/smith/ci; Path=/", false, false),
            ("a=1", false, true),
            ("a=1", true, false),
            ("a=1; Path=x", true, false),
        ] {
            let mut fields = fields_of(&[(SET_COOKIE, cookie), ("clear-site-data", "*")]);
            contain(&mut fields, PREFIX, bare);
            assert_eq!(fields.has(SET_COOKIE), stays, "{cookie} {bare}");
            assert!(!fields.has("clear-site-data"));
        }
    }

    const PREFIX: &str = "/services/relay/smith/ci";

    fn rewritten(url: &str, (bare, domain): (bool, bool), name: &str, value: &str) -> String {
        let service = ServiceUrl::parse(url).unwrap();
        let host = b"hub.example";
        let public = Public { service: &service, host, prefix: PREFIX, bare, domain };
        let mut fields = fields_of(&[(name, value)]);
        public.rewrite(&mut fields);
        assert_eq!(fields.len(), 1);
        all(&fields, name)[0].to_owned()
    }

    #[test]
    fn locations_of_the_service_become_public_and_others_pass() {
        for (location, expected) in [
            ("https://ci.build:8443/ci/login?a=b#c", "/services/relay/smith/ci/login?a=b#c"),
            ("HTTPS://CI.build:8443/ci", "/services/relay/smith/ci/"),
            ("https://ci.build:8443/ci?x", "/services/relay/smith/ci/?x"),
            ("//ci.build:8443/ci/x", "/services/relay/smith/ci/x"),
            ("/ci/login", "/services/relay/smith/ci/login"),
            ("http://hub.example/ci/x", "/services/relay/smith/ci/x"),
            ("https://hub.example/ci/x", "/services/relay/smith/ci/x"),
            // Others.
            ("http://ci.build:8443/ci/x", "http://ci.build:8443/ci/x"),
            ("https://ci.build/ci/x", "https://ci.build/ci/x"),
            ("https://ci.build:8443/other", "https://ci.build:8443/other"),
            ("https://ci.build:8443/cider", "https://ci.build:8443/cider"),
            ("https://ci.build:8443@evil.example/ci/", "https://ci.build:8443@evil.example/ci/"),
            ("https://evil.example/ci/", "https://evil.example/ci/"),
            ("login", "login"),
            ("?x", "?x"),
            ("../x", "../x"),
            ("https:/ci/x", "https:/ci/x"),
            ("", ""),
        ] {
            let url = "https://ci.build:8443/ci";
            assert_eq!(
                rewritten(url, (false, false), "location", location),
                expected,
                "{location}"
            );
        }
    }

    #[test]
    fn cookies_stay_below_the_public_prefix() {
        for (bare, domain, cookie, expected) in [
            (false, false, "a=b", "a=b"),
            (true, false, "a=b; Secure", "a=b; Secure; Path=/services/relay/smith/ci/"),
            (false, false, "a=b; Path=/ci; Secure", "a=b; Secure; Path=/services/relay/smith/ci/"),
            (false, false, "a=b;path = /ci/x", "a=b; Path=/services/relay/smith/ci/x"),
            (false, false, "a=b; Path=/", "a=b; Path=/services/relay/smith/ci/"),
            (false, false, "a=b; Path=/cider", "a=b; Path=/services/relay/smith/ci/cider"),
            (false, false, "a=b; Path=", "a=b"),
            (false, false, "a=b; Path=/ci/x; Path=/ci/y", "a=b; Path=/services/relay/smith/ci/y"),
            (false, false, "path=/x; HttpOnly", "path=/x; HttpOnly"),
            (false, false, "a=b; Domain=ci.build", "a=b; Domain=ci.build"),
            (false, true, "a=b; Domain=ci.build; Secure", "a=b; Secure"),
        ] {
            let url = "https://ci.build:8443/ci";
            assert_eq!(rewritten(url, (bare, domain), "set-cookie", cookie), expected, "{cookie}");
        }
    }

    #[test]
    fn several_cookies_stay_several() {
        let service = ServiceUrl::parse("http://ci").unwrap();
        let host = service.host().as_bytes();
        let public = Public { service: &service, host, prefix: PREFIX, bare: false, domain: false };
        let mut fields = fields_of(&[(SET_COOKIE, "a=1; Path=/"), (SET_COOKIE, "b=2")]);
        public.rewrite(&mut fields);
        assert_eq!(all(&fields, SET_COOKIE), ["a=1; Path=/services/relay/smith/ci/", "b=2"]);
    }

    #[test]
    fn a_service_does_not_speak_for_the_host() {
        let service = ServiceUrl::parse("http://ci").unwrap();
        let host = service.host().as_bytes();
        let public = Public { service: &service, host, prefix: PREFIX, bare: false, domain: false };
        let mut fields = fields_of(&OF_HOST.map(|name| (name, "x")));
        public.rewrite(&mut fields);
        assert!(fields.is_empty());
    }

    proptest! {
        #[test]
        fn no_cookie_is_for_another_service(path in "[a-z/.]{0,12}", prefix in "(/[a-z]{1,3})?") {
            let cookie = format!("a=b; Path=/{path}");
            let cookie = rewritten(&format!("http://ci{prefix}"), (false, false), "set-cookie", &cookie);
            prop_assert!(cookie.contains("; Path=/services/relay/smith/ci/"), "{cookie}");
        }
    }
}
