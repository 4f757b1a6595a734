//! Whole files, their mistakes, reloads, announcements and credentials.

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;
use strait_api::private::Source;
use strait_machinery::json;
use strait_types::Redacted;

use super::*;
use crate::http::testing::{all, fields_of};
use crate::link::control::Unreached;

const HEAD: &str = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";

/// Files that are not there, are open to others, or hold something.
#[derive(Default)]
struct Fake(HashMap<&'static str, &'static str>);

impl Files for Fake {
    fn look(&self, path: &Path) -> Result<FileState, String> {
        let path = path.to_str().unwrap();
        if path.starts_with("/missing") {
            return Err("No such file or directory".into());
        }
        Ok(FileState { open_to_others: path.starts_with("/open") })
    }

    fn read(&self, path: &Path) -> Result<Redacted<Vec<u8>>, String> {
        let content = self.0.get(path.to_str().unwrap()).ok_or("No such file or directory")?;
        Ok(Redacted::new(content.as_bytes().to_vec()))
    }
}

fn try_read(body: &str, allow_insecure: bool) -> Result<Checked, Vec<String>> {
    let text = format!("{HEAD}{body}");
    let source = Source { file: "a.yaml", text: &text };
    let read = read(&source, &Fake::default(), allow_insecure);
    match read {
        Ok(read) => read.ok_or_else(|| vec!["there is none".to_owned()]),
        Err(mistakes) => Err(mistakes.iter().map(ToString::to_string).collect()),
    }
}

fn config(body: &str) -> AgentConfig {
    try_read(body, false).unwrap().config
}

const FULL: &str = r#"
agent: {description: production, annotations: {site: fra}}
hub: {addresses: ["hub.example:443", "[fd00::1]:443"], transport: websocket, proxyFile: /s/proxy, connections: 3}
defaults: {dialTimeout: 5s, concurrent: 16}
services:
- name: ci
  type: jenkins
  url: https://jenkins.canary-host:8443/ci
  tls: {caFile: /etc/canary-ca.pem, serverName: canary-name.example, minVersion: "1.3"}
  credentials: {basic: {userFile: /s/canary-user, passwordFile: /s/canary-password}}
  allow: {methods: [GET, POST], paths: ["/job/*", /api/json], denyPaths: ["/job/canary-secret*"], users: ["acme:*"]}
  annotations: {description: build server}
  maxBody: 10Mi
  headTimeout: "0"
- name: argo
  type: argocd
  url: http://argocd.canary-host
  protocol: h2c
  credentials: {bearer: {tokenFile: /s/canary-token}}
  retry: none
- name: db
  type: tcp
  address: db.canary-host:5432
  tls: {}
- name: mine
  type: x-my-api
  url: unix:///run/canary.sock
  upgrade: true
  host: canary.example
  cookies: rewrite
  credentials: {header: {name: X-Canary-Field, valueFile: /s/canary-key}}
- name: site
  type: http
  url: https://site
  clientAuthorization: pass
  idleTimeout: 1h
- name: mtls
  type: front50
  url: https://front50
  credentials: {clientCertificate: {certFile: /s/canary.pem, keyFile: /s/canary-key.pem}}
incoming:
- {name: to-front50, listen: "127.0.0.1:8014", hosts: [Store.local], service: {agent: hub, type: front50, name: front50}}
policy: {maxTokenAge: "0", requireIdentity: false}
"#;

#[test]
fn a_whole_configuration_is_understood() {
    let config = config(FULL);
    assert_eq!((config.hub.transport, config.hub.connections), (Transport::WebSocket, 3));
    assert_eq!(config.policy, Policy { max_token_age: None, require_identity: false });
    let incoming = &config.incoming["to-front50"];
    assert_eq!(incoming.listen.to_string(), "127.0.0.1:8014");
    assert_eq!((&incoming.kind, &*incoming.service), (&ServiceType::Front50, "front50"));
    let own = "127.0.0.1".parse().unwrap();
    assert_eq!(incoming.hosts, Hosts::Only { own, more: vec!["store.local".to_owned()] });
    let ci = &config.services["ci"];
    assert_eq!(ci.limits.dial, Duration::from_secs(5));
    assert_eq!((ci.limits.head, ci.limits.idle), (None, Some(Duration::from_secs(300))));
    assert_eq!((ci.limits.concurrent, ci.limits.max_body), (16, Some(10 << 20)));
    assert!(ci.kind.learns_agent() && !config.services["site"].kind.learns_agent());
    for (user, admitted) in [(Some("acme:alice"), true), (Some("alice"), false), (None, false)] {
        assert_eq!(ci.admits(user), admitted);
    }
    assert!(config.services["db"].admits(None));
    let Target::Http(target) = &ci.target else { panic!("an HTTP service") };
    assert_eq!(target.rules.methods, [Method::GET, Method::POST]);
    assert!(target.trust.only_1_3 && target.retries_safe);
    let Target::Http(mine) = &config.services["mine"].target else { panic!("an HTTP service") };
    assert_eq!(mine.url.socket(), Some(Path::new("/run/canary.sock")));
    assert!(mine.upgrade && mine.rewrites_domain);
    let Target::Tcp { host, port, tls, .. } = &config.services["db"].target else { panic!("tcp") };
    assert_eq!((&**host, *port, tls.is_some()), ("db.canary-host", 5432, true));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let body = r#"
hub: {addresses: ["hub"]}
defaults: {idleTimeout: soon}
services:
- {name: k8s, type: kubernetes}
- {name: s3, type: aws}
- {name: odd, type: ftp}
- {name: a, type: http, url: "https://u:hunter2@x/", dialTimeout: "0"}
- {name: a, type: http}
- {name: c, type: argocd, url: "https://x", credentials: {basic: {userFile: /missing/u, passwordFile: /s/p}}}
- {name: d, type: tcp, url: "https://x"}
- {name: e, type: http, url: "http://x", address: "x:1", tls: {insecure: true}, protocol: http2}
- {name: f, type: http, url: "https://x", allow: {methods: [get, CONNECT], paths: [job]}}
- {name: g, type: http, url: "https://x", credentials: {header: {name: X-Forwarded-For, valueFile: /s/v}}}
- {name: h, type: http, url: "https://x", clientAuthorization: pass, credentials: {bearer: {tokenFile: /s/t}}}
- {name: i, type: http, url: "https://x", mount: true}
- {name: j, type: http, url: "https://x", tls: {starttls: postgres}}
- {name: k, type: tcp, address: "x:1", tls: {starttls: ldap}}
incoming:
- {name: x, listen: "127.0.0.1:1", service: {agent: hub, type: http, name: z}}
- {name: z, listen: "127.0.0.1:1", service: {agent: hub, type: http, name: z}}
- {name: u, listen: "unix:x", service: {agent: smith, type: ftp, name: z}}
- {name: v, listen: "127.0.0.1:2", hosts: ["a:1"], service: {agent: hub, type: http, name: z}}
- {name: w, listen: "unix:/x", hosts: [a], service: {agent: hub, type: http, name: z}}
- {name: t, listen: "127.0.0.1:3", hosts: [a], service: {agent: hub, type: tcp, name: z}}
policy: {maxTokenAge: 1y}
"#;
    let mistakes = try_read(body, false).unwrap_err();
    let expected = [
        "a.yaml:4:19: hub.addresses[0]: Invalid value: \"hub\"",
        "a.yaml:5:12: defaults.idleTimeout: Invalid value: \"soon\"",
        "services[0].type: Forbidden: kubernetes is not served by this release",
        "services[1].type: Forbidden: aws is not served by this release",
        "services[2].type: Unsupported value: \"ftp\"",
        "services[3].dialTimeout: Invalid value: \"0\": must be positive",
        "services[3].url: Invalid value: \"…\": must have no user",
        "services[4].name: Duplicate value: \"a\"",
        "services[4].url: Required value",
        "services[5].credentials.basic: Forbidden: a service of type argocd takes bearer",
        "services[5].credentials.basic.userFile: Invalid value: \"/missing/u\": No such file",
        "services[6].address: Required value",
        "services[6].url: Forbidden: a service of type tcp has none",
        "services[7].address: Forbidden",
        "services[7].protocol: Invalid value: \"http2\": needs an https URL",
        "services[7].tls: Forbidden: the URL is not https",
        "services[7].tls.insecure: Forbidden: the agent was not started with --allow-insecure",
        "services[8].allow.methods[0]: Invalid value: \"get\"",
        "services[8].allow.methods[1]: Invalid value: \"CONNECT\"",
        "services[8].allow.paths[0]: Invalid value: \"job\"",
        "services[9].credentials.header.name: Invalid value: \"X-Forwarded-For\"",
        "services[10].clientAuthorization: Forbidden: the service has credentials",
        "unknown field \"services[11].mount\"",
        "services[12].tls.starttls: Forbidden: only a service of type tcp has one",
        "services[13].tls.starttls: Unsupported value: \"ldap\"",
        "incoming[1].listen: Duplicate value: \"127.0.0.1:1\"",
        "incoming[2].listen: Invalid value: \"unix:x\": must be an address and a port",
        "incoming[2].service.agent: Invalid value: \"smith\": only services of the hub",
        "incoming[2].service.type: Unsupported value: \"ftp\"",
        "incoming[3].hosts[0]: Invalid value: \"a:1\": must be a name or an address",
        "incoming[4].hosts: Forbidden: a socket and a service of type tcp have none",
        "incoming[5].hosts: Forbidden",
        "policy.maxTokenAge: Invalid value: \"1y\"",
    ];
    for expected in expected {
        assert!(mistakes.iter().any(|own| own.contains(expected)), "{expected}\n{mistakes:#?}");
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    assert!(!mistakes.concat().contains("hunter2"));
    let lines = |text: &String| text.split(':').nth(1).unwrap().parse::<usize>().unwrap();
    assert!(mistakes.iter().map(lines).is_sorted(), "{mistakes:#?}");
}

#[test]
fn what_is_unwise_is_a_warning() {
    let service = "services:\n- name: a\n  type: http\n  url: https://x\n";
    let body = format!(
        "{service}  credentials: {{bearer: {{tokenFile: /open/t}}}}\n  tls: {{insecure: true}}\n"
    );
    let checked = try_read(&body, true).unwrap();
    assert_eq!(checked.warnings.len(), 1);
    let text = checked.warnings[0].to_string();
    assert!(text.starts_with("a.yaml:7:26: services[0].credentials.bearer.tokenFile"), "{text}");
    assert!(try_read(&body, false).is_err());
}

#[test]
fn a_reload_keeps_what_did_not_change() {
    let service = |name: &str, more: &str| {
        format!("- {{name: {name}, type: http, url: \"https://{name}.x/p\"{more}}}\n")
    };
    let all = |changes: [&str; 6]| {
        let names = ["a", "b", "c", "d", "e", "f"];
        let list: String =
            names.iter().zip(changes).map(|(name, more)| service(name, more)).collect();
        config(&format!("services:\n{list}"))
    };
    let old = all([""; 6]);
    let mut new = all([
        "",
        ", allow: {methods: [GET]}",
        ", credentials: {bearer: {tokenFile: /s/t}}",
        ", tls: {caFile: /s/ca}",
        ", annotations: {x: z}",
        "",
    ]);
    let f = new.services.remove("f").unwrap();
    new.services.insert("g".into(), f);
    let plan = plan_reload(&old, &new);
    let expected = [
        ("a", Change::Unchanged),
        ("b", Change::Rules),
        ("c", Change::Connections),
        ("d", Change::Connections),
        ("e", Change::Rules),
        ("f", Change::Removed),
        ("g", Change::Added),
    ];
    assert_eq!(plan, expected.map(|(name, change)| (name.to_owned(), change)).into());
}

#[test]
fn a36_nothing_of_the_private_side_is_announced() {
    let config = config(FULL);
    let messages =
        announcement(&config, 7, |name| (name == "db").then_some(Unreached::NameNotFound));
    assert_eq!(messages.len(), 1);
    let text = String::from_utf8(messages[0].clone()).unwrap();
    for secret in ["canary", "Canary", "/s/", "8443", "5432", "unix:", "acme:", "https://"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let message = json::parse(text.as_bytes()).unwrap();
    assert_eq!(message.str_at(&["t"]), Some("services"));
    let list = message.array_at(&["list"]);
    let names: Vec<_> = list.iter().map(|one| one.str_at(&["name"]).unwrap()).collect();
    assert_eq!(names, ["argo", "ci", "db", "mine", "mtls", "site"]);
    assert_eq!(list[1].at(&["methods"]).unwrap().to_string(), r#"["GET","POST"]"#);
    assert_eq!(list[2].at(&["ready"]), Some(&false.into()));
    assert_eq!(list[2].str_at(&["unreached"]), Some("NameNotFound"));
    assert_eq!(list[1].at(&["unreached"]), None);
    assert_eq!(list[2].at(&["raw"]), Some(&true.into()));
    assert_eq!(list[3].at(&["protocols"]).unwrap().to_string(), r#"["http1","upgrade"]"#);
}

#[test]
fn many_services_are_announced_in_parts() {
    let service = |n: usize| {
        format!(
            "- {{name: s{n}, type: http, url: \"https://x\", annotations: {{x: \"{}\"}}}}\n",
            "y".repeat(1000)
        )
    };
    let list: String = (0..200).map(service).collect();
    let messages = announcement(&config(&format!("services:\n{list}")), 1, |_| None);
    assert!(messages.len() > 1 && messages.iter().all(|message| message.len() <= MESSAGE_MAX));
    let parsed: Vec<_> = messages.iter().map(|message| json::parse(message).unwrap()).collect();
    let count: usize = parsed.iter().map(|message| message.array_at(&["list"]).len()).sum();
    assert_eq!(count, 200);
    for (part, message) in (1..).zip(&parsed) {
        assert_eq!(message.at(&["part"]), Some(&i64::from(part).into()));
        assert_eq!(message.str_at(&["hash"]), parsed[0].str_at(&["hash"]));
    }
}

#[test]
fn a_service_that_no_message_could_hold_is_a_mistake() {
    let paths = |count: usize| {
        let path = format!("/{}", "x".repeat(1000));
        let list = vec![path; count].join(", ");
        format!(
            "services:\n- {{name: a, type: http, url: \"https://x\", allow: {{paths: [{list}]}}}}\n"
        )
    };
    let messages = announcement(&config(&paths(32)), 1, |_| None);
    assert!(messages.len() == 1 && messages[0].len() < MESSAGE_MAX);
    let mistakes = try_read(&paths(33), false).unwrap_err();
    assert!(mistakes[0].contains("services[0].allow: Too long"), "{mistakes:?}");
}

#[test]
fn settings_that_differ_have_hashes_that_differ() {
    let hash = |more: &str| {
        let body = format!("services:\n- {{name: a, type: http, {more}}}\n");
        settings_hash(&config(&body).services["a"])
    };
    let base = hash("url: \"https://x\"");
    assert_eq!(base, hash("url: \"https://x\", protocol: auto, tls: {caFile: /s/ca}"));
    for more in [
        "url: \"https://y\"",
        "url: \"https://x\", upgrade: true",
        "url: \"https://x\", allow: {denyPaths: [/x]}",
        "url: \"https://x\", annotations: {a: b}",
        "url: \"https://x\", host: client",
        "url: \"https://x\", allow: {users: [a]}",
        "url: \"https://x\", tls: {serverName: a}",
        "url: \"https://x\", credentials: {bearer: {tokenFile: /s/t}}",
    ] {
        assert_ne!(base, hash(more), "{more}");
    }
    assert_eq!(base.len(), 16 + 1 + 4);
}

#[test]
fn credentials_are_read_from_their_files() {
    let files = Fake(HashMap::from([
        ("/user", "bob\n"),
        ("/password", " pass word \r\n"),
        ("/token", "t-1\n"),
        ("/empty", " \n"),
        ("/lines", "a\nb"),
        ("/colon", "a:b"),
    ]));
    let path = PathBuf::from;
    let basic = |user| Credentials::Basic { user: path(user), password: path("/password") };
    let key = Credentials::Field { name: HeaderName::from_static("x-key"), value: path("/token") };
    for (credentials, name, value) in [
        (basic("/user"), "authorization", "Basic Ym9iOnBhc3Mgd29yZA=="),
        (Credentials::Bearer(path("/token")), "authorization", "Bearer t-1"),
        (Credentials::Token(path("/token")), "authorization", "Token t-1"),
        (key, "x-key", "t-1"),
    ] {
        let credential = Credential::load(&credentials, &files).unwrap();
        let mut fields = fields_of(&[(name, "the client's"), (name, "another")]);
        credential.add(&mut fields);
        assert_eq!(all(&fields, name), [value]);
        assert!(fields.iter().all(|field| field.sensitive));
        assert!(!format!("{credential:?} {credentials:?}").contains("t-1"));
        assert!(credential.is_same(&Credential::load(&credentials, &files).unwrap()));
        assert!(!credential.is_same(&Credential::None));
    }
    for (credentials, why) in [
        (Credentials::Bearer(path("/missing")), "/missing No such file"),
        (Credentials::Bearer(path("/empty")), "/empty is empty"),
        (Credentials::Bearer(path("/lines")), "/lines holds what no HTTP field can"),
        (basic("/colon"), "/colon holds a colon"),
    ] {
        let error = Credential::load(&credentials, &files).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("a\nb"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(body in "(services|hub|policy|incoming|defaults|- name|type|url|: |\n|\\[|\\]|[a-z0-9\"{},:/ -]){0,24}") {
        let _ = try_read(&body, true);
    }
}

#[test]
fn bytes_are_connected_to_before_a_hub_gives_up() {
    let text = |default: &str, own: &str| {
        format!(
            "defaults: {{dialTimeout: {default}}}\nservices:\n\
             - {{name: db, type: tcp, address: 'db:1'{own}}}\n\
             - {{name: web, type: http, url: 'http://x', dialTimeout: 1m}}\n"
        )
    };
    for (default, own, told) in [
        ("12s", "", None),
        ("1m", ", dialTimeout: 12s", None),
        ("13s", "", Some("\"that of defaults\": must be at most 12s")),
        ("1s", ", dialTimeout: 13s", Some("\"13s\": must be at most 12s")),
    ] {
        let read = try_read(&text(default, own), false);
        let mistakes = read.err().unwrap_or_default();
        let found = mistakes.iter().find(|one| one.contains("services[0].dialTimeout"));
        assert_eq!(found.is_some(), told.is_some(), "{mistakes:?}");
        assert!(told.is_none_or(|told| found.unwrap().contains(told)), "{mistakes:?}");
    }
}

#[test]
fn raw_services_may_be_silent_for_an_hour() {
    let idle = |options: &str| {
        let all =
            config(&format!("services:\n- {{name: db, type: tcp, address: \"h:1\"{options}}}\n"));
        all.services["db"].limits.idle.map(|idle| idle.as_secs())
    };
    for (options, expected) in
        [("", Some(3600)), (", idleTimeout: 10m", Some(600)), (", idleTimeout: \"0\"", None)]
    {
        assert_eq!(idle(options), expected, "{options}");
    }
}

#[test]
fn a_listener_that_others_reach_is_unwise() {
    let warned = |listen: &str| {
        let body = format!(
            "incoming: [{{name: a, listen: '{listen}', service: {{agent: hub, type: tcp, name: b}}}}]"
        );
        try_read(&body, false).unwrap().warnings.len()
    };
    for (listen, warnings) in [("127.0.0.1:1", 0), ("unix:/run/a", 0), ("0.0.0.0:1", 1)] {
        assert_eq!(warned(listen), warnings, "{listen}");
    }
}

#[test]
fn a_hub_says_for_whom_its_services_are_and_has_no_listeners() {
    let read = |body: &str| {
        let text = format!("{HEAD}{body}");
        let source = Source { file: "hub.yaml", text: &text };
        let read = read_of_hub(&source, &Fake::default());
        read.map(|read| read.unwrap().config.services.len())
            .map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    let service =
        |rest: &str| format!("services: [{{name: a, type: http, url: 'https://a'{rest}}}]");
    let users = ", allow: {users: ['system:strait:agent:*']}";
    assert_eq!(read(&service(users)), Ok(1));
    let listener =
        "\nincoming: [{name: a, listen: '127.0.0.1:1', service: {agent: hub, type: tcp, name: b}}]";
    for (body, expected) in [
        (service(""), "services[0].allow.users: Required value: say which agents may call it"),
        (service(users) + listener, "incoming: Forbidden: listeners are beside agents"),
        (
            service(", tls: {insecure: true}, allow: {users: ['*']}"),
            "services[0].tls.insecure: Forbidden",
        ),
    ] {
        let told = read(&body).unwrap_err();
        assert!(told.contains(expected), "{told}");
    }
}
