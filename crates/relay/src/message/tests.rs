//! Every mistake with its number, and who reads what of it.

use strait_machinery::json;
use strait_net::fields::names::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use strait_net::fields::text;

use super::*;
use crate::http::testing::{all, fields_of};

fn name() -> ServiceName {
    ServiceName { agent: "smith".into(), service: "ci".into() }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Number, failure, status, reason, text.
type Row = (u8, Failure, u16, &'static str, &'static str);

fn refusals() -> Vec<Row> {
    let scope = Scope::Service { is_for: "smith/argo".into(), this: "smith/ci".into() };
    vec![
        (
            1,
            Failure::CredentialMissing,
            401,
            "CredentialMissing",
            "needs a bearer token, basic password or client certificate for smith/ci: `strait service token smith/ci`",
        ),
        (
            2,
            Failure::CredentialExpired { id: "01H".into(), ago: secs(10_800), life: secs(3600) },
            401,
            "CredentialExpired",
            "token 01H expired 3h ago; lifetime 60m",
        ),
        (
            3,
            Failure::CredentialRevoked { ago: secs(12), by: Some("root".into()) },
            401,
            "CredentialRevoked",
            "the credential was revoked 12s ago",
        ),
        (
            4,
            Failure::CredentialScope(scope),
            403,
            "CredentialScope",
            "token is for smith/argo, this is smith/ci",
        ),
        (
            5,
            Failure::Forbidden {
                user: "alice".into(),
                verb: "create",
                workspace: "root:acme".into(),
            },
            403,
            "Forbidden",
            "alice needs verb create on services/connect \"ci.smith\" in root:acme",
        ),
        (
            6,
            Failure::AgentRule {
                method: "POST".into(),
                path: "/script".into(),
                rule: "allow.paths",
                detail: Some("/job/*".into()),
            },
            403,
            "AgentRule",
            "agent smith refuses POST /script by allow.paths",
        ),
        (
            7,
            Failure::IdentityUnmapped { user: "alice".into(), groups: vec!["acme:dev".into()] },
            403,
            "IdentityUnmapped",
            "agent smith has no identity rule for alice (groups acme:dev)",
        ),
        (8, Failure::NotFound, 404, "NotFound", "no service ci.smith here, or you may not see it"),
        (
            9,
            Failure::AgentOffline { seen: Some((secs(240), "203.0.113.7".parse().unwrap())) },
            503,
            "AgentOffline",
            "agent smith last seen 4m ago from 203.0.113.7; on its side: `strait agent status`",
        ),
        (
            10,
            Failure::ServiceWithdrawn { since: Some("2026-01-02T10:02:00Z".parse().unwrap()) },
            503,
            "ServiceWithdrawn",
            "smith is connected but no longer offers ci since 2026-01-02T10:02:00Z",
        ),
    ]
}

fn executions() -> Vec<Row> {
    let issuer = "is not signed by tls.caFile (issuer: Corp CA 2)";
    vec![
        (
            11,
            Failure::ConnectFailed(ConnectError::Refused),
            502,
            "ConnectFailed",
            "smith could not connect to ci: connection refused (address only in the agent's log)",
        ),
        (
            12,
            Failure::UpstreamTls { why: issuer.into() },
            502,
            "UpstreamTLS",
            "certificate of ci is not signed by tls.caFile (issuer: Corp CA 2)",
        ),
        (
            13,
            Failure::ConnectTimeout(secs(10)),
            504,
            "ConnectTimeout",
            "smith had no connection to ci in 10s",
        ),
        (
            13,
            Failure::HeadTimeout(secs(60)),
            504,
            "HeadTimeout",
            "no answer from ci in 1m; `headTimeout` in the services file",
        ),
        (
            15,
            Failure::TooLarge { length: Some(12 << 20), limit: 10 << 20 },
            413,
            "TooLarge",
            "12 MiB > maxBody 10 MiB of ci",
        ),
        (
            16,
            Failure::UpgradeNotAllowed,
            501,
            "UpgradeNotAllowed",
            "ci does not upgrade connections; `upgrade` in the services file",
        ),
        (
            17,
            Failure::AmbiguousPath("%2f"),
            400,
            "BadTarget",
            "path contains %2f and ci has path rules",
        ),
        (
            17,
            Failure::BadHead(BadHead::TargetForm("a URL or an authority")),
            400,
            "BadTarget",
            "the request target must be a path that begins with /, not a URL or an authority",
        ),
        (
            18,
            Failure::Overloaded { running: 256, of: "ci".into() },
            503,
            "Overloaded",
            "256 requests already run on ci",
        ),
        (
            18,
            Failure::Overloaded { running: 1, of: "this credential".into() },
            503,
            "Overloaded",
            "1 request already runs on this credential",
        ),
        (
            18,
            Failure::Stalled { waiting: 1 },
            503,
            "Overloaded",
            "1 request already waits for smith to take it to ci",
        ),
        (
            18,
            Failure::Stalled { waiting: 128 },
            503,
            "Overloaded",
            "128 requests already wait for smith to take them to ci",
        ),
        (
            0,
            Failure::TimedOut,
            504,
            "Timeout",
            "smith did not take the request in time; it may have been executed",
        ),
        (
            0,
            Failure::ConnectionLost,
            502,
            "ConnectionLost",
            "the connection to smith broke after the request was sent; it may have been executed",
        ),
        (
            0,
            Failure::Misdirected,
            421,
            "Misdirected",
            "this listener does not answer under that name: its `hosts`, in the agent's file, lists names beside localhost",
        ),
        (
            0,
            Failure::TooManyRequests(3),
            429,
            "TooManyRequests",
            "too many requests; the next one in 3 s",
        ),
    ]
}

#[test]
fn a48_each_mistake_has_its_status_reason_and_text() {
    for (number, failure, status, reason, text) in refusals().into_iter().chain(executions()) {
        let reader = Reader { request_id: "r1", json: false };
        let told = failure.respond(&name(), &reader);
        assert_eq!(told.status, status, "{number}");
        assert_eq!(all(&told.fields, "x-strait-error"), [reason], "{number}");
        assert_eq!(all(&told.fields, "x-request-id"), ["r1"], "{number}");
        assert_eq!(all(&told.fields, CONTENT_TYPE), ["text/plain; charset=utf-8"]);
        assert_eq!(told.body, format!("{text}\n").as_bytes(), "{number}");
        let challenged = told.fields.has(WWW_AUTHENTICATE);
        assert_eq!(challenged, status == 401, "{number}");

        let told = failure.respond(&name(), &Reader { json: true, ..reader });
        assert_eq!(all(&told.fields, CONTENT_TYPE), ["application/json"]);
        let body = json::parse(&told.body).unwrap();
        assert_eq!(body.str_at(&["kind"]), Some("Status"), "{number}");
        assert_eq!(body.str_at(&["reason"]), Some(reason), "{number}");
        assert_eq!(body.str_at(&["message"]), Some(text), "{number}");
        assert_eq!(body.at(&["code"]), Some(&i64::from(status).into()), "{number}");
    }
}

#[test]
fn whoever_mistakes_a_raw_service_is_told_what_it_is() {
    for (failure, status, reason, text) in [
        (
            Failure::RawOnly,
            426,
            "UpgradeRequired",
            "ci carries bytes, not HTTP: `strait service forward smith/ci`",
        ),
        (
            Failure::NotRaw,
            501,
            "UpgradeNotAllowed",
            "ci speaks HTTP: it is reached by its path, /services/relay/smith/ci/",
        ),
        (
            Failure::NotExposed,
            403,
            "NotExposed",
            "ci is not exposed as bytes: set spec.exposure.raw of Service \"ci.smith\"",
        ),
        (
            Failure::ConnectFailed(ConnectError::TimedOut),
            504,
            "ConnectTimeout",
            "smith could not connect to ci: it took too long (address only in the agent's log)",
        ),
    ] {
        assert_eq!((failure.status().as_u16(), failure.reason()), (status, reason), "{failure:?}");
        assert_eq!(failure.text(&name()), text);
    }
}

#[test]
fn a48_14_a_services_own_refusal_passes_with_a_hint() {
    for (status, expected) in [
        (StatusCode::UNAUTHORIZED, Some("401 came from ci, not from the hub")),
        (StatusCode::FORBIDDEN, Some("403 came from ci, not from the hub")),
        (StatusCode::OK, None),
        (StatusCode::BAD_GATEWAY, None),
    ] {
        assert_eq!(hint(status, "ci").as_deref(), expected);
    }
}

#[test]
fn a48_19_20_an_agent_that_cannot_join_is_told_why() {
    let expected = "ab12".repeat(16);
    for (mistake, text) in [
        (
            Joining::WrongAuthority {
                hub: "hub.saas.example".into(),
                issuer: "Corp Proxy CA".into(),
                expected,
            },
            "hub.saas.example presented a certificate by \"Corp Proxy CA\"; expected hub CA ab12ab12ab12ab12: an inspecting proxy is in the way",
        ),
        (
            Joining::TokenUsed {
                at: "2026-01-02T10:01:00Z".parse().unwrap(),
                by: "agent-7f9".into(),
            },
            "token was used at 2026-01-02T10:01:00Z by agent-7f9; make a new one",
        ),
        (Joining::TokenExpired { ago: secs(60) }, "token expired 60s ago; make a new one"),
        (
            Joining::Clock { off: secs(540), ahead: true },
            "this machine's clock is 9m ahead of the hub",
        ),
    ] {
        assert_eq!(mistake.to_string(), text);
    }
}

#[test]
fn who_revoked_and_what_a_rule_says_stands_apart() {
    for (number, hidden) in [(3, "root"), (6, "/job/*")] {
        let (.., failure, _, _, _) = refusals().swap_remove(number - 1);
        assert_eq!(failure.detail(), Some(hidden));
        let reader = Reader { request_id: "r1", json: true };
        let response = failure.respond(&name(), &reader);
        assert!(!format!("{response:?}").contains(hidden), "{response:?}");
    }
}

#[test]
fn who_may_try_again_is_told_when() {
    for (failure, expected) in [
        (Failure::Overloaded { running: 1, of: "ci".into() }, Some("1")),
        (Failure::Stalled { waiting: 1 }, Some("1")),
        (Failure::NotAccepted, Some("1")),
        (Failure::TooManyRequests(3), Some("3")),
        (Failure::ConnectionLost, None),
        (Failure::HubEnding, Some("1")),
        (Failure::Aborted(Aborter::Hub), None),
    ] {
        let reader = Reader { request_id: "r1", json: true };
        let told = failure.respond(&name(), &reader);
        let after = told.fields.get(RETRY_AFTER).map(|value| text(value).unwrap());
        assert_eq!(after, expected, "{failure:?}");
    }
}

#[test]
fn json_goes_to_those_who_list_it() {
    for (accept, expected) in [
        ("", false),
        ("*/*", false),
        ("text/html, */*", false),
        ("application/json", true),
        ("text/plain, Application/JSON;q=0.5", true),
        ("application/json;as=Table;v=v1;g=meta.k8s.io", true),
        ("application/json;q=0", false),
        ("application/jsonp", false),
    ] {
        assert_eq!(prefers_json(&fields_of(&[(ACCEPT, accept)])), expected, "{accept}");
    }
}

#[test]
fn who_gave_a_request_up_is_named() {
    for (aborter, expected) in [
        (Aborter::Agent, "smith gave the request up after it began; it may have been executed"),
        (Aborter::Operator, "an operator cut the request off; it may have been executed"),
        (Aborter::Hub, "the hub ended before the request did; it may have been executed"),
        (
            Aborter::Listener,
            "the agent's file took this listener away or changed it; it may have been executed",
        ),
    ] {
        let failure = Failure::Aborted(aborter);
        assert_eq!((failure.text(&name()).as_str(), failure.status().as_u16()), (expected, 502));
    }
}
