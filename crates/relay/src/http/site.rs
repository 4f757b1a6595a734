//! Requests that a page of another site makes in a browser.
//!
//! A browser adds certificates, and passwords that it remembers, to requests of any page. What such
//! a request could change is not what its owner asked for.

use strait_net::fields::Fields;
use strait_net::fields::names::ORIGIN;

/// Says in all browsers of today whose page asks (Fetch Metadata, W3C).
const FETCH_SITE: &str = "sec-fetch-site";

/// Whether a page of another site than `authority` made the request. Programs that are no
/// browsers say nothing of pages.
#[must_use]
pub fn of_another_site(fields: &Fields, authority: &str) -> bool {
    if let Some(site) = fields.get(FETCH_SITE) {
        return !matches!(site, b"same-origin" | b"none");
    }
    let own = |origin: &[u8]| {
        let host = origin.strip_prefix(b"https://");
        host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_bytes()))
    };
    fields.all(ORIGIN).any(|origin| !own(origin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields_of;

    #[test]
    fn pages_of_other_sites_are_told_from_our_own() {
        for (fields, expected) in [
            (&[][..], false),
            (&[("origin", "https://hub.example:6443")], false),
            (&[("origin", "https://HUB.example:6443")], false),
            (&[("origin", "https://hub.example")], true),
            (&[("origin", "http://hub.example:6443")], true),
            (&[("origin", "https://evil.example")], true),
            (&[("origin", "https://hub.example:6443.evil.example")], true),
            (&[("origin", "null")], true),
            (&[("origin", "https://hub.example:6443"), ("origin", "https://evil.example")], true),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://hub.example:6443")], true),
        ] {
            let lines = fields_of(fields);
            assert_eq!(of_another_site(&lines, "hub.example:6443"), expected, "{fields:?}");
        }
    }
}
