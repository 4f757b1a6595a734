//! Facts of each scheme, and of what has none.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::signature::{Algorithm, Encoding, HmacScheme};

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn hmac() -> Scheme {
    let (algorithm, encoding) = (Algorithm::Sha256, Encoding::Hex);
    let header = HeaderName::from_static("x-sig");
    Scheme::Hmac(HmacScheme { header, algorithm, encoding, prefix: "".into() })
}

/// Delivery, event, action, repository; `-` is absence.
type Row = [&'static str; 4];

fn row(facts: &Facts) -> [&str; 4] {
    let Facts { delivery, event, action, repository } = facts;
    [delivery, event, action, repository].map(|fact| fact.as_deref().unwrap_or("-"))
}

#[test]
fn each_scheme_has_its_own_places() {
    let github = r#"{"action":"opened","repository":{"id":1,"full_name":"acme/site"},"type":"x"}"#;
    let gitlab = r#"{"object_kind":"merge_request","project":{"path_with_namespace":"acme/web/site"},"object_attributes":{"action":"open"}}"#;
    let pull =
        r#"{"pullRequest":{"toRef":{"repository":{"slug":"site","project":{"key":"ACME"}}}}}"#;
    let server = r#"{"repository":{"slug":"site","project":{"key":"ACME"}}}"#;
    let all = headers(&[
        ("X-GitHub-Delivery", "gh-1"),
        ("X-GitHub-Event", "pull_request"),
        ("X-Gitea-Delivery", "gt-1"),
        ("X-Gitea-Event", "push"),
        ("X-Gitlab-Event", "Push Hook"),
        ("X-Gitlab-Event-UUID", "gl-1"),
        ("X-Request-UUID", "bb-1"),
        ("X-Request-Id", "dc-1"),
        ("X-Event-Key", "repo:push"),
        ("webhook-id", "msg_1"),
    ]);
    let table: [(Scheme, &str, Row); 11] = [
        (Scheme::Github, github, ["gh-1", "pull_request", "opened", "acme/site"]),
        (Scheme::Gitea, github, ["gt-1", "push", "opened", "acme/site"]),
        (Scheme::GitlabToken, gitlab, ["gl-1", "Push Hook", "open", "acme/web/site"]),
        (Scheme::GitlabSigned, gitlab, ["msg_1", "Push Hook", "open", "acme/web/site"]),
        (Scheme::Bitbucket, github, ["bb-1", "repo:push", "-", "acme/site"]),
        (Scheme::BitbucketServer, server, ["dc-1", "repo:push", "-", "ACME/site"]),
        (Scheme::BitbucketServer, pull, ["dc-1", "repo:push", "-", "ACME/site"]),
        (Scheme::BitbucketServer, github, ["dc-1", "repo:push", "-", "-"]),
        (Scheme::Standard, github, ["msg_1", "x", "-", "-"]),
        (hmac(), github, ["-", "-", "-", "-"]),
        (Scheme::None, github, ["-", "-", "-", "-"]),
    ];
    for (scheme, body, expected) in table {
        let facts = Facts::read(&scheme, &all, Some(body.as_bytes()));
        assert_eq!(row(&facts), expected, "{scheme:?}");
        assert_eq!(Facts::delivery(&scheme, &all), facts.delivery);
        let absent = Facts::read(&scheme, &HeaderMap::new(), None);
        assert_eq!(absent, Facts::default());
    }
    let newer = [("Idempotency-Key", "key-1"), ("X-Gitlab-Event-UUID", "gl-1")];
    let facts = Facts::read(&Scheme::GitlabToken, &headers(&newer), None);
    assert_eq!(row(&facts), ["key-1", "-", "-", "-"]);
    let forgejo = [("X-Forgejo-Delivery", "fj-1"), ("X-Gitea-Delivery", "gt-1")];
    let facts = Facts::read(&Scheme::Gitea, &headers(&forgejo), None);
    assert_eq!(row(&facts), ["fj-1", "-", "-", "-"]);
}

#[test]
fn what_is_unusable_is_absent() {
    let long = "x".repeat(MAX_FACT + 1);
    let longest = "x".repeat(MAX_FACT);
    for (sent, body, expected) in [
        (vec![("X-GitHub-Event", "a"), ("X-GitHub-Event", "a")], "{}", ["-", "-", "-", "-"]),
        (vec![("X-GitHub-Event", "")], "{}", ["-", "-", "-", "-"]),
        (vec![("X-GitHub-Event", "ü")], "{}", ["-", "-", "-", "-"]),
        (vec![("X-GitHub-Event", &long)], "{}", ["-", "-", "-", "-"]),
        (vec![("X-GitHub-Event", &longest)], "{}", ["-", &longest, "-", "-"]),
        (vec![], r#"{"action":1,"repository":"acme/site"}"#, ["-", "-", "-", "-"]),
        (vec![], r#"{"action":"a\nb","repository":{"full_name":null}}"#, ["-", "-", "-", "-"]),
        (vec![], r#"{"action":"opened""#, ["-", "-", "-", "-"]),
        (vec![], r#"["action"]"#, ["-", "-", "-", "-"]),
        (vec![], "", ["-", "-", "-", "-"]),
        (vec![("X-GitHub-Delivery", "d")], "not JSON", ["d", "-", "-", "-"]),
    ] {
        let facts = Facts::read(&Scheme::Github, &headers(&sent), Some(body.as_bytes()));
        assert_eq!(row(&facts), expected, "{sent:?} {body}");
    }
}

#[test]
fn bodies_are_json_or_where_the_sender_has_it_a_form() {
    let (json, form) = (Ok(Some(ContentType::Json)), Ok(Some(ContentType::Form)));
    let github = Scheme::Github;
    for (scheme, sent, expected) in [
        (&github, vec!["application/json"], json),
        (&github, vec!["Application/JSON; charset=utf-8"], json),
        (&github, vec!["application/json;charset=utf-8"], json),
        (&github, vec!["application/x-www-form-urlencoded"], form),
        (&github, vec!["application/json-patch+json"], Err(Unsupported)),
        (&github, vec!["text/plain"], Err(Unsupported)),
        (&github, vec![""], Err(Unsupported)),
        (&github, vec![], Err(Unsupported)),
        (&github, vec!["application/json", "application/json"], Err(Unsupported)),
        (&Scheme::Gitea, vec!["application/json"], json),
        (&Scheme::Gitea, vec!["application/x-www-form-urlencoded"], Err(Unsupported)),
        (&Scheme::Standard, vec!["text/plain"], Err(Unsupported)),
        (&Scheme::None, vec!["application/json"], json),
        (&Scheme::None, vec!["text/plain"], Ok(None)),
        (&Scheme::None, vec![], Ok(None)),
        (&hmac(), vec!["application/xml"], Ok(None)),
    ] {
        let pairs: Vec<_> = sent.iter().map(|value| ("Content-Type", *value)).collect();
        assert_eq!(content_type(scheme, &headers(&pairs)), expected, "{scheme:?} {sent:?}");
    }
}

#[test]
fn a_form_carries_its_payload() {
    for (body, expected) in [
        ("payload=%7B%22a%22%3A+1%7D", Some(r#"{"a": 1}"#)),
        ("x=1&payload={}", Some("{}")),
        ("payload=1&payload=2", Some("1")),
        ("pay%6Coad=1", Some("1")),
        ("payload=a%2Bb%zz%4", Some("a+b%zz%4")),
        ("payload=a=b", Some("a=b")),
        ("payload", None),
        ("payloads=1", None),
        ("", None),
    ] {
        let found = json(Some(ContentType::Form), body.as_bytes());
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{body}");
    }
    assert_eq!(json(Some(ContentType::Json), b"{}").as_deref(), Some(&b"{}"[..]));
    assert_eq!(json(None, b"{}"), None);
}

proptest! {
    #[test]
    fn no_input_panics(body in prop::collection::vec(any::<u8>(), 0..200), value in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut map = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            for name in ["content-type", "x-github-event", "webhook-id", "x-request-id"] {
                map.append(name, value.clone());
            }
        }
        for scheme in [Scheme::Github, Scheme::GitlabSigned, Scheme::BitbucketServer, hmac()] {
            let _ = content_type(&scheme, &map);
            for content in [ContentType::Json, ContentType::Form] {
                let json = json(Some(content), &body);
                let _ = Facts::read(&scheme, &map, json.as_deref());
            }
        }
    }
}
