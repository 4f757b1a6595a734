//! Fields that end at this hop, fields that only we may write, and the ones that we do.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{
    CONNECTION, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use strait_net::http1::FIELDS_MAX;
use strait_types::push_ip;

use super::BadHead;

/// Longest name of a field, bytes.
pub const NAME_MAX: usize = 128;
/// Most bytes of a client's fields, names and values together.
pub const BYTES_MAX: usize = 40 << 10;

/// Room for the fields that most heads have, with ours.
pub const FEW: usize = 12;

/// The request's own identifier, the same everywhere.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Why we answered in the service's place.
pub const ERROR: HeaderName = HeaderName::from_static("x-strait-error");
/// What of a refusal is for administrators alone.
pub const DETAIL: HeaderName = HeaderName::from_static("x-strait-detail");
/// What we add to a service's own answer.
pub const HINT: HeaderName = HeaderName::from_static("x-strait-hint");
/// The agent's name, for the services that know it.
const AGENT_NAME: HeaderName = HeaderName::from_static("x-opsmx-agent-name");
/// Who asks, as Kubernetes' authenticating proxies say it.
const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
const REMOTE_GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Ends with its connection, whatever `Connection` says (RFC 9110 §7.6.1).
static OF_CONNECTION: [HeaderName; 8] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TRANSFER_ENCODING,
    TE,
    UPGRADE,
    HTTP2_SETTINGS,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
];

/// Options of a connection that need not be looked for: they are among those.
const OPTIONS: [&str; 3] = ["keep-alive", "upgrade", "te"];

/// Says who asks, or is said by us: beginnings of normal names.
const IDENTITY_PREFIXES: [&str; 5] =
    ["impersonate-", "x-remote-", "x-forwarded", "x-client-cert", "x-strait-"];

/// The same, whole names.
const IDENTITY: [&str; 6] = [
    "forwarded",
    "x-real-ip",
    "x-opsmx-token",
    "x-request-id",
    "x-opsmx-agent-name",
    "x-cluster-client-ip",
];

/// By what a request asks to be taken for another: beginnings of normal names.
const OVERRIDES: [&str; 4] = ["x-http-method", "x-method-override", "x-original-", "x-rewrite-"];

/// What the fields of a connection said that matters beyond it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Whether trailers are understood (`TE: trailers`).
    pub trailers: bool,
    /// The protocols of `Upgrade`, if `Connection` names it; as written.
    pub upgrade: Option<HeaderValue>,
}

/// Checks the size of a head.
///
/// # Errors
/// Too many fields, too long a name, too many bytes.
pub fn check_size(fields: &HeaderMap) -> Result<(), BadHead> {
    if fields.len() > FIELDS_MAX {
        return Err(BadHead::HeadSize("256 fields"));
    }
    if fields.keys().any(|name| name.as_str().len() > NAME_MAX) {
        return Err(BadHead::HeadSize("128 bytes in a field's name"));
    }
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    if fields.iter().map(bytes).sum::<usize>() > BYTES_MAX {
        return Err(BadHead::HeadSize("40 KiB of fields"));
    }
    Ok(())
}

/// Removes what belongs to one connection: `Connection`, every field that it names, and those
/// that end with it in any case. Comes first, in every direction and on both sides.
pub fn remove_connection(fields: &mut HeaderMap) -> Connection {
    let ends = |name: &&HeaderName| **name == CONNECTION || OF_CONNECTION.contains(name);
    let found: Vec<HeaderName> = fields.keys().filter(ends).cloned().collect();
    if found.is_empty() {
        return Connection::default();
    }
    let mut is_named = false;
    let mut named = Vec::new();
    for token in tokens(fields, &CONNECTION) {
        is_named |= token.eq_ignore_ascii_case(UPGRADE.as_str());
        // Most name what ends in any case.
        if !OPTIONS.iter().any(|option| token.eq_ignore_ascii_case(option)) {
            named.extend(token.parse::<HeaderName>());
        }
    }
    let trailers = found.contains(&TE)
        && tokens(fields, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    let mut upgrades = is_named.then(|| fields.get_all(UPGRADE).iter()).into_iter().flatten();
    let upgrade = match (upgrades.next(), upgrades.next()) {
        (Some(one), None) => Some(one.clone()),
        _ => None,
    };
    for name in found.into_iter().chain(named) {
        fields.remove(name);
    }
    Connection { trailers, upgrade }
}

/// The elements of a list field that are text, without blanks.
fn tokens<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = fields.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// Removes what only the hub may say of who asks, in any spelling that a service could take for
/// it: gateways turn every character but letters and digits into one. Whether there was any.
pub fn remove_identity(fields: &mut HeaderMap) -> bool {
    remove_alike(fields, b"fix", |name| {
        IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || IDENTITY.contains(&name)
    })
}

/// Removes from an answer what only we may say.
pub fn remove_claims(fields: &mut HeaderMap) {
    remove_alike(fields, b"x", |name| name.starts_with("x-strait-") || name == REQUEST_ID.as_str());
}

/// Removes the fields by which a request asks to be taken for one of another method or path.
/// Where a service's rules look at either, they decide about what is executed.
pub fn remove_overrides(fields: &mut HeaderMap) {
    remove_alike(fields, b"x", |name| OVERRIDES.iter().any(|prefix| name.starts_with(prefix)));
}

/// Removes what is meant, and says whether there was any. That is seldom so, and to look costs
/// less than to try each.
pub(super) fn remove(fields: &mut HeaderMap, is_meant: impl Fn(&HeaderName) -> bool) -> bool {
    let meant: Vec<HeaderName> = fields.keys().filter(|name| is_meant(name)).cloned().collect();
    for name in &meant {
        fields.remove(name);
    }
    !meant.is_empty()
}

/// The same by names as the least careful gateway could see them. `first`: all that they can begin
/// with, which no gateway turns into anything else.
fn remove_alike(fields: &mut HeaderMap, first: &[u8], is_meant: impl Fn(&str) -> bool) -> bool {
    remove(fields, |name| {
        let name = name.as_str();
        name.as_bytes().first().is_some_and(|own| first.contains(own)) && is_meant(&normal(name))
    })
}

/// A name, which has no upper case, as the least careful gateway could see it.
fn normal(name: &str) -> Cow<'_, str> {
    let is_normal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.bytes().all(is_normal) {
        return Cow::Borrowed(name);
    }
    let one = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(one).collect()
}

/// Takes `Expect` out; true where it was `100-continue`.
///
/// # Errors
/// Any other expectation (RFC 9110 §10.1.1).
pub fn take_expect(fields: &mut HeaderMap) -> Result<bool, BadHead> {
    let mut found = fields.get_all(EXPECT).iter();
    match (found.next(), found.next()) {
        (None, _) => return Ok(false),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => {}
        _ => return Err(BadHead::Expectation),
    }
    fields.remove(EXPECT);
    Ok(true)
}

/// What we say of a request to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added<'a> {
    /// The address that the hub saw.
    pub client: IpAddr,
    /// What of `X-Forwarded-For` is believed, as the hub says it
    /// ([`Origin`](super::proxies::Origin)).
    pub before: Option<HeaderValue>,
    /// The authority that the client asked.
    pub authority: &'a str,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// The request's identifier.
    pub request_id: &'a str,
    /// The agent, for services that want its name.
    pub agent: Option<&'a str>,
    /// The agent that asks and its groups, for the hub's own services.
    pub caller: Option<(&'a str, &'a [Arc<str>])>,
}

impl Added<'_> {
    /// Adds it. Comes after every removal.
    pub fn add(&self, fields: &mut HeaderMap) {
        let before = self.before.as_ref().and_then(|value| value.to_str().ok());
        let mut path = String::with_capacity(48);
        if let Some(before) = before.filter(|before| !before.is_empty()) {
            path.push_str(before);
            path.push_str(", ");
        }
        push_ip(&mut path, self.client.to_canonical());
        insert(fields, FORWARDED_FOR, path.as_bytes());
        insert(fields, FORWARDED_HOST, self.authority.as_bytes());
        let scheme = if self.secure { "https" } else { "http" };
        fields.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
        insert(fields, REQUEST_ID, self.request_id.as_bytes());
        if let Some(agent) = self.agent {
            insert(fields, AGENT_NAME, agent.as_bytes());
        }
        if let Some((user, groups)) = self.caller {
            insert(fields, REMOTE_USER, user.as_bytes());
            for group in groups.iter().filter_map(|group| HeaderValue::from_str(group).ok()) {
                fields.append(REMOTE_GROUP, group);
            }
        }
    }
}

/// Sets a field; leaves it away where the value cannot be one, which checked values are not.
fn insert(fields: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    match HeaderValue::from_bytes(value) {
        Ok(value) => fields.insert(name, value),
        Err(_) => fields.remove(name),
    };
}

/// What a service is told it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostRule {
    /// What its URL says.
    #[default]
    Service,
    /// What the client asked for.
    Client,
    /// This.
    Literal(HeaderValue),
}

impl HostRule {
    /// Sets `Host`, which HTTP/2 sends as `:authority`: there is one source for both.
    pub fn apply(&self, fields: &mut HeaderMap, service: &HeaderValue, client: &HeaderValue) {
        let host = match self {
            Self::Service => service,
            Self::Client => client,
            Self::Literal(host) => host,
        };
        fields.insert(HOST, host.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        fields
    }

    fn names(fields: &HeaderMap) -> Vec<&str> {
        fields.keys().map(HeaderName::as_str).collect()
    }

    fn added() -> Added<'static> {
        Added {
            client: "192.0.2.7".parse().unwrap(),
            before: None,
            authority: "hub.example",
            secure: true,
            request_id: "r1",
            agent: Some("smith"),
            caller: None,
        }
    }

    #[test]
    fn what_belongs_to_a_connection_ends_with_it() {
        let mut head = fields(&[
            ("Connection", "close, X-Mine,"),
            ("connection", "Upgrade"),
            ("X-Mine", "1"),
            ("X-Mine", "2"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Transfer-Encoding", "chunked"),
            ("TE", "gzip, Trailers"),
            ("Upgrade", "websocket"),
            ("HTTP2-Settings", "AAMAAABk"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Authorization", "Basic eDp5"),
            ("Accept", "*/*"),
        ]);
        let said = remove_connection(&mut head);
        assert_eq!(names(&head), ["accept"]);
        assert!(said.trailers);
        assert_eq!(said.upgrade.unwrap(), "websocket");
    }

    /// As many names as a head can hold are looked up one by one, not each field among them.
    #[test]
    fn a_connection_may_name_as_much_as_fits() {
        let mut head = fields(&[("X-Mine", "1"), ("Accept", "*/*")]);
        let many = "a,".repeat(BYTES_MAX / 2 - 100) + "x-mine";
        head.insert(CONNECTION, many.parse().unwrap());
        remove_connection(&mut head);
        assert_eq!(names(&head), ["accept"]);
    }

    #[test]
    fn an_upgrade_counts_once_and_where_the_connection_names_it() {
        for (lines, upgrade) in [
            (&[("Upgrade", "websocket")][..], None),
            (&[("Upgrade", "a"), ("Upgrade", "b"), ("Connection", "upgrade")], None),
            (&[("Upgrade", "a"), ("Connection", "x, UPGRADE")], Some("a")),
        ] {
            let said = remove_connection(&mut fields(lines));
            assert_eq!(said.upgrade.as_ref().map(|value| value.to_str().unwrap()), upgrade);
        }
    }

    /// Row 41: none of the fields by which somebody is impersonated is forgotten.
    #[test]
    fn w15_fields_that_speak_of_identity_are_removed_in_every_spelling() {
        for name in [
            "Impersonate-User",
            "impersonate_group",
            "IMPERSONATE-EXTRA-scopes",
            "X-Remote-User",
            "x_remote_group",
            "X-Forwarded-For",
            "X_Forwarded_Host",
            "x.forwarded.proto",
            "X-Forwarded",
            "Forwarded",
            "X-Real-IP",
            "X_Real_IP",
            "X-Client-Cert",
            "X-Client-Certificate-Subject",
            "X-Strait-Error",
            "X-Strait-Id-Token",
            "x~strait~user",
            "X-Opsmx-Token",
            "x_opsmx_token",
            "X-Request-Id",
            "x_request_id",
            "x-opsmx-agent-name",
            "X_Opsmx-Agent_Name",
        ] {
            let mut head = fields(&[(name, "1"), (name, "2"), ("Accept", "*/*")]);
            remove_identity(&mut head);
            assert_eq!(names(&head), ["accept"], "{name}");
        }
        let mut head = fields(&[("X-Requested-With", "x"), ("Forward", "y"), ("Remote-User", "z")]);
        remove_identity(&mut head);
        assert_eq!(head.len(), 3);
    }

    #[test]
    fn names_are_looked_at_by_what_they_can_begin_with() {
        for name in IDENTITY_PREFIXES.iter().chain(&IDENTITY) {
            assert!(b"fix".contains(&name.as_bytes()[0]), "{name}");
        }
        for name in OVERRIDES.iter().chain(&[REQUEST_ID.as_str()]) {
            assert!(name.starts_with('x'), "{name}");
        }
        for option in OPTIONS {
            assert!(OF_CONNECTION.iter().any(|name| name == option), "{option}");
        }
    }

    /// Row 41: CVE-2021-31999.
    #[test]
    fn a_connection_field_takes_none_of_ours_away() {
        let mut head = fields(&[("Connection", "X-Forwarded-For, X-Request-Id, Host")]);
        remove_connection(&mut head);
        remove_identity(&mut head);
        added().add(&mut head);
        assert_eq!(head["x-forwarded-for"], "192.0.2.7");
        assert_eq!(head["x-forwarded-host"], "hub.example");
        assert_eq!(head["x-forwarded-proto"], "https");
        assert_eq!(head["x-request-id"], "r1");
        assert_eq!(head["x-opsmx-agent-name"], "smith");
    }

    #[test]
    fn a_trusted_proxys_chain_is_continued() {
        let before = Some(HeaderValue::from_static("10.0.0.1, 10.0.0.2"));
        let mut head = HeaderMap::new();
        Added { before, agent: None, secure: false, ..added() }.add(&mut head);
        assert_eq!(head["x-forwarded-for"], "10.0.0.1, 10.0.0.2, 192.0.2.7");
        assert_eq!(head["x-forwarded-proto"], "http");
        assert!(!head.contains_key("x-opsmx-agent-name"));
    }

    #[test]
    fn answers_claim_nothing_of_ours_and_requests_override_no_rule() {
        let mut head = fields(&[("X-Strait-Error", "x"), ("x_strait_hint", "y"), ("Age", "1")]);
        remove_claims(&mut head);
        assert_eq!(names(&head), ["age"]);
        let mut head = fields(&[
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-Method-Override", "DELETE"),
            ("X_HTTP_Method", "DELETE"),
            ("X-Original-URL", "/admin"),
            ("X-Rewrite-URL", "/admin"),
            ("Accept", "*/*"),
        ]);
        remove_overrides(&mut head);
        assert_eq!(names(&head), ["accept"]);
    }

    #[test]
    fn expectations_are_100_continue_or_refused() {
        for (lines, expected) in [
            (&[][..], Ok(false)),
            (&[("Expect", "100-Continue")], Ok(true)),
            (&[("Expect", "200-ok")], Err(BadHead::Expectation)),
            (&[("Expect", "100-continue"), ("Expect", "x")], Err(BadHead::Expectation)),
        ] {
            assert_eq!(take_expect(&mut fields(lines)), expected);
        }
    }

    #[test]
    fn heads_are_bounded() {
        let many = |count: usize| -> HeaderMap {
            (0..count).map(|n| (format!("f{n}").parse().unwrap(), "v".parse().unwrap())).collect()
        };
        assert_eq!(check_size(&many(FIELDS_MAX)), Ok(()));
        assert!(check_size(&many(FIELDS_MAX + 1)).is_err());
        assert!(check_size(&fields(&[(&"n".repeat(NAME_MAX + 1), "v")])).is_err());
        assert!(check_size(&fields(&[("n", &"v".repeat(BYTES_MAX))])).is_err());
    }

    #[test]
    fn the_host_has_one_source() {
        let (service, client) =
            (HeaderValue::from_static("ci.build:8443"), HeaderValue::from_static("hub.example"));
        for (rule, expected) in [
            (HostRule::Service, "ci.build:8443"),
            (HostRule::Client, "hub.example"),
            (HostRule::Literal(HeaderValue::from_static("ci.example")), "ci.example"),
        ] {
            let mut head = fields(&[("Host", "evil.example"), ("Host", "worse.example")]);
            rule.apply(&mut head, &service, &client);
            let hosts: Vec<_> = head.get_all("host").iter().collect();
            assert_eq!(hosts, [expected]);
        }
    }

    proptest! {
        /// After the removals, nothing that the client sent has one of our names, however a
        /// gateway reads it, and what we add is there as we wrote it.
        #[test]
        fn no_field_of_a_client_looks_like_one_of_ours(
            lines in prop::collection::vec(
                ("[xX]?[-_.~]?(forwarded|real|remote|strait|request|impersonate|opsmx|client|accept)[-_.~]?(for|id|ip|user|cert|token|agent.name)?", "[ -~]{0,12}"),
                0..12,
            ),
            connection in "[a-zA-Z,_ -]{0,40}",
        ) {
            let mut head = HeaderMap::new();
            for (name, value) in &lines {
                let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
                head.append(name, HeaderValue::from_str(value).unwrap());
            }
            head.append(CONNECTION, HeaderValue::from_str(&connection).unwrap());
            remove_connection(&mut head);
            remove_identity(&mut head);
            for name in head.keys() {
                let name = normal(name.as_str());
                prop_assert!(!IDENTITY.contains(&&*name), "{name}");
                prop_assert!(!IDENTITY_PREFIXES.iter().any(|p| name.starts_with(p)), "{name}");
            }
            added().add(&mut head);
            for (name, value) in [(FORWARDED_FOR, "192.0.2.7"), (REQUEST_ID, "r1")] {
                let all: Vec<_> = head.get_all(name).iter().collect();
                prop_assert_eq!(all, [value]);
            }
        }
    }
}
