//! Fields that end at this hop, fields that only we may write, and the ones that we do.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
use strait_net::fields::names::{CONNECTION, EXPECT, HOST, TE, UPGRADE, X_FORWARDED_FOR};
use strait_net::fields::{Field, Fields, text};
use strait_net::http1::FIELDS_MAX;
use strait_types::push_ip;

use super::BadHead;

/// Longest name of a field, bytes.
pub const NAME_MAX: usize = 128;
/// Most bytes of a client's fields, names and values together.
pub const BYTES_MAX: usize = 40 << 10;

/// The request's own identifier, the same everywhere.
pub const REQUEST_ID: &str = "x-request-id";
/// Why we answered in the service's place.
pub const ERROR: &str = "x-strait-error";
/// What of a refusal is for administrators alone.
pub const DETAIL: &str = "x-strait-detail";
/// What we add to a service's own answer.
pub const HINT: &str = "x-strait-hint";
/// The agent's name, for the services that know it.
const AGENT_NAME: &str = "x-opsmx-agent-name";
/// Who asks, as Kubernetes' authenticating proxies say it.
const REMOTE_USER: &str = "x-remote-user";
const REMOTE_GROUP: &str = "x-remote-group";
const FORWARDED_HOST: &str = "x-forwarded-host";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

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

/// Whether a field ends with its connection, whatever `Connection` says (RFC 9110 §7.6.1).
fn is_of_connection(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"transfer-encoding"
            | b"te"
            | b"upgrade"
            | b"http2-settings"
            | b"proxy-authenticate"
            | b"proxy-authorization"
    )
}

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
pub fn check_size(fields: &Fields) -> Result<(), BadHead> {
    if fields.len() > FIELDS_MAX {
        return Err(BadHead::HeadSize("256 fields"));
    }
    let sizes = fields.iter().map(|field| (field.name.len(), field.value.len()));
    let (longest, bytes) = sizes
        .fold((0, 0), |(longest, bytes), (name, value)| (name.max(longest), bytes + name + value));
    if longest > NAME_MAX {
        return Err(BadHead::HeadSize("128 bytes in a field's name"));
    }
    if bytes > BYTES_MAX {
        return Err(BadHead::HeadSize("40 KiB of fields"));
    }
    Ok(())
}

/// Removes what belongs to one connection: `Connection`, every field that it names, and those
/// that end with it in any case. Comes first, in every direction and on both sides.
pub fn remove_connection(fields: &mut Fields) -> Connection {
    if !fields.iter().any(|field| is_of_connection(field.name)) {
        return Connection::default();
    }
    let trailers = tokens(fields, TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    let mut is_named = false;
    let mut named = BTreeSet::new();
    for name in tokens(fields, CONNECTION) {
        is_named |= name.eq_ignore_ascii_case(UPGRADE);
        // Most say this, which goes in any case.
        if !name.eq_ignore_ascii_case("keep-alive") {
            named.insert(name.to_ascii_lowercase().into_bytes());
        }
    }
    let upgrade = fields.only(UPGRADE).filter(|_| is_named);
    let upgrade = upgrade.and_then(|value| HeaderValue::from_bytes(value).ok());
    // As many as a head can hold are looked up one by one, not each field among them.
    fields.retain(|field| !is_of_connection(field.name) && !named.contains(field.name));
    Connection { trailers, upgrade }
}

/// The elements of a list field that are text, without blanks.
fn tokens<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = &'a str> {
    let values = fields.all(name).filter_map(text);
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// Removes what only the hub may say of who asks, in any spelling that a service could take for
/// it: gateways turn every character but letters and digits into one. Whether there was any.
pub fn remove_identity(fields: &mut Fields) -> bool {
    remove_alike(fields, b"fix", |name| {
        starts(name, &IDENTITY_PREFIXES) || IDENTITY.iter().any(|own| own.as_bytes() == name)
    })
}

/// Removes from an answer what only we may say.
pub fn remove_claims(fields: &mut Fields) {
    remove_alike(fields, b"x", |name| {
        name.starts_with(b"x-strait-") || name == REQUEST_ID.as_bytes()
    });
}

/// Removes the fields by which a request asks to be taken for one of another method or path.
/// Where a service's rules look at either, they decide about what is executed.
pub fn remove_overrides(fields: &mut Fields) {
    remove_alike(fields, b"x", |name| starts(name, &OVERRIDES));
}

fn starts(name: &[u8], prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// Removes what is meant by names as the least careful gateway could see them, and says whether
/// there was any. `first`: all that they can begin with, which no gateway turns into anything else.
fn remove_alike(fields: &mut Fields, first: &[u8], is_meant: impl Fn(&[u8]) -> bool) -> bool {
    fields.retain(|field| {
        let own = field.name.first();
        !(own.is_some_and(|own| first.contains(own)) && is_meant(&normal(field.name)))
    })
}

/// A name, which has no upper case, as the least careful gateway could see it.
fn normal(name: &[u8]) -> Cow<'_, [u8]> {
    let is_normal = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.iter().all(is_normal) {
        return Cow::Borrowed(name);
    }
    name.iter().map(|byte| if is_normal(byte) { *byte } else { b'-' }).collect()
}

/// Takes `Expect` out; true where it was `100-continue`.
///
/// # Errors
/// Any other expectation (RFC 9110 §10.1.1).
pub fn take_expect(fields: &mut Fields) -> Result<bool, BadHead> {
    let expects = match fields.only(EXPECT) {
        Some(one) if one.eq_ignore_ascii_case(b"100-continue") => true,
        None if !fields.has(EXPECT) => false,
        _ => return Err(BadHead::Expectation),
    };
    fields.remove(EXPECT);
    Ok(expects)
}

/// What we say of a request to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added<'a> {
    /// The address that the hub saw.
    pub client: IpAddr,
    /// What of `X-Forwarded-For` is believed, as the hub says it
    /// ([`Origin`](super::proxies::Origin)).
    pub before: Option<&'a str>,
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
    /// Adds it; leaves away what no field can say, which checked values are not. Comes after every
    /// removal.
    pub fn add(&self, fields: &mut Fields) {
        let mut path = String::with_capacity(48);
        if let Some(before) = self.before.filter(|before| !before.is_empty() && before.is_ascii()) {
            path.push_str(before);
            path.push_str(", ");
        }
        push_ip(&mut path, self.client.to_canonical());
        let scheme = if self.secure { "https" } else { "http" };
        let own = [
            Some((X_FORWARDED_FOR, &*path)),
            Some((FORWARDED_HOST, self.authority)),
            Some((FORWARDED_PROTO, scheme)),
            Some((REQUEST_ID, self.request_id)),
            self.agent.map(|agent| (AGENT_NAME, agent)),
            self.caller.map(|(user, _)| (REMOTE_USER, user)),
        ];
        for (name, value) in own.into_iter().flatten() {
            fields.set(name, value.as_bytes());
        }
        for group in self.caller.into_iter().flat_map(|(_, groups)| groups) {
            let _ = fields.push(Field::new(REMOTE_GROUP, group.as_bytes()));
        }
    }
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
    pub fn apply(&self, fields: &mut Fields, service: &str, client: &str) {
        let host = match self {
            Self::Service => service.as_bytes(),
            Self::Client => client.as_bytes(),
            Self::Literal(host) => host.as_bytes(),
        };
        fields.set(HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::testing::{all, fields_of as fields, names};

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

    #[test]
    fn a_connection_may_name_as_much_as_fits() {
        let mut head = fields(&[("X-Mine", "1"), ("Accept", "*/*")]);
        let many = "a,".repeat(BYTES_MAX / 2 - 100) + "x-mine";
        head.set(CONNECTION, many.as_bytes());
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
        for name in OVERRIDES.iter().chain(&[REQUEST_ID]) {
            assert!(name.starts_with('x'), "{name}");
        }
    }

    /// Row 41: CVE-2021-31999.
    #[test]
    fn a_connection_field_takes_none_of_ours_away() {
        let mut head = fields(&[("Connection", "X-Forwarded-For, X-Request-Id, Host")]);
        remove_connection(&mut head);
        remove_identity(&mut head);
        added().add(&mut head);
        assert_eq!(all(&head, "x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(all(&head, "x-forwarded-host"), ["hub.example"]);
        assert_eq!(all(&head, "x-forwarded-proto"), ["https"]);
        assert_eq!(all(&head, "x-request-id"), ["r1"]);
        assert_eq!(all(&head, "x-opsmx-agent-name"), ["smith"]);
    }

    #[test]
    fn a_trusted_proxys_chain_is_continued() {
        let before = Some("10.0.0.1, 10.0.0.2");
        let mut head = Fields::new();
        Added { before, agent: None, secure: false, ..added() }.add(&mut head);
        assert_eq!(all(&head, "x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 192.0.2.7"]);
        assert_eq!(all(&head, "x-forwarded-proto"), ["http"]);
        assert!(!head.has("x-opsmx-agent-name"));
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
        let many = |count| fields(&vec![("f", "v"); count]);
        assert_eq!(check_size(&many(FIELDS_MAX)), Ok(()));
        assert!(check_size(&many(FIELDS_MAX + 1)).is_err());
        assert!(check_size(&fields(&[(&"n".repeat(NAME_MAX + 1), "v")])).is_err());
        assert!(check_size(&fields(&[("n", &"v".repeat(BYTES_MAX))])).is_err());
    }

    #[test]
    fn the_host_has_one_source() {
        let (service, client) = ("ci.build:8443", "hub.example");
        for (rule, expected) in [
            (HostRule::Service, "ci.build:8443"),
            (HostRule::Client, "hub.example"),
            (HostRule::Literal(HeaderValue::from_static("ci.example")), "ci.example"),
        ] {
            let mut head = fields(&[("Host", "evil.example"), ("Host", "worse.example")]);
            rule.apply(&mut head, service, client);
            assert_eq!(all(&head, "host"), [expected]);
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
            let mut head = Fields::new();
            for (name, value) in &lines {
                let _ = head.push(Field::new(&name.to_lowercase(), value.as_bytes()));
            }
            head.push(Field::new(CONNECTION, connection.as_bytes())).unwrap();
            remove_connection(&mut head);
            remove_identity(&mut head);
            for field in head.iter() {
                let name = normal(field.name);
                let name = std::str::from_utf8(&name).unwrap();
                prop_assert!(!IDENTITY.contains(&name), "{name}");
                prop_assert!(!IDENTITY_PREFIXES.iter().any(|p| name.starts_with(p)), "{name}");
            }
            added().add(&mut head);
            for (name, value) in [(X_FORWARDED_FOR, "192.0.2.7"), (REQUEST_ID, "r1")] {
                prop_assert_eq!(all(&head, name), [value]);
            }
        }
    }
}
