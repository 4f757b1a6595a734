//! Webhooks as their providers document them, signed as they sign, through the whole way in.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strait_hooks::config::Answers;
use strait_hooks::ingest::Receiving;
use strait_hooks::sender::{Facts, content_type, json};
use strait_hooks::signature::{Algorithm, Encoding, HmacScheme, Scheme};
use strait_runtime::{Clock, SystemClock};

use super::scene::{Options, SECRET, Scene, hex_mac, receiving, status_and_body};

/// A webhook, and what is to be read of it.
struct Sent {
    path: &'static str,
    body: Vec<u8>,
    headers: String,
    /// Delivery, event, action, repository.
    facts: [&'static str; 4],
}

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn sources() -> Vec<Receiving> {
    let hmac = HmacScheme {
        header: "x-sig".parse().unwrap(),
        algorithm: Algorithm::Sha256,
        encoding: Encoding::Hex,
        prefix: "v0=".into(),
    };
    [
        ("/github", Scheme::Github, SECRET),
        ("/gitlab", Scheme::GitlabToken, SECRET),
        ("/gitlab-signed", Scheme::GitlabSigned, KEY),
        ("/gitea", Scheme::Gitea, SECRET),
        ("/bitbucket", Scheme::Bitbucket, SECRET),
        ("/bitbucket-dc", Scheme::BitbucketServer, SECRET),
        ("/standard", Scheme::Standard, KEY),
        ("/hmac", Scheme::Hmac(hmac), SECRET),
    ]
    .map(|(path, scheme, secret)| receiving(path, scheme, Answers::Strait, secret))
    .into()
}

fn standard(id: &str, body: &[u8]) -> String {
    let now = SystemClock.now().as_second();
    let key = STANDARD.decode(KEY.trim_start_matches("whsec_")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = [format!("{id}.{now}.").as_bytes(), body].concat();
    let mac = STANDARD.encode(hmac::sign(&key, &signed));
    format!(
        "webhook-id: {id}\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1a,AAAA v1,{mac}\r\n"
    )
}

const JSON: &str = "Content-Type: application/json\r\n";
const GITHUB_ID: &str = "72d3162e-cc78-11e3-81ab-4c9367dc0958";

fn github() -> Vec<Sent> {
    let push = include_bytes!("../../fixtures/github-push.json").to_vec();
    let request = include_str!("../../fixtures/github-pull-request.json");
    let plain: String = request.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let form = format!("payload={plain}").into_bytes();
    let headers = |body: &[u8], event, kind| {
        format!(
            "User-Agent: GitHub-Hookshot/044aadd\r\nContent-Type: {kind}\r\nX-GitHub-Event: {event}\r\n\
             X-GitHub-Hook-ID: 292430182\r\nX-GitHub-Delivery: {GITHUB_ID}\r\n\
             X-Hub-Signature: sha1=7d38cdd689735b008b3c702edd92eea23791c5f6\r\n\
             X-Hub-Signature-256: sha256={}\r\n",
            hex_mac(body)
        )
    };
    let form_type = "application/x-www-form-urlencoded";
    vec![
        Sent {
            path: "/github",
            headers: headers(&push, "push", "application/json"),
            body: push,
            facts: [GITHUB_ID, "push", "", "acme/site"],
        },
        Sent {
            path: "/github",
            headers: headers(&form, "pull_request", form_type),
            body: form,
            facts: [GITHUB_ID, "pull_request", "synchronize", "acme/site"],
        },
    ]
}

fn gitlab() -> Vec<Sent> {
    let merge = include_bytes!("../../fixtures/gitlab-merge-request.json").to_vec();
    let push = include_bytes!("../../fixtures/gitlab-push.json").to_vec();
    let event = "13792a34-cac6-4fda-95a8-c58e00a3954e";
    let common = |kind: &str| {
        format!(
            "{JSON}User-Agent: GitLab/18.4.0\r\nX-Gitlab-Event: {kind}\r\n\
             X-Gitlab-Instance: https://gitlab.acme.example\r\nX-Gitlab-Event-UUID: {event}\r\n"
        )
    };
    let key = "4b2b3a0c-2f6e-44f0-95ef-8bb1c0d1a4ef";
    vec![
        Sent {
            path: "/gitlab",
            headers: format!(
                "{}Idempotency-Key: {key}\r\nX-Gitlab-Token: {SECRET}\r\n",
                common("Merge Request Hook")
            ),
            body: merge,
            facts: [key, "Merge Request Hook", "open", "acme/web/site"],
        },
        Sent {
            path: "/gitlab-signed",
            headers: common("Push Hook") + &standard("msg_g1", &push),
            body: push,
            facts: ["msg_g1", "Push Hook", "", "acme/site"],
        },
    ]
}

fn others() -> Vec<Sent> {
    let gitea = include_bytes!("../../fixtures/gitea-push.json").to_vec();
    let cloud = include_bytes!("../../fixtures/bitbucket-push.json").to_vec();
    let server = include_bytes!("../../fixtures/bitbucket-dc-pull-request.json").to_vec();
    let event = include_bytes!("../../fixtures/standard-event.json").to_vec();
    let id = "f6266f16-1bf3-46a5-9ea4-602e06ead473";
    let forge = |name: &str, body: &[u8]| {
        let mac = hex_mac(body);
        format!("X-{name}-Delivery: {id}\r\nX-{name}-Event: push\r\nX-{name}-Signature: {mac}\r\n")
    };
    let (mac, cloud_mac, server_mac) = (hex_mac(&event), hex_mac(&cloud), hex_mac(&server));
    vec![
        Sent {
            path: "/gitea",
            headers: format!("{JSON}{}X-GitHub-Event: push\r\n", forge("Gitea", &gitea)),
            body: gitea,
            facts: [id, "push", "", "acme/site"],
        },
        Sent {
            path: "/gitea",
            headers: format!("{JSON}{}{}", forge("Forgejo", b"{}"), forge("Gitea", b"{}")),
            body: b"{}".to_vec(),
            facts: [id, "push", "", ""],
        },
        Sent {
            path: "/bitbucket",
            headers: format!(
                "{JSON}User-Agent: Bitbucket-Webhooks/2.0\r\nX-Event-Key: repo:push\r\n\
                 X-Hook-UUID: {{a}}\r\nX-Request-UUID: {id}\r\nX-Attempt-Number: 1\r\n\
                 X-Hub-Signature: sha256={cloud_mac}\r\n"
            ),
            body: cloud,
            facts: [id, "repo:push", "", "acme/site"],
        },
        Sent {
            path: "/bitbucket-dc",
            headers: format!(
                "Content-Type: application/json; charset=utf-8\r\nX-Event-Key: pr:opened\r\n\
                 X-Request-Id: {id}\r\nX-Hub-Signature: sha256={server_mac}\r\n"
            ),
            body: server,
            facts: [id, "pr:opened", "", "ACME/site"],
        },
        Sent {
            path: "/standard",
            headers: JSON.to_owned() + &standard("msg_1", &event),
            body: event.clone(),
            facts: ["msg_1", "contact.created", "", ""],
        },
        Sent {
            path: "/hmac",
            headers: format!("Content-Type: text/plain\r\nX-Sig: v0={mac}\r\n"),
            body: event,
            facts: ["", "", "", ""],
        },
    ]
}

fn request(sent: &Sent, body: &[u8]) -> Vec<u8> {
    let (path, headers, length) = (sent.path, &sent.headers, sent.body.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: hooks\r\nAccept: */*\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn every_providers_webhooks_are_taken_as_they_are_and_not_when_changed() {
    let sources = sources();
    let scene = Scene::new(Options { sources: sources.clone(), ..Options::default() }).await;
    for sent in github().into_iter().chain(gitlab()).chain(others()) {
        let answer = scene.say(request(&sent, &sent.body)).await;
        assert_eq!(status_and_body(&answer).0, 202, "{}: {answer}", sent.path);
        let event = scene.log.events.lock().pop().unwrap();
        assert_eq!(event.body, sent.body, "{}", sent.path);
        let scheme = sources.iter().find(|one| *one.source.path == *sent.path).unwrap();
        let scheme = &scheme.source.scheme;
        let kind = content_type(scheme, &event.headers).unwrap();
        let facts = Facts::read(scheme, &event.headers, json(kind, &event.body).as_deref());
        let facts = [facts.delivery, facts.event, facts.action, facts.repository];
        let facts = facts.map(Option::unwrap_or_default);
        assert_eq!(facts.each_ref().map(|fact| &**fact), sent.facts, "{}", sent.path);

        let mut changed = sent.body.clone();
        changed[0] ^= 1;
        // A token signs nothing.
        let status = if sent.path == "/gitlab" { 202 } else { 401 };
        let answer = scene.say(request(&sent, &changed)).await;
        assert_eq!(status_and_body(&answer).0, status, "{}: {answer}", sent.path);
        let elsewhere = request(&sent, &sent.body);
        let elsewhere = String::from_utf8(elsewhere).unwrap();
        let other = if sent.path == "/standard" { "/gitea" } else { "/standard" };
        let elsewhere = elsewhere.replacen(sent.path, other, 1);
        if sent.path != "/gitlab-signed" {
            let answer = scene.say(elsewhere).await;
            assert!(matches!(status_and_body(&answer).0, 401 | 415), "{}: {answer}", sent.path);
        }
    }
}
